//! What the machine must be able to find: the same conversion with one rule of its protocol broken.
//!
//! A weakening is another implementation of one of the seams that the engine works through: device, gate, store, journal.
//! The engine itself is the shipped one, but for the baseline.

use crate::cut::Place;
use crate::family::{Family, Kind, Trouble};

/// What a flush of the conversion is for, told by what was written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushKind {
    /// Before it only users wrote: what a zone holds when it is closed is durable before it is protected.
    Drain,
    /// The record that protects a zone of which nothing is written yet.
    Protect,
    /// The converted side of a zone.
    Data,
    /// The record that commits a converted zone.
    Commit,
    /// Metadata blocks alone.
    Blocks,
}

impl FlushKind {
    /// The kind of a flush that follows writes to `places`, the one before having been `last`.
    #[must_use]
    pub fn of(places: &[Place], last: Self) -> Self {
        if places.contains(&Place::Data) {
            Self::Data
        } else if places.contains(&Place::Record) {
            if last == Self::Data { Self::Commit } else { Self::Protect }
        } else if places.contains(&Place::Block) {
            Self::Blocks
        } else {
            Self::Drain
        }
    }
}

macro_rules! weaknesses {
    ($($name:ident = $text:literal, $what:literal;)+) => {
        /// A way to break the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Weakness {
            $(#[doc = $what] $name,)+
        }

        impl Weakness {
            /// All of them; the first breaks nothing.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What is broken.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }
            }
        }
    };
}

weaknesses! {
    None = "none", "nothing: the shipped engine, store and journal";
    ReferenceEngine = "baseline", "no journal at all: write, flush, blocks, flush";
    NoDrainFlush = "no-drain-flush", "a closed zone is protected while users' writes to it are not durable";
    NoProtectFlush = "no-protect-flush", "a zone is overwritten before the record that protects it is durable";
    NoDataFlush = "no-data-flush", "a zone is committed before its converted side is durable";
    NoCommitFlush = "no-commit-flush", "blocks are written before the record that names them is durable";
    NoBlockFlush = "no-block-flush", "a clean stop without durable blocks";
    NoRecoveryFlush = "no-recovery-flush", "recovery flushes nothing";
    BlocksWithRecord = "blocks-with-record", "blocks and the record that names them go out in one flush";
    GateOpensEarly = "gate-opens-early", "users write to a zone before its commit is durable";
    GateDoesNotDrain = "gate-does-not-drain", "requests that were admitted before a zone was closed land in it afterwards";
    GateSeesNoWrites = "gate-sees-no-writes", "the gate says that nobody wrote to a zone since its watch, whoever did";
    GateWatchesLate = "gate-watches-late", "a watch begins only when what it is about has been read";
    FlushErrorsAreHidden = "flush-errors-hidden", "a flush that failed and lost writes is called a success";
    LossToOthersIsHidden = "loss-to-others-hidden", "the conversion is not told that a user's flush failed and lost what it wrote";
    StoreSealsOldBoundary = "store-old-boundary", "the store seals the boundary of the update before";
    StepsEndAnywhere = "steps-end-anywhere", "the policy's steps are so short that they end within physical sectors";
    JournalPlain = "own-journal", "nothing: the control, with the journal that the next ones are made from";
    JournalWithoutMac = "journal-no-mac", "the journal takes any slot that begins like one";
    JournalStaleSalts = "journal-stale-salts", "the journal does not name the salts of upcoming blocks";
    JournalOverNewest = "journal-over-newest", "the journal writes over its newest entry";
    JournalOldestWins = "journal-oldest-wins", "the journal opens the older of two entries";
    JournalConstantDigest = "journal-constant-digest", "every sector matches its digest";
    JournalNoDigest = "journal-no-digest", "no sector matches its digest";
    JournalShortDigest = "journal-short-digest", "digests of four bits";
    JournalForgetsDamage = "journal-forgets-damage", "the journal does not keep the list of damaged sectors";
    JournalBelievesOlder = "journal-believes-older", "the journal takes an older entry when the newest one cannot be read";
    JournalInOneReplica = "journal-in-one-replica", "the journal is content with the first replica";
    JournalDoesNotRestate = "journal-does-not-restate", "the journal leaves what it found where it found it";
    JournalAllocates = "journal-allocates", "the journal allocates while a zone is closed";
}

impl Weakness {
    /// The weakening with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|weakness| weakness.name() == name)
    }

    /// Those that nothing must be found in.
    #[must_use]
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::None | Self::JournalPlain)
    }

    /// Whether it makes a difference in `family`: some are about one trouble alone.
    #[must_use]
    pub fn can_show_in(self, family: &Family) -> bool {
        match self {
            Self::FlushErrorsAreHidden => family.has(Trouble::Lossy),
            // It takes the loss of the replica that has it, before anything else is written.
            Self::JournalDoesNotRestate => {
                family.has(Trouble::Lost) && !family.is_pair() && family.kind == Kind::Encrypt && !family.live
            }
            Self::StepsEndAnywhere => family.has(Trouble::Physical),
            Self::LossToOthersIsHidden => family.has(Trouble::Lossy) && family.live,
            _ => true,
        }
    }

    pub(crate) const fn drops(self, flush: FlushKind) -> bool {
        matches!(
            (self, flush),
            (Self::NoDrainFlush, FlushKind::Drain)
                | (Self::NoProtectFlush, FlushKind::Protect)
                | (Self::NoDataFlush, FlushKind::Data)
                | (Self::NoCommitFlush, FlushKind::Commit)
                | (Self::NoBlockFlush, FlushKind::Blocks)
        )
    }

    /// Whether the flush is done later, together with that of the blocks.
    pub(crate) const fn puts_off(self, flush: FlushKind) -> bool {
        matches!((self, flush), (Self::BlocksWithRecord, FlushKind::Commit))
    }

    /// Whether the volume's journal is the one of this crate.
    pub(crate) const fn has_own_journal(self) -> bool {
        matches!(
            self,
            Self::JournalPlain
                | Self::JournalWithoutMac
                | Self::JournalStaleSalts
                | Self::JournalOverNewest
                | Self::JournalOldestWins
                | Self::JournalConstantDigest
                | Self::JournalNoDigest
                | Self::JournalShortDigest
                | Self::JournalForgetsDamage
                | Self::JournalBelievesOlder
                | Self::JournalInOneReplica
                | Self::JournalDoesNotRestate
                | Self::JournalAllocates
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_known_by_what_was_written() {
        use FlushKind::{Blocks, Commit, Data, Drain, Protect};
        assert_eq!(FlushKind::of(&[], Data), Drain);
        assert_eq!(FlushKind::of(&[Place::Record], Drain), Protect);
        assert_eq!(FlushKind::of(&[Place::Block, Place::Data], Protect), Data);
        assert_eq!(FlushKind::of(&[Place::Record], Data), Commit);
        assert_eq!(FlushKind::of(&[Place::Block], Commit), Blocks);
    }

    #[test]
    fn every_name_leads_back() {
        assert!(Weakness::ALL.iter().all(|&weakness| Weakness::named(weakness.name()) == Some(weakness)));
    }
}
