//! How much to send at once, end to end over ZeroMQ: the window and the chunk with a file of 256 MiB, the batch with
//! 10,000 files of 4 KiB. Of each a few sizes up to the largest that is allowed.

use criterion::{Criterion, Throughput};
use osync_benches::{Bed, Knobs, Sizes, group, time_copies};

const LARGE_BYTES: usize = 256 << 20;
const DIRECTORIES: usize = 100;
const FILES_PER_DIRECTORY: usize = 100;
const SMALL_BYTES: usize = 4 * 1024;
const SMALL_TOTAL_BYTES: usize = DIRECTORIES * FILES_PER_DIRECTORY * SMALL_BYTES;

/// Copies what is in `bed` once for each size, in KiB, that `with` puts into the defaults.
fn vary(
    criterion: &mut Criterion,
    name: &str,
    bed: &mut Bed,
    content_bytes: usize,
    sizes_kib: &[u64],
    with: impl Fn(u64) -> Sizes,
) {
    let mut group = group(criterion, name, Throughput::Bytes(content_bytes as u64));
    for kib in sizes_kib {
        let knobs = Knobs::sized(with(kib << 10));
        group.bench_function(format!("{kib} KiB"), |bencher| {
            time_copies(bencher, bed, knobs, |report| report.content_bytes == content_bytes as u64);
        });
    }
    group.finish();
}

fn sizes(criterion: &mut Criterion) {
    let mut large = Bed::filled(1, 1, LARGE_BYTES);
    let windows = [64, 256, 1_024, 4_096, 8_192];
    vary(criterion, "window", &mut large, LARGE_BYTES, &windows, |window_bytes_max| Sizes {
        window_bytes_max,
        ..Sizes::default()
    });
    let chunks = [64, 128, 256, 512, 1_024];
    vary(criterion, "chunk", &mut large, LARGE_BYTES, &chunks, |chunk_bytes_max| Sizes {
        chunk_bytes_max,
        ..Sizes::default()
    });
    drop(large);
    let mut small = Bed::filled(DIRECTORIES, FILES_PER_DIRECTORY, SMALL_BYTES);
    let batches = [32, 128, 512, 1_024];
    vary(criterion, "batch", &mut small, SMALL_TOTAL_BYTES, &batches, |batch_bytes_max| Sizes {
        batch_bytes_max,
        ..Sizes::default()
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    sizes(&mut criterion);
    criterion.final_summary();
}
