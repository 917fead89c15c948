//! Work that is done in pieces by whoever has time: the thread that has it, and helpers.
//!
//! # Invariants
//! * A [`Share`] lives in the frame of [`Crew::run`]. Helpers reach it through a seat only: they join under the seats' lock while it is
//!   listed, and `run` returns when it is not listed any more and no helper is left.
//! * A piece is done once: `next` hands each number out once, and pieces do not overlap.
//!
//! # Forward progress
//! The owner works on its share like a helper does, so nothing depends on anybody coming. In the end it waits for helpers that are
//! in the middle of a piece, and a piece only computes.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use vck_common::VckResult;
use vck_common::xts::{ExtendedMask, WideRegisters};

use super::irql::{ApcOrBelow, Passive};
use super::sync::{Event, SpinLock};
use super::xstate::with_wide_registers;

/// What is done with a piece: registers, if there are any; position of the piece in the whole; the piece. It must only compute: see
/// the rules for code under a saved state.
pub type Piece<'a> = dyn Fn(Option<WideRegisters<'_>>, usize, &mut [u8]) + Sync + 'a;

/// Shares that may be open at a time; who finds no seat works alone.
const SEATS: usize = 8;

/// Work to be shared.
struct Share<'a> {
    body: &'a Piece<'a>,
    data: NonNull<u8>,
    length: usize,
    piece: usize,
    state: ExtendedMask,
    next: AtomicUsize,
}

// SAFETY: `data` is divided into pieces that nobody gets twice, and `body` is Sync.
unsafe impl Sync for Share<'_> {}

impl Share<'_> {
    fn has_more(&self) -> bool {
        self.next.load(Ordering::Relaxed).saturating_mul(self.piece) < self.length
    }

    /// Does pieces until there are none left.
    fn work(&self) {
        with_wide_registers(self.state, |registers| {
            loop {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let Some(left) = number.checked_mul(self.piece).and_then(|from| self.length.checked_sub(from)) else {
                    return;
                };
                let (from, length) = (self.length.saturating_sub(left), left.min(self.piece));
                if length == 0 {
                    return;
                }
                // SAFETY: inside the data, which has `length` bytes and is borrowed for as long as the share lives.
                let start = unsafe { self.data.add(from) };
                // SAFETY: as above; this piece is nobody else's.
                let piece = unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), length) };
                (self.body)(registers, from, piece);
            }
        });
    }
}

/// A place at which helpers find a share.
struct Seat {
    taken: bool,
    /// Null while helpers may not join.
    share: *const Share<'static>,
    helpers: usize,
}

// SAFETY: the pointer is followed by the module's rules, from any thread.
unsafe impl Send for Seat {}

/// Who shares and who helps.
pub struct Crew {
    seats: SpinLock<[Seat; SEATS]>,
    /// Signalled by the last helper to leave a share that is not listed any more.
    done: [Event; SEATS],
}

impl Crew {
    /// Nothing to do yet.
    pub fn try_new() -> VckResult<Self> {
        let event = || Event::try_new();
        let done = [event()?, event()?, event()?, event()?, event()?, event()?, event()?, event()?];
        let seat = || Seat { taken: false, share: ptr::null(), helpers: 0 };
        Ok(Self { seats: SpinLock::new(core::array::from_fn(|_| seat())), done })
    }

    /// Does `body` for every piece of `data`, `piece` bytes long but for the last, with the registers of `state` where they can be
    /// had. `call_helpers` is called once there is something to help with. Returns when all is done.
    #[inline(never)] // As for the saved state below it.
    pub fn run(
        &self,
        level: ApcOrBelow,
        state: ExtendedMask,
        data: &mut [u8],
        piece: usize,
        body: &Piece<'_>,
        call_helpers: impl FnOnce(),
    ) {
        let (length, piece) = (data.len(), piece.max(1));
        let data = NonNull::from(data).cast();
        let share = Share { body, data, length, piece, state, next: AtomicUsize::new(0) };
        let seat = if length > piece { self.list(&share) } else { None };
        let Some(seat) = seat else { return share.work() };
        call_helpers();
        share.work();
        let helped = self.seats.with(|seats| {
            let Some(seat) = seats.get_mut(seat) else { return false };
            seat.share = ptr::null();
            seat.taken = seat.helpers > 0;
            seat.taken
        });
        if helped && let Some(done) = self.done.get(seat) {
            done.wait_below_dispatch(level);
            self.seats.with(|seats| seats.get_mut(seat).map(|seat| seat.taken = false));
        }
    }

