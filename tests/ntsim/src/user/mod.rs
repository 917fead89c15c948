//! What user-mode programs do: open, read, write, control, flush, lock, dismount; synchronously or not.
//!
//! Every call runs on a simulated user thread with the program's token: from the host it starts one and drives the
//! world until it ends, on a simulated thread it runs where it is. When a finding stops the world the call gives
//! `STATUS_UNSUCCESSFUL`.
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

mod handle;
mod pending;
mod power;

pub use crate::ob::Token;
pub use handle::{Access, Handle, IoctlReply, Share};
pub use pending::Pending;

use crate::abi::{NTSTATUS, STATUS_UNSUCCESSFUL};
use crate::core::{Kernel, ThreadId, ThreadKind, World};

/// A program of a user, with a token.
#[derive(Clone)]
pub struct User<'w> {
    world: Option<&'w World>,
    token: Token,
}

impl World {
    /// A program with a token, driven by the host.
    #[must_use]
    pub fn user(&self, token: Token) -> User<'_> {
        User { world: Some(self), token }
    }

    /// Starts a program on a simulated thread of its own; it runs when the host drives the world.
    pub fn spawn_user(&self, token: Token, body: impl FnOnce(&User<'static>) + Send + 'static) -> ThreadId {
        let kind = ThreadKind::User(token.clone());
        self.kernel().spawn("user", kind, move || body(&User { world: None, token }))
    }
}

impl<'w> User<'w> {
    /// Runs `body` on a thread of the program.
    fn run<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Kernel) -> Result<T, NTSTATUS> + Send + 'static,
    ) -> Result<T, NTSTATUS> {
        match self.world {
            Some(world) => {
                let result = world.inside("user", ThreadKind::User(self.token.clone()), body);
                result.unwrap_or(Err(STATUS_UNSUCCESSFUL))
            }
            None => crate::core::with_current(body),
        }
    }

    /// The program's token.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Opens a path for synchronous use.
    ///
    /// # Errors
    /// The status that `NtCreateFile` would give.
    pub fn open(&self, path: &str, access: Access, share: Share) -> Result<Handle<'w>, NTSTATUS> {
        Handle::open(self, path, access, share, true)
    }

    /// Opens a path for asynchronous use.
    ///
    /// # Errors
    /// As [`User::open`].
    pub fn open_async(&self, path: &str, access: Access, share: Share) -> Result<Handle<'w>, NTSTATUS> {
        Handle::open(self, path, access, share, false)
    }
}
