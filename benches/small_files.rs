//! Small files, end to end: 10,000 files of 4 KiB in 100 directories into an empty target.

use criterion::{Criterion, Throughput};
use osync_benches::{Bed, Knobs, group, time_copies};

const DIRECTORIES: usize = 100;
const FILES_PER_DIRECTORY: usize = 100;
const FILE_BYTES: usize = 4 * 1024;
const FILES: u64 = (DIRECTORIES * FILES_PER_DIRECTORY) as u64;

fn small_files(criterion: &mut Criterion) {
    let mut bed = Bed::filled(DIRECTORIES, FILES_PER_DIRECTORY, FILE_BYTES);
    let mut group = group(criterion, "small_files", Throughput::Elements(FILES));
    for knobs in Knobs::all() {
        group.bench_function(knobs.name(), |bencher| {
            time_copies(bencher, &mut bed, knobs, |report| report.files == FILES);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    small_files(&mut criterion);
    criterion.final_summary();
}
