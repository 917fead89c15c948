//! Buffers of controls, by transfer method.

use super::file::Control;
use super::request::Reply;
use crate::abi::io::arena::Span;
use crate::abi::*;
use crate::core::Kernel;

impl Kernel {
    /// The system buffer that a control's method takes, filled with the input.
    pub(crate) fn control_system_buffer(&self, code: u32, input: Span, output: Span) -> Option<Span> {
        let len = match code & 3 {
            METHOD_BUFFERED => input.len.max(output.len),
            METHOD_NEITHER => 0,
            _ => input.len,
        };
        (len > 0).then(|| {
            let buffer = Span { addr: self.io.arena.alloc(len), len };
            buffer.copy_from(input);
            buffer
        })
    }

    /// Copies the answer of a buffered control out: `Information` bytes, unless the status is an error.
    pub(crate) fn control_copy_out(&self, control: &Control, reply: Reply) {
        if control.code & 3 != METHOD_BUFFERED || NT_ERROR(reply.status) {
            return;
        }
        let given = usize::try_from(reply.information).unwrap_or(usize::MAX);
        if let Some(system) = control.system {
            if given > control.output.len {
                let text =
                    format!("control {:#x}: Information {given}, the buffer has {}", control.code, control.output.len);
                self.finding(crate::core::Rule::BadArgument, text);
            }
            control.output.copy_from(system.part(0, given));
        }
    }

    /// Gives the system buffer back.
    pub(crate) fn control_done(&self, system: Option<Span>) {
        if let Some(system) = system {
            self.io.arena.free(system.addr, system.len);
        }
    }
}
