//! Nothing to do: the comparison of two equal trees of 500 directories and 50,000 files, until the sink is
//! found in sync. The files are empty, because nobody opens them.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use osync_benches::{Bed, Knobs, group};

const DIRECTORIES: usize = 500;
const FILES_PER_DIRECTORY: usize = 100;
const ENTRIES: u64 = (DIRECTORIES + DIRECTORIES * FILES_PER_DIRECTORY) as u64;

fn no_op(criterion: &mut Criterion) {
    let mut bed = Bed::filled(DIRECTORIES, FILES_PER_DIRECTORY, 0);
    let target = bed.new_target();
    let knobs = Knobs::all();
    let (_, report) = bed.replicate(&target, knobs[0]);
    assert_eq!(report.entries, ENTRIES);
    let mut group = group(criterion, "no_op", Throughput::Elements(ENTRIES));
    for knobs in knobs {
        group.bench_function(knobs.name(), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let (took, report) = bed.replicate(&target, knobs);
                    assert_eq!(report.entries, 0, "nothing differs");
                    total += took;
                }
                total
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    no_op(&mut criterion);
    criterion.final_summary();
}
