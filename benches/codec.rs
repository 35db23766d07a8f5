//! The bytes of a message of small files, by how many files it holds: made, read, compressed and decompressed at some
//! levels.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use osync_core::model::attributes::Attributes;
use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::name::Name;
use osync_core::model::timestamp::Timestamp;
use osync_core::wire::message::{Item, State};
use osync_core::wire::packing::{Packer, Payload};
use osync_core::wire::{decode, encode};

const FILE_BYTES: u64 = 4 * 1024;
const FILES: [usize; 3] = [1, 16, 128];
const LEVELS: [i32; 3] = [1, 3, 9];
const LINE: &[u8] = b"2026-01-01T00:00:00Z INFO  request 4711 took 12 ms\n";

/// Files of one directory, and their contents in a row: text, which compresses as logs and sources do.
fn batch(files: usize) -> (Vec<Item>, Vec<u8>) {
    let items = (0..files).map(|number| {
        let name = Name::new(format!("f{number:05}").as_bytes()).expect("a name");
        let metadata = Metadata {
            kind: Kind::File { size_bytes: FILE_BYTES },
            modified: Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
            mode: 0o644,
            uid: 1_000,
            gid: 1_000,
            attributes: Attributes::None,
            names: 1,
        };
        Item { name, state: State::File(metadata) }
    });
    let bytes = files * usize::try_from(FILE_BYTES).expect("short files");
    // Lines differ in a number each, or nothing but one line would be left of it.
    let lines = (0_u64..).flat_map(|number| [LINE, &number.to_le_bytes()].concat());
    (items.collect(), lines.take(bytes).collect())
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_items");
    for files in FILES {
        let (items, contents) = batch(files);
        group.throughput(Throughput::Elements(files as u64));
        group.bench_with_input(BenchmarkId::from_parameter(files), &items, |bencher, items| {
            let mut payload = contents.clone();
            bencher.iter(|| {
                payload.truncate(contents.len());
                encode::append_items(items, &mut payload)
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("decode_put");
    for files in FILES {
        let (items, mut payload) = batch(files);
        let items_bytes = encode::append_items(&items, &mut payload);
        group.throughput(Throughput::Elements(files as u64));
        group.bench_with_input(BenchmarkId::from_parameter(files), &payload, |bencher, payload| {
            bencher.iter(|| decode::put(payload, items_bytes, 0).expect("what was encoded"));
        });
    }
    group.finish();

    let (_, contents) = batch(128);
    let whole = Payload { bytes: Bytes::from(contents), unpacked_bytes: None };
    let mut group = criterion.benchmark_group("compress");
    group.throughput(Throughput::Bytes(whole.len_bytes()));
    for level in LEVELS {
        group.bench_with_input(BenchmarkId::new("pack", level), &level, |bencher, level| {
            let mut packer = Packer::default();
            bencher.iter(|| {
                let mut payload = whole.clone();
                packer.pack(&mut payload, *level);
                payload.bytes.len()
            });
        });
        let mut packed = whole.clone();
        Packer::default().pack(&mut packed, level);
        group.bench_with_input(BenchmarkId::new("unpack", level), &packed, |bencher, packed| {
            bencher.iter(|| packed.clone().unpacked().expect("what was packed"));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    codec(&mut criterion);
    criterion.final_summary();
}
