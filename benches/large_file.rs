//! A large file, end to end: 256 MiB into an empty target, in chunks.

use criterion::{Criterion, Throughput};
use osync_benches::{Bed, Knobs, group, time_copies};

const FILE_BYTES: usize = 256 << 20;

fn large_file(criterion: &mut Criterion) {
    let mut bed = Bed::filled(1, 1, FILE_BYTES);
    let mut group = group(criterion, "large_file", Throughput::Bytes(FILE_BYTES as u64));
    for knobs in Knobs::defaults() {
        group.bench_function(knobs.name(), |bencher| {
            time_copies(bencher, &mut bed, knobs, |report| {
                report.content_bytes == FILE_BYTES as u64
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    large_file(&mut criterion);
    criterion.final_summary();
}
