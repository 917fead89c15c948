//! Running on a larger kernel stack, and leaving no keys on a stack.

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
        call.result = Some(on_wiped_stack(body));
    }
}

/// Bytes that one call of [`wipe_below`] wipes.
const PIECE: usize = 1024;
/// Stack that wiping leaves alone: the frames of the routine that measures it.
const MARGIN: usize = 2 * 1024;

/// Runs `body` and then wipes the stack that it may have used, down to the stack's end or [`LARGE`] bytes: values that were moved
/// leave copies behind, and padding of values made later would carry those into the heap. IRQL <= DISPATCH_LEVEL.
pub fn on_wiped_stack<F: FnOnce() -> R, R>(body: F) -> R {
    let result = body();
    wipe_below(super::remaining_stack().saturating_sub(MARGIN).min(LARGE) / (PIECE + PIECE / 8));
    result
}

/// Wipes `pieces` times [`PIECE`] bytes below the caller's frame.
#[inline(never)]
fn wipe_below(pieces: usize) {
    let mut piece = core::mem::MaybeUninit::<[u8; PIECE]>::uninit();
    zeroize::Zeroize::zeroize(&mut piece);
    if let Some(rest) = pieces.checked_sub(1) {
        wipe_below(rest);
    }
    // Used after the call, so that the frames lie below one another.
    core::hint::black_box(&mut piece);
}
