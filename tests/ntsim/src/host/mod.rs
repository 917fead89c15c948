//! What the simulator needs from the machine it runs on. With `abi`, the only place for `unsafe` code.

pub(crate) mod alloc;
pub(crate) mod arena;
pub(crate) mod coroutine;
pub(crate) mod fault;
#[cfg(not(feature = "asan"))]
mod memory_routines;
pub(crate) mod page_heap;
pub(crate) mod ptr;
pub(crate) mod tls;
pub(crate) mod xstate;
