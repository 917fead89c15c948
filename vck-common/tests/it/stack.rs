//! Stack use does not depend on the message: the deepest accepted and the first refused one run on 24 KiB.

use corosensei::{Coroutine, CoroutineResult, stack::DefaultStack};
use vck_common::wire::{PrepareReq, decode};

const STACK: usize = 24 << 10;

/// Runs on a stack of [`STACK`] bytes with a guard page below it.
fn on_small_stack<T: 'static>(work: impl FnOnce() -> T + 'static) -> T {
    let stack = DefaultStack::new(STACK).expect("a stack");
    let mut coroutine: Coroutine<(), (), T, _> = Coroutine::with_stack(stack, move |_, ()| work());
    match coroutine.resume(()) {
        CoroutineResult::Return(value) => value,
        CoroutineResult::Yield(()) => panic!("the work does not yield"),
    }
}

/// A request whose unknown fields are nested `depth` deep in all, as wide as a message may be.
fn nested(depth: usize) -> Vec<u8> {
    let mut message = b"\xDE\x00\x40\xABvolume_path\xA1A".to_vec();
    for number in 1..64_u8 {
        message.extend([0xA1, 0x20 + number]);
        message.extend([0x81, 0xA1, b'k'].repeat(depth - 1));
        message.push(0xC0);
    }
    message
}

#[test]
fn the_deepest_accepted_message_fits() {
    let path = on_small_stack(|| {
        let mut message = nested(8);
        decode::<PrepareReq<'_>>(&mut message).map(|request| request.volume_path.len())
    });
    assert_eq!(path, Ok(1));
}

#[test]
fn the_first_refused_message_fits() {
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut nested(9)).is_err()));
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut vec![0x91; 65_536]).is_err()));
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut vec![0x81; 65_536]).is_err()));
}
