//! Running on a larger kernel stack.

use core::ptr;

use vck_common::{VckError, VckResult};

use super::irql::Passive;
use super::sys;

/// Bytes of stack that control requests get: message decoding, key derivation and file-system calls are deep.
const LARGE: usize = 32 * 1024;

struct Call<F, R> {
    body: Option<F>,
    result: Option<R>,
}

/// Runs `body` with [`LARGE`] bytes of stack.
///
/// Errors: [`VckError::NoMemory`] if the kernel cannot expand the stack; `body` has not run. What is left of the current
/// stack is no way out: whoever sent the request may have used most of it.
pub fn on_large_stack<F: FnOnce() -> R, R>(_: Passive, body: F) -> VckResult<R> {
    let mut call = Call { body: Some(body), result: None };
    // SAFETY: PASSIVE_LEVEL, Wait allowed; `call` outlives the routine, which runs before this returns or not at all.
    let _ = unsafe {
        sys::KeExpandKernelStackAndCalloutEx(
            Some(callout::<F, R>),
            (&raw mut call).cast(),
            LARGE as sys::SIZE_T,
            1,
            ptr::null_mut(),
        )
    };
    match (call.result, call.body) {
        (Some(result), _) => Ok(result),
        (None, Some(_)) => Err(VckError::NoMemory),
        // Taken but without result: the routine did not return, and neither does this.
        (None, None) => super::fatal(super::Fatal::Callout, 0),
    }
}

unsafe extern "C" fn callout<F: FnOnce() -> R, R>(parameter: sys::PVOID) {
    // SAFETY: the `call` of `on_large_stack`, which waits for this routine.
    let call = unsafe { &mut *parameter.cast::<Call<F, R>>() };
    if let Some(body) = call.body.take() {
        call.result = Some(body());
    }
}
