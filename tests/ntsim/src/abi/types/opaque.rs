//! Structures that a driver only ever sees through pointers.

macro_rules! opaque {
    ($($name:ident)+) => { $(
        #[repr(C)]
        #[derive(Debug, Copy, Clone)]
        pub struct $name {
            _opaque: [u8; 0],
        }
    )+ };
}

opaque! {
    _CALLBACK_OBJECT
    _CM_RESOURCE_LIST
    _DEVOBJ_EXTENSION
    _EPROCESS
    _ETHREAD
    _FAST_IO_DISPATCH
    _FILE_GET_QUOTA_INFORMATION
    _INTERFACE
    _IO_COMPLETION_CONTEXT
    _IO_RESOURCE_REQUIREMENTS_LIST
    _IO_TIMER
    _IO_WORKITEM
    _MAILSLOT_CREATE_PARAMETERS
    _NAMED_PIPE_CREATE_PARAMETERS
    _OBJECT_TYPE
    _POWER_SEQUENCE
    _SCSI_REQUEST_BLOCK
    _SECTION_OBJECT_POINTERS
    _SECURITY_QUALITY_OF_SERVICE
    _XSAVE_AREA
}
