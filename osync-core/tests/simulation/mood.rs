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
    /// Everything vanishes from the source at once, and is back after a while.
    EmptySource,
    FeedOverflow,
    FeedLosesScope,
    /// At the sink, with whatever was not on disk.
    CutPower,
    /// The sink cannot be synced once.
    FailSync,
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
    /// Of 1,000 other operations so many are twins of directories.
    pub(crate) twins_permille: u64,
    pub(crate) operations_max: u64,
    /// A source that is empty makes no sink empty.
    pub(crate) keeps_all: bool,
}

use Fault::{
    CutBoth, CutControl, CutData, CutPower, EmptySource, FailReads, FailSync, FailWrites,
    FeedLosesScope, FeedOverflow, KillSink, KillSource, LoseSinkRoot, LoseSourceRoot, Partition,
    StopSink, StopSource, UnreachableAtSink, UnreachableAtSource,
};

pub(crate) const MOODS: [Mood; 9] = [
    Mood {
        name: "calm",
        faults: &[FeedOverflow, FeedLosesScope],
        faults_max: 1,
        lost: 0,
        repeated: 0,
        renames_permille: 200,
        links_permille: 100,
        twins_permille: 0,
        operations_max: 150,
        keeps_all: false,
    },
    Mood {
        name: "restarts",
        faults: &[KillSource, KillSink, KillSink, StopSource, StopSink],
        faults_max: 6,
        lost: 0,
        repeated: 0,
        renames_permille: 200,
        links_permille: 100,
        twins_permille: 0,
        operations_max: 120,
        keeps_all: false,
    },
    Mood {
        name: "lossy",
        faults: &[CutControl, CutData, CutBoth, Partition, UnreachableAtSource, UnreachableAtSink],
        faults_max: 8,
        lost: 300,
        repeated: 1_000,
        renames_permille: 200,
        links_permille: 100,
        twins_permille: 0,
        operations_max: 120,
        keeps_all: false,
    },
    Mood {
        name: "renames",
        faults: &[FeedOverflow, FeedLosesScope, CutData, KillSink],
        faults_max: 1,
        lost: 0,
        repeated: 0,
        renames_permille: 600,
        links_permille: 350,
        twins_permille: 0,
        operations_max: 150,
        keeps_all: false,
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
        twins_permille: 0,
        operations_max: 120,
        keeps_all: false,
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
        twins_permille: 0,
        operations_max: 150,
        keeps_all: false,
    },
    Mood {
        name: "vanishing",
        faults: &[
            EmptySource,
            EmptySource,
            EmptySource,
            LoseSourceRoot,
            LoseSinkRoot,
            KillSource,
            KillSink,
            CutData,
            FeedOverflow,
        ],
        faults_max: 8,
        lost: 0,
        repeated: 0,
        renames_permille: 250,
        links_permille: 100,
        twins_permille: 0,
        operations_max: 120,
        keeps_all: true,
    },
    Mood {
        name: "power",
        faults: &[CutPower, CutPower, CutPower, KillSink, FailSync, CutData],
        faults_max: 8,
        lost: 0,
        repeated: 0,
        renames_permille: 250,
        links_permille: 200,
        twins_permille: 0,
        operations_max: 150,
        keeps_all: false,
    },
    Mood {
        name: "twins",
        faults: &[CutData, CutBoth, KillSink, StopSink, FailWrites, FailReads],
        faults_max: 3,
        lost: 0,
        repeated: 0,
        renames_permille: 400,
        links_permille: 50,
        twins_permille: 250,
        operations_max: 150,
        keeps_all: false,
    },
];

/// Seeds with it have two sinks.
const TWO_SINKS: u64 = 1 << 60;

/// How many of the moods, the first ones, take turns from seed to seed.
const TURNS: u64 = 6;
/// Of the others each has the seeds from a multiple of this on, so that a further mood leaves all seeds as they are.
const OWN_SEEDS: u64 = 1 << 40;

/// The mood of `seed`.
pub(crate) fn mood(seed: u64) -> &'static Mood {
    let number = seed & !TWO_SINKS;
    let own = number / OWN_SEEDS;
    let index = if own == 0 { number % TURNS } else { TURNS - 1 + own };
    &MOODS[usize::try_from(index).expect("a small number")]
}

/// How many sinks there are in the world of `seed`.
pub(crate) fn sinks(seed: u64) -> usize {
    if seed & TWO_SINKS == 0 { 1 } else { 2 }
}

/// The seed number `number` of the mood at `index`: every fourth has two sinks.
pub(crate) fn seed(index: u64, number: u64) -> u64 {
    let more = if number % 4 == 3 { TWO_SINKS } else { 0 };
    if index < TURNS {
        more | (number * TURNS + index)
    } else {
        more | ((index + 1 - TURNS) * OWN_SEEDS + number)
    }
}
