//! Requests that the simulator itself makes: for user-mode programs, for `Zw*` callers, for file systems, for `PnP`.

use super::irp::Maker;
use crate::abi::io::arena::Span;
use crate::abi::io::view::{Device, File, Irp, MdlView};
use crate::abi::*;
use crate::core::{Kernel, Rule, ThreadKind, ThreadState, USER_BIT};
use std::sync::{Arc, Mutex};

/// How data travels with a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Data {
    /// `AssociatedIrp.SystemBuffer`.
    pub(crate) system: Option<Span>,
    /// Pages described by `MdlAddress`.
    pub(crate) mdl: Option<Span>,
    /// `UserBuffer`.
    pub(crate) user: Option<Span>,
}

/// A request to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) device: Device,
    pub(crate) major: u32,
    pub(crate) minor: u8,
    pub(crate) sl_flags: u8,
    pub(crate) irp_flags: u32,
    pub(crate) parameters: [u64; 4],
    pub(crate) file: Option<File>,
    pub(crate) user_mode: bool,
    pub(crate) data: Data,
    /// Status the IRP starts with.
    pub(crate) initial: NTSTATUS,
}

impl Request {
    /// A kernel-mode request without data.
    pub(crate) fn new(device: Device, major: u32) -> Self {
        Self {
            device,
            major,
            minor: 0,
            sl_flags: 0,
            irp_flags: 0,
            parameters: [0; 4],
            file: None,
            user_mode: false,
            data: Data::default(),
            initial: STATUS_SUCCESS,
        }
    }
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: NTSTATUS,
    pub(crate) information: u64,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    irp: Irp,
    done: Arc<Mutex<Option<Reply>>>,
}

impl Ticket {
    fn key(&self) -> usize {
        Arc::as_ptr(&self.done) as usize
    }

    pub(crate) fn reply(&self) -> Option<Reply> {
        *super::lock(&self.done)
    }
}

/// Majors that may be dispatched at raised IRQL in hostile mode.
const HOSTILE: [u32; 3] = [IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_POWER];

impl Kernel {
    /// Makes the IRP and sends it.
    pub(crate) fn submit(&self, request: &Request) -> Ticket {
        self.submit_for(request, None)
    }

    /// [`Kernel::submit`] for a file object on its way out, to which no reference can be taken any more.
    pub(crate) fn submit_with_file(&self, request: &Request, dying: File) -> Ticket {
        self.submit_for(request, Some(dying))
    }

    fn submit_for(&self, request: &Request, dying: Option<File>) -> Ticket {
        let done = Arc::new(Mutex::new(None));
        let ticket_done = Arc::clone(&done);
        let key = Arc::as_ptr(&done) as usize;
        let unmapped = request.user_mode || request.irp_flags & IRP_PAGING_IO != 0;
        let mdl = request.data.mdl.map(|span| MdlView::at(self.mdl_for(span, unmapped) as usize));
        let file = request.file;
        let finish = move |k: &Kernel, irp: Irp| {
            if let Some(mdl) = mdl {
                k.mdl_must_be(irp, mdl);
                k.mdl_done(mdl.ptr());
            }
            *super::lock(&ticket_done) = Some(Reply { status: irp.status(), information: irp.information() });
            k.wake(key);
            if let Some(file) = file {
                k.file_dereference(file);
            }
        };
        let irp = self.irp_new(request.device.stack_size(), Maker::Manager(Some(Box::new(finish))));
        irp.set_mdl(mdl.map_or(std::ptr::null_mut(), MdlView::ptr));
        irp.set_flags(request.irp_flags);
        irp.set_requestor_mode(KPROCESSOR_MODE::from(request.user_mode));
        irp.set_system_buffer(pointer(request.data.system));
        let hidden = if request.user_mode { USER_BIT } else { 0 };
        let user = request.data.user.map_or(0, |span| span.addr | hidden);
        if let Some(span) = request.data.user.filter(|_| request.user_mode) {
            self.mappings.hide((span.addr, span.len));
        }
        irp.set_user_buffer(user as PVOID);
        irp.set_status(request.initial);
        irp.set_thread(self.thread_object());
        let stack = irp.stack_at(irp.stack_count());
        stack.set_major(u8::try_from(request.major).unwrap_or(u8::MAX));
        stack.set_minor(request.minor);
        stack.set_flags(request.sl_flags);
        stack.set_parameters(request.parameters);
        if let Some(file) = file {
            self.object_reference(file.addr());
        }
        if let Some(file) = file.or(dying) {
            stack.set_file(file.ptr());
            irp.set_original_file(file.ptr());
        }
        self.send_from_above(request, irp);
        Ticket { irp, done }
    }

    /// Enters the top of a stack the way Windows may: little stack left, raised IRQL, as the configuration says.
    fn send_from_above(&self, request: &Request, irp: Irp) {
        let hostile = self.config().hostile_irql && HOSTILE.contains(&request.major) && self.irql() < 2;
        let raised = if hostile { [0, 1, 2][self.rng().index(3)] } else { 0 };
        let old = self.irql();
        if raised > old {
            self.set_irql(raised);
        }
        let _pending_or_done = match self.config().dispatch_headroom {
            Some(left) => self.with_stack_left(left, || self.send(request.device, irp)),
            None => self.send(request.device, irp),
        };
        if raised > old {
            self.set_irql(old);
        }
    }

    /// Waits for a request.
    pub(crate) fn wait_for(&self, ticket: &Ticket) -> Reply {
        let waited = self.block(&[ticket.key()], None, "an I/O request", || ticket.reply());
        waited.unwrap_or(Reply { status: STATUS_UNSUCCESSFUL, information: 0 })
    }

    /// Makes a request and waits for it.
    pub(crate) fn request(&self, request: &Request) -> Reply {
        let ticket = self.submit(request);
        self.wait_for(&ticket)
    }

    /// `NtCancelIoFileEx` for one request.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> bool {
        let pinned = {
            // The end of a request sets `done` before it frees the IRP: without a reply the IRP is still this one.
            let done = super::lock(&ticket.done);
            done.is_none() && self.irp_record(ticket.irp, |record| record.pins += 1).is_some()
        };
        if !pinned {
            return false;
        }
        let called = self.cancel_irp(ticket.irp);
        self.irp_unpin(ticket.irp);
        called
    }

    /// The I/O manager frees what the IRP's MDL pointer says: a driver that put its own there takes it out again.
    fn mdl_must_be(&self, irp: Irp, mdl: MdlView) {
        if irp.mdl() != mdl.ptr() {
            self.finding(Rule::MdlState, "an IRP was completed without its own MDL in MdlAddress");
        }
        if !mdl.next().is_null() {
            self.finding(Rule::MdlState, "an IRP was completed with a driver's MDL still in the chain of its own");
        }
    }

    fn thread_object(&self) -> PETHREAD {
        self.with_thread(|thread: &ThreadState| thread.object().cast_mut().cast()).unwrap_or(std::ptr::null_mut())
    }

    /// The token of the current thread: its own, or the system's.
    pub(crate) fn token(&self) -> crate::ob::Token {
        let of = |thread: &ThreadState| match thread.kind() {
            ThreadKind::User(token) => token.clone(),
            _ => crate::ob::Token::system(),
        };
        self.with_thread(of).unwrap_or_else(crate::ob::Token::system)
    }
}

fn pointer(span: Option<Span>) -> PVOID {
    span.map_or(std::ptr::null_mut(), |span| span.addr as PVOID)
}
