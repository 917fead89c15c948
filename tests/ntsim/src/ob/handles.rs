//! Reference counts and handles.
//!
//! # Invariants
//! * An object has at least one reference for as long as it has a handle.
//! * The last dereference calls the object's `on_last` exactly once, with no lock held.

use crate::abi::*;
use crate::core::{Kernel, NumberMap, Rule};
use crate::io::lock;

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// `FILE_OBJECT`.
    File,
    /// `DEVICE_OBJECT`.
    Device,
    /// `DRIVER_OBJECT`.
    Driver,
    /// A thread.
    Thread,
    /// An event.
    Event,
    /// A token.
    Token,
    /// A symbolic link.
    Link,
    /// A callback object.
    Callback,
}

/// Called with the address of an object when its last reference goes.
pub type OnLast = fn(&Kernel, usize);

#[derive(Debug)]
struct ObjectRecord {
    kind: ObjectKind,
    references: i64,
    handles: u32,
    on_last: OnLast,
}

/// One handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandleEntry {
    pub(crate) object: usize,
    pub(crate) access: u32,
    pub(crate) kernel: bool,
}

/// The objects and handles of a world.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    table: NumberMap<usize, ObjectRecord>,
    handles: NumberMap<usize, HandleEntry>,
    next: usize,
}

/// First kernel handle value; user handles are small numbers.
const KERNEL_HANDLE: usize = 0xFFFF_FFFF_8000_0000;

impl Kernel {
    /// Enters an object with one reference.
    pub fn object_insert(&self, addr: usize, kind: ObjectKind, on_last: OnLast) {
        let record = ObjectRecord { kind, references: 1, handles: 0, on_last };
        lock(&self.io.objects).table.insert(addr, record);
    }

    /// Kind of an object.
    #[must_use]
    pub fn object_kind(&self, addr: usize) -> Option<ObjectKind> {
        lock(&self.io.objects).table.get(&addr).map(|record| record.kind)
    }

    /// References of an object; 0 when there is no such object.
    #[must_use]
    pub fn object_references(&self, addr: usize) -> i64 {
        lock(&self.io.objects).table.get(&addr).map_or(0, |record| record.references)
    }

    /// Takes a reference; the new count.
    pub fn object_reference(&self, addr: usize) -> i64 {
        let count = lock(&self.io.objects).table.get_mut(&addr).map(|record| {
            record.references += 1;
            record.references
        });
        match count {
            Some(count) => count,
            None => self.finding(Rule::ObjectReference, "a reference is taken on what is no object".to_owned()),
        }
    }

    /// Gives a reference back; the new count.
    pub fn object_dereference(&self, addr: usize) -> i64 {
        let mut objects = lock(&self.io.objects);
        let left = objects.table.get_mut(&addr).map(|record| {
            record.references -= 1;
            record.references
        });
        let last = if left == Some(0) { objects.table.remove(&addr) } else { None };
        drop(objects);
        let Some(left) = left else {
            self.finding(Rule::ObjectReference, "a reference is given back on what is no object (any more)".to_owned())
        };
        if let Some(record) = last {
            (record.on_last)(self, addr);
        }
        left
    }

    /// Opens a handle; it holds a reference of its own.
    pub fn handle_insert(&self, addr: usize, access: u32, kernel: bool) -> HANDLE {
        self.object_reference(addr);
        let mut objects = lock(&self.io.objects);
        objects.next += 4;
        let value = if kernel { KERNEL_HANDLE + objects.next } else { objects.next };
        if let Some(record) = objects.table.get_mut(&addr) {
            record.handles += 1;
        }
        objects.handles.insert(value, HandleEntry { object: addr, access, kernel });
        value as HANDLE
    }

    /// The entry of a handle.
    pub(crate) fn handle_entry(&self, handle: HANDLE) -> Option<HandleEntry> {
        lock(&self.io.objects).handles.get(&(handle as usize)).copied()
    }

    /// Closes a handle. The last handle of a file sends `IRP_MJ_CLEANUP`; the last reference `IRP_MJ_CLOSE`.
    pub fn handle_close(&self, handle: HANDLE) -> NTSTATUS {
        let mut objects = lock(&self.io.objects);
        let entry = objects.handles.remove(&(handle as usize));
        let left = entry.and_then(|entry| objects.table.get_mut(&entry.object)).map(|record| {
            record.handles -= 1;
            (record.handles, record.kind)
        });
        drop(objects);
        let (Some(entry), Some((left, kind))) = (entry, left) else { return STATUS_INVALID_HANDLE };
        if left == 0 && kind == ObjectKind::File {
            self.file_cleanup(entry.object);
        }
        self.object_dereference(entry.object);
        STATUS_SUCCESS
    }

    /// Number of open kernel handles.
    #[must_use]
    pub fn kernel_handles(&self) -> usize {
        lock(&self.io.objects).handles.values().filter(|entry| entry.kernel).count()
    }
}
