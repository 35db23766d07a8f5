//! What kind of bad day it is: each mood stresses one thing, and a seed names its mood.

/// Something that goes wrong at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    CutControl,
    CutData,
    CutBoth,
    /// Frames are held back for a while, or lost together with the connections.
    Partition,
    KillSource,
    KillSink,
    StopSource,
    StopSink,
    UnreachableAtSource,
    UnreachableAtSink,
    FailReads,
    FailWrites,
    LoseSourceRoot,
    LoseSinkRoot,
    FeedOverflow,
    FeedLosesScope,
}

/// How a run goes; everything else comes from the seed.
#[derive(Debug)]
pub(crate) struct Mood {
    pub(crate) name: &'static str,
    /// Faults to choose from, repeated where they shall be more frequent.
    pub(crate) faults: &'static [Fault],
    pub(crate) faults_max: u64,
    /// Of 100,000 frames so many are lost.
    pub(crate) lost: u64,
    /// Of 100,000 frames so many arrive twice.
    pub(crate) repeated: u64,
    /// Of 1,000 operations so many are renames and swaps.
    pub(crate) renames_permille: u64,
    /// Of 1,000 other operations so many are further names.
    pub(crate) links_permille: u64,
    pub(crate) operations_max: u64,
}

use Fault::{
    CutBoth, CutControl, CutData, FailReads, FailWrites, FeedLosesScope, FeedOverflow, KillSink,
    KillSource, LoseSinkRoot, LoseSourceRoot, Partition, StopSink, StopSource, UnreachableAtSink,
    UnreachableAtSource,
};

pub(crate) const MOODS: [Mood; 6] = [
    Mood {
        name: "calm",
        faults: &[FeedOverflow, FeedLosesScope],
        faults_max: 1,
        lost: 0,
        repeated: 0,
        renames_permille: 200,
        links_permille: 100,
        operations_max: 150,
    },
    Mood {
        name: "restarts",
        faults: &[KillSource, KillSink, KillSink, StopSource, StopSink],
        faults_max: 6,
        lost: 0,
        repeated: 0,
        renames_permille: 200,
        links_permille: 100,
        operations_max: 120,
    },
    Mood {
        name: "lossy",
        faults: &[CutControl, CutData, CutBoth, Partition, UnreachableAtSource, UnreachableAtSink],
        faults_max: 8,
        lost: 300,
        repeated: 1_000,
        renames_permille: 200,
        links_permille: 100,
        operations_max: 120,
    },
    Mood {
        name: "renames",
        faults: &[FeedOverflow, FeedLosesScope, CutData, KillSink],
        faults_max: 1,
        lost: 0,
        repeated: 0,
        renames_permille: 600,
        links_permille: 350,
        operations_max: 150,
    },
    Mood {
        name: "problems",
        faults: &[
            FailReads,
            FailReads,
            FailWrites,
            FailWrites,
            LoseSourceRoot,
            LoseSinkRoot,
            FeedOverflow,
        ],
        faults_max: 12,
        lost: 0,
        repeated: 0,
        renames_permille: 250,
        links_permille: 350,
        operations_max: 120,
    },
    Mood {
        name: "everything",
        faults: &[
            CutControl,
            CutData,
            CutBoth,
            Partition,
            KillSource,
            KillSink,
            StopSource,
            StopSink,
            UnreachableAtSource,
            UnreachableAtSink,
            FailReads,
            FailWrites,
            LoseSourceRoot,
            LoseSinkRoot,
            FeedOverflow,
            FeedLosesScope,
        ],
        faults_max: 12,
        lost: 100,
        repeated: 500,
        renames_permille: 300,
        links_permille: 100,
        operations_max: 150,
    },
];

/// The mood of `seed`.
pub(crate) fn mood(seed: u64) -> &'static Mood {
    &MOODS[usize::try_from(seed % MOODS.len() as u64).expect("a remainder")]
}
