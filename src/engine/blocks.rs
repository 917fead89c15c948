//! Sealed metadata blocks: made while no gate is closed, written while one may be.
//!
//! # Invariants
//! * `current` are the last blocks that may be on the device; a `due` block is named by a durable entry and not durable itself.
//! * New blocks become current only when the ones before are durable, so that few different ones are on the device.
use alloc::vec::Vec;
use core::mem;

use vck_common::{DataSector, Durability, SealedUpdate, VckError, VckResult, VolumeState};

use super::Parts;

/// Blocks sealed at a time: every so many steps one is not merged with the next.
const BATCH: usize = 32;

/// A pair that the metadata blocks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) boundary: DataSector,
    pub(super) direction: VolumeState,
}

impl Parts<'_> {
    fn seal(&self, at: Position, out: &mut SealedUpdate) -> VckResult<()> {
        self.store.seal(at.boundary, at.direction, self.random, out)
    }
}

#[derive(Default)]
struct Sealed {
    at: Option<Position>,
    update: SealedUpdate,
}

/// The blocks of one volume.
pub(super) struct Blocks {
    ready: Vec<Sealed>,
    current: Sealed,
    due: bool,
    /// What the blocks on the device say, durably in every replica; `None` if that is not known.
    durable: Option<Position>,
}

impl Blocks {
    pub(super) const fn new(durable: Option<Position>) -> Self {
        let current = Sealed { at: None, update: SealedUpdate::new() };
        Self { ready: Vec::new(), current, due: false, durable }
    }

    /// Whether the device's blocks say `at`.
    pub(super) fn say(&self, at: Position) -> bool {
        self.durable == Some(at)
    }

    /// Seals blocks for `positions`, the first of which must succeed, unless that one is there already. Gates are open.
    pub(super) fn prepare(&mut self, parts: &Parts<'_>, positions: impl Iterator<Item = Position>) -> VckResult<()> {
        let mut positions = positions.take(BATCH).peekable();
        if positions.peek().is_none_or(|first| self.has(*first)) {
            return Ok(());
        }
        let missing = BATCH.saturating_sub(self.ready.len());
        self.ready.try_reserve_exact(missing).map_err(|_| VckError::NoMemory)?;
        self.ready.resize_with(BATCH, Sealed::default);
        for sealed in &mut self.ready {
            sealed.at = None;
        }
        let mut first = true;
        for (sealed, at) in self.ready.iter_mut().zip(positions) {
            match parts.seal(at, &mut sealed.update) {
                Ok(()) => sealed.at = Some(at),
                Err(error) if first => return Err(error),
                // The steps before it can be made; the next batch begins here.
                Err(_) => break,
            }
            first = false;
        }
        Ok(())
    }

    /// Forgets the blocks that are ready, and gives their memory back.
    pub(super) fn give_back(&mut self) {
        self.ready = Vec::new();
    }

    /// Whether blocks for `at` are ready.
    pub(super) fn has(&self, at: Position) -> bool {
        self.ready(at).is_some()
    }

    /// The blocks that are ready for `at`.
    pub(super) fn ready(&self, at: Position) -> Option<&SealedUpdate> {
        self.ready.iter().find(|sealed| sealed.at == Some(at)).map(|sealed| &sealed.update)
    }

    /// Makes sure that `current` is what the device holds: what a volume without a journal goes back to. Gates are open.
    pub(super) fn prepare_way_back(&mut self, parts: &Parts<'_>, present: Position) -> VckResult<()> {
        if self.current.at == Some(present) {
            return Ok(());
        }
        self.current.at = None;
        parts.seal(present, &mut self.current.update)?;
        self.current.at = Some(present);
        Ok(())
    }

    /// The ready blocks for `at` are the current ones from now on; they are due if an entry names them.
    pub(super) fn adopt(&mut self, at: Position) {
        if let Some(sealed) = self.ready.iter_mut().find(|sealed| sealed.at == Some(at)) {
            mem::swap(sealed, &mut self.current);
            sealed.at = None;
            self.due = true;
        }
    }

    pub(super) const fn are_due(&self) -> bool {
        self.due
    }

    /// Writes the current blocks if they are due.
    pub(super) fn write_due(&mut self, parts: &Parts<'_>) -> VckResult<()> {
        if !self.due {
            return Ok(());
        }
        self.durable = None;
        self.current.update.apply(parts.io, Durability::AtNextFlush)
    }

    /// The due blocks were written and flushed. `false` if there were none.
    pub(super) fn due_are_durable(&mut self, parts: &Parts<'_>) -> bool {
        if !mem::replace(&mut self.due, false) {
            return false;
        }
        self.durable = self.current.at;
        if let Some(at) = self.current.at {
            parts.store.sealed_is_durable(at.boundary, at.direction);
        }
        true
    }

    /// Writes the current blocks over those of a commit that failed, as many as the device takes.
    pub(super) fn put_back(&self, parts: &Parts<'_>) -> VckResult<()> {
        // A replica that refused the new block and now refuses the old one still holds the old one; the others must
        // not be left with the new one because of it.
        let mut result = Ok(());
        for (lba, bytes) in self.current.update.writes() {
            result = result.and(parts.io.write_sectors(lba, bytes, Durability::AtNextFlush));
        }
        result
    }
}
