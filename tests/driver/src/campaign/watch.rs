//! The watcher below the filter: what reaches the device, from which thread, on which side of the cipher.
//!
//! Whatever is written into the data region must be the plaintext or the ciphertext of the sector it lies in, and no
//! request may have ciphertext behind plaintext.

use std::sync::Arc;

use vck_ntsim::io::{Observation, Side};
use vck_ntsim::{Kernel, ThreadKind, World};

use super::shared::{Shared, State};
use super::stamp::{Form, Oracle};

/// Bytes of a page of the file system's cache.
pub(super) const PAGE: usize = 4096;

/// Watches a world for a seed.
pub(super) fn watch(world: &World, shared: &Arc<Shared>) {
    let oracle = Oracle::new(shared.plan.sector_size);
    let shared = Arc::clone(shared);
    world.observe(move |kernel, seen| {
        if matches!(seen.side, Side::WrittenBelow | Side::ReadBelow) {
            below(&shared, &oracle, kernel, seen);
        }
    });
}

/// Who sent a request to the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Program,
    Worker,
    Sweep,
    /// A thread of the volume that is not the sweep's.
    Reserve,
}

fn sender(state: &State, kernel: &Kernel) -> (Sender, u64) {
    let thread = kernel.with_thread(|thread| (thread.id().0, matches!(thread.kind(), ThreadKind::System)));
    let (id, system) = thread.unwrap_or((0, false));
    let sender = match () {
        () if !system => Sender::Program,
        () if id <= state.workers_end => Sender::Worker,
        () if state.sweepers.contains(&id) => Sender::Sweep,
        () => Sender::Reserve,
    };
    (sender, id)
}

fn below(shared: &Shared, oracle: &Oracle, kernel: &Kernel, seen: &Observation<'_>) {
    let plan = &shared.plan;
    let size = plan.sector_size as usize;
    let write = seen.side == Side::WrittenBelow;
    let mut state = shared.lock();
    let (sender, thread) = sender(&state, kernel);
    let first = (seen.offset / size as u64).checked_sub(plan.offset_sectors());
    let Some(first) = first.filter(|first| *first < plan.data_sectors) else {
        if write && matches!(sender, Sender::Reserve | Sender::Sweep) {
            state.sweepers.insert(thread);
        }
        return;
    };
    let sectors = first..first + (seen.data.len() / size) as u64;
    let form = |at: u64, bytes: &[u8]| oracle.form(bytes, at);
    if write {
        let mut last = Form::Cipher;
        for (bytes, at) in seen.data.chunks(size).zip(sectors.clone()) {
            let Some(form) = form(at, bytes) else {
                let text = format!("sector {at} is written as neither plaintext nor ciphertext of itself");
                state.failure.get_or_insert(text);
                return;
            };
            if last == Form::Plain && form == Form::Cipher {
                let text = format!("sectors {sectors:?} are written with ciphertext behind plaintext, at {at}");
                state.failure.get_or_insert(text);
                return;
            }
            last = form;
        }
    }
    let edge = |bytes: Option<&[u8]>, at: u64| bytes.and_then(|bytes| form(at, bytes));
    let front = edge(seen.data.get(..size), sectors.start);
    let back = edge(seen.data.get(seen.data.len().saturating_sub(size)..), sectors.end.saturating_sub(1));
    let (Some(front), Some(back)) = (front, back) else { return };
    count(&mut state, sender, write, &sectors, (front, back), plan.mounted && seen.data.len() <= PAGE);
}

fn count(
    state: &mut State,
    sender: Sender,
    write: bool,
    sectors: &std::ops::Range<u64>,
    forms: (Form, Form),
    paging: bool,
) {
    let inside = |live: &&mut super::shared::Live| {
        live.write == write && live.sectors.start <= sectors.start && sectors.end <= live.sectors.end
    };
    if sender == Sender::Reserve {
        if state.live.iter_mut().any(|live| inside(&live)) || paging {
            state.coverage.reserve_pieces += 1;
        }
        return;
    }
    let whole = state.live.iter_mut().find(|live| live.write == write && live.sectors == *sectors);
    match whole {
        Some(live) => live.brought_cipher |= !write && forms.0 == Form::Cipher,
        None if paging => state.coverage.paging += 1,
        None => return,
    }
    let coverage = &mut state.coverage;
    let counter = match (write, forms) {
        (true, (Form::Cipher, Form::Plain)) => &mut coverage.split_writes,
        (true, (Form::Cipher, Form::Cipher)) => &mut coverage.writes_below,
        (true, _) => &mut coverage.writes_above,
        (false, (Form::Cipher, Form::Plain)) => &mut coverage.split_reads,
        (false, (Form::Cipher, Form::Cipher)) => &mut coverage.reads_below,
        (false, _) => &mut coverage.reads_above,
    };
    *counter += 1;
    if sender == Sender::Worker {
        coverage.worker_dispatches += 1;
    }
}
