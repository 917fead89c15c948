//! Choosing between replicas that do not agree.
//!
//! Replicas are written in index order, so after a crash a prefix of them is newer than the rest. Which value is newer
//! follows from the direction: encrypting, the larger boundary; decrypting, the smaller one. Boundary and direction are
//! adopted together from one replica:
//!
//! 1. The first good replica decides the direction.
//! 2. If some other good replica differs from it in direction *and* boundary, the first one wins, as it is written first.
//! 3. Otherwise, among the replicas with that direction: encrypting, the largest boundary; decrypting, the smallest.

use subtle::ConstantTimeEq;

use super::{codec::Unsealed, keys::JvckSecrets, layout::BLOCK_SIZE};
use crate::{DataSector, VolumeState};

/// A set of replica indices, headers first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaSet([u64; 8]);

impl ReplicaSet {
    /// Adds a replica; an index that no volume can have is ignored.
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// True if the replica is in the set.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Number of replicas in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True if the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    /// The indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..512).filter(|&index| self.contains(index))
    }
}

/// What opening found out about the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The replica from which boundary, direction and vendor bytes were taken.
    pub adopted: usize,
    /// Replicas that unsealed.
    pub good: usize,
    /// Replicas whose block is not byte for byte the adopted one: damaged, unreadable, or older.
    pub stale: ReplicaSet,
    /// True if replicas differed in direction and boundary and rule 2 decided. Worth a line in the log.
    pub conflicting: bool,
}

/// One good replica.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) index: usize,
    pub(super) offset: DataSector,
    pub(super) state: VolumeState,
    pub(super) block: [u8; BLOCK_SIZE],
}

/// Takes the good replicas in index order and applies the rules.
pub(super) struct Election {
    first: Candidate,
    best: Candidate,
    pub(super) good: usize,
    pub(super) conflicting: bool,
    pub(super) secrets: JvckSecrets,
}

impl Election {
    pub(super) fn open(index: usize, block: &[u8; BLOCK_SIZE], unsealed: Unsealed) -> Self {
        let Unsealed { encrypted_offset, state, secrets } = unsealed;
        let first = Candidate { index, offset: encrypted_offset, state, block: *block };
        Self { first, best: first, good: 1, conflicting: false, secrets }
    }

    /// Considers another good replica. One with other data keys cannot describe the same data and does not count; the answer
    /// is whether it does.
    pub(super) fn consider(&mut self, index: usize, block: &[u8; BLOCK_SIZE], unsealed: &Unsealed) -> bool {
        let same = |ours: &[u8; 32], theirs: &[u8; 32]| ours.as_slice().ct_eq(theirs.as_slice());
        let same_keys = same(self.secrets.fvek_key1.expose(), unsealed.secrets.fvek_key1.expose())
            & same(self.secrets.fvek_key2.expose(), unsealed.secrets.fvek_key2.expose());
        if !bool::from(same_keys) {
            return false;
        }
        self.good = self.good.saturating_add(1);
        let (offset, state) = (unsealed.encrypted_offset, unsealed.state);
        if state != self.first.state {
            self.conflicting |= offset != self.first.offset;
            return true;
        }
        let newer = match state {
            VolumeState::Encrypt => offset > self.best.offset,
            VolumeState::Decrypt => offset < self.best.offset,
        };
        if newer {
            self.best = Candidate { index, offset, state, block: *block };
        }
        true
    }

    pub(super) const fn winner(&self) -> &Candidate {
        if self.conflicting { &self.first } else { &self.best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_holds_every_index_a_volume_can_have() {
        let mut set = ReplicaSet::default();
        assert!(set.is_empty());
        for index in [0, 63, 64, 509] {
            set.insert(index);
        }
        set.insert(512);
        assert!(set.iter().eq([0, 63, 64, 509]));
        assert_eq!(set.len(), 4);
        assert!(!set.contains(1) && !set.contains(512));
    }

    fn elect(replicas: &[(VolumeState, u64)]) -> (usize, bool) {
        let unsealed = |&(state, offset): &(VolumeState, u64)| Unsealed {
            encrypted_offset: DataSector::new(offset),
            state,
            secrets: JvckSecrets::copy_from(&[1; 32], &[2; 32]),
        };
        let mut all = replicas.iter().map(unsealed).enumerate();
        let (index, first) = all.next().unwrap();
        let mut election = Election::open(index, &[0; BLOCK_SIZE], first);
        all.for_each(|(index, other)| {
            assert!(election.consider(index, &[0; BLOCK_SIZE], &other), "the keys are the same");
        });
        (election.winner().index, election.conflicting)
    }

    #[test]
    fn the_direction_decides_which_boundary_is_newer() {
        use VolumeState::{Decrypt, Encrypt};
        assert_eq!(elect(&[(Encrypt, 300), (Encrypt, 500), (Encrypt, 400)]), (1, false));
        assert_eq!(elect(&[(Decrypt, 500), (Decrypt, 300), (Decrypt, 400)]), (1, false));
        assert_eq!(elect(&[(Decrypt, 500), (Encrypt, 500)]), (0, false), "only the direction was being written");
        assert_eq!(elect(&[(Encrypt, 500), (Decrypt, 500), (Encrypt, 600)]), (2, false));
        assert_eq!(elect(&[(Decrypt, 300), (Encrypt, 500), (Decrypt, 200)]), (0, true), "the first is written first");
    }
}