    /// Gives a share a seat, if one is free. The caller unlists it before it ends.
    fn list(&self, share: &Share<'_>) -> Option<usize> {
        self.seats.with(|seats| {
            let (index, seat) = seats.iter_mut().enumerate().find(|(_, seat)| !seat.taken)?;
            *seat = Seat { taken: true, share: ptr::from_ref(share).cast(), helpers: 0 };
            Some(index)
        })
    }

    /// Helps with one share until it has no pieces left; false if there is none that has. `call_more` is called if there is work for
    /// yet another helper.
    pub fn help(&self, _: Passive, call_more: impl FnOnce()) -> bool {
        let joined = self.seats.with(|seats| {
            seats.iter_mut().enumerate().find_map(|(index, seat)| {
                // SAFETY: listed, so its owner is inside `run` and cannot leave it without this lock.
                let share = unsafe { seat.share.as_ref() }?;
                share.has_more().then(|| {
                    seat.helpers = seat.helpers.saturating_add(1);
                    (index, NonNull::from(share))
                })
            })
        });
        let Some((index, share)) = joined else { return false };
        // SAFETY: a helper joined, so the share stays until it leaves.
        let share = unsafe { share.as_ref() };
        if share.has_more() {
            call_more();
        }
        share.work();
        self.seats.with(|seats| {
            let Some(seat) = seats.get_mut(index) else { return };
            seat.helpers = seat.helpers.saturating_sub(1);
            if seat.share.is_null()
                && seat.helpers == 0
                && let Some(done) = self.done.get(index)
            {
                done.set();
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::sync::Arc;
    use std::vec;
    use std::vec::Vec;

    use vck_ntsim::{SchedulerKind, ThreadKind, World};

    use super::*;

    const HELPERS: usize = 3;
    const LENGTH: usize = 10_007;

    /// Adds each byte's position to it and counts the pieces.
    fn add_positions(crew: &Crew, level: ApcOrBelow, pieces: &AtomicUsize, call: impl FnOnce()) -> Vec<u8> {
        let mut data = vec![7_u8; LENGTH];
        let body = |_: Option<WideRegisters<'_>>, from: usize, piece: &mut [u8]| {
            pieces.fetch_add(1, Ordering::Relaxed);
            for (at, byte) in piece.iter_mut().enumerate() {
                *byte = byte.wrapping_add((from + at) as u8);
            }
        };
        crew.run(level, ExtendedMask::AVX, &mut data, 64, &body, call);
        data
    }

    fn expected() -> Vec<u8> {
        (0..LENGTH).map(|at| 7_u8.wrapping_add(at as u8)).collect()
    }

    #[test]
    fn every_piece_is_done_once_with_and_without_helpers() {
        for (scheduler, seed) in
            [(SchedulerKind::Deterministic, 1), (SchedulerKind::Deterministic, 2), (SchedulerKind::Parallel, 3)]
        {
            let world = World::builder().seed(seed).scheduler(scheduler).build();
            let done = world.call("crew", ThreadKind::System, || {
                let passive = Passive::check().expect("passive");
                let crew = Arc::new(Crew::try_new().expect("memory"));
                let (ready, over) = (Event::try_new(), Arc::new(AtomicUsize::new(0)));
                let ready = Arc::new(ready.expect("memory"));
                let helpers: Vec<_> = (0..HELPERS)
                    .map(|_| {
                        let (crew, ready, over) = (Arc::clone(&crew), Arc::clone(&ready), Arc::clone(&over));
                        let body = move |passive: Passive| {
                            while over.load(Ordering::Acquire) == 0 {
                                while crew.help(passive, || ready.set()) {}
                                ready.wait(passive);
                            }
                            ready.set();
                        };
                        crate::nt::Thread::spawn(passive, crate::nt::Priority::Requests, body).expect("a thread")
                    })
                    .collect();
                for _ in 0..50 {
                    let pieces = AtomicUsize::new(0);
                    assert_eq!(add_positions(&crew, passive.into(), &pieces, || ready.set()), expected());
                    assert_eq!(pieces.load(Ordering::Relaxed), LENGTH.div_ceil(64));
                }
                let alone = AtomicUsize::new(0);
                assert_eq!(add_positions(&crew, passive.into(), &alone, || {}), expected(), "nobody comes");
                over.store(1, Ordering::Release);
                ready.set();
                for helper in helpers {
                    helper.join(passive);
                }
                assert!(!crew.help(passive, || {}), "nothing is left to help with");
            });
            assert_eq!(done, Some(()));
            world.assert_clean();
        }
    }
}
