//! Requests that a program has under way.

use super::User;
use super::handle::IoctlReply;
use crate::abi::io::arena::Span;
use crate::abi::*;
use crate::io::file::Control;
use crate::io::request::{Reply, Ticket};

/// A request under way. Its buffer stays until [`Pending::wait`]; a request that is dropped unwaited keeps it for good.
pub struct Pending<'w> {
    user: User<'w>,
    ticket: Ticket,
    whole: Span,
    read: Option<Span>,
    control: Option<Control>,
}

impl<'w> Pending<'w> {
    pub(super) fn new(user: User<'w>, ticket: Ticket, whole: Span, read: Option<Span>) -> Self {
        Self { user, ticket, whole, read, control: None }
    }

    pub(super) fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }

    /// Whether it has come to an end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ticket.reply().is_some()
    }

    /// Asks for it to be cancelled; whether a cancel routine was called. The request still has to be waited for.
    #[must_use]
    pub fn cancel(&self) -> bool {
        let ticket = self.ticket.clone();
        self.user.run(move |k| Ok(k.cancel(&ticket))).unwrap_or(false)
    }

    /// Waits; status, information, and what was read or answered.
    #[must_use]
    pub fn wait(self) -> IoctlReply {
        let Self { user, ticket, whole, read, control } = self;
        let reply = user.run(move |k| {
            let reply = k.wait_for(&ticket);
            if let Some(control) = &control {
                k.control_copy_out(control, reply);
                k.control_done(control.system);
            }
            let output = match (control, read) {
                (Some(control), _) => control.output.to_vec(),
                (None, Some(span)) => span.to_vec(),
                (None, None) => Vec::new(),
            };
            k.io.arena.free(whole.addr, whole.len);
            Ok((reply, output))
        });
        let stopped = |status| (Reply { status, information: 0 }, Vec::new());
        let (reply, output): (Reply, Vec<u8>) = reply.unwrap_or_else(stopped);
        IoctlReply { status: reply.status, information: reply.information, output }
    }

    /// The status, when it has come to an end.
    #[must_use]
    pub fn status(&self) -> Option<NTSTATUS> {
        self.ticket.reply().map(|reply| reply.status)
    }
}
