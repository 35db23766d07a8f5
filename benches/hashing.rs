//! Hashing, by the length of what is hashed at a time: digest and checksum of content, the sums of a basis in blocks, and the
//! search for those blocks in a file that has none of them.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use osync_core::compare::delta::matcher::{Matcher, Want};
use osync_core::compare::delta::signature::Signature;
use osync_core::compare::delta::sums::{Key, Sum};
use osync_core::model::digest::{Checksum, Digest, Hasher};

const CONTENT_BYTES: usize = 16 << 20;
const KEY: Key = [7; 32];
/// The longest literal that a search says at once.
const LITERAL_BYTES_MAX: usize = 256 * 1024;
const PIECES_KIB: [usize; 4] = [4, 32, 128, 512];
const BLOCKS_KIB: [usize; 4] = [4, 16, 32, 128];

/// Bytes that do not repeat.
fn content(seed: &[u8]) -> Vec<u8> {
    // The generator of the standard: quick, and good enough not to repeat within a block.
    let mut state = seed.iter().fold(88_172_645_463_325_252_u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let mut words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.by_ref().take(CONTENT_BYTES / 8).flat_map(u64::to_le_bytes).collect()
}

/// What `hash` makes of all of `content` in pieces of so many bytes.
fn passes(criterion: &mut Criterion, name: &str, content: &[u8], hash: fn(&[u8], usize) -> Digest) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for kib in PIECES_KIB {
        group.bench_with_input(BenchmarkId::from_parameter(kib), &kib, |bencher, kib| {
            bencher.iter(|| hash(content, kib << 10));
        });
    }
    group.finish();
}

fn digest(content: &[u8], piece_bytes: usize) -> Digest {
    let mut hasher = Hasher::default();
    content.chunks(piece_bytes).for_each(|piece| hasher.update(piece));
    hasher.finish()
}

fn checksum(content: &[u8], piece_bytes: usize) -> Digest {
    let mut checksum = Checksum::default();
    content.chunks(piece_bytes).for_each(|piece| checksum.update(piece));
    checksum.finish()
}

fn sums(criterion: &mut Criterion, content: &[u8]) {
    let mut group = criterion.benchmark_group("sums_of_blocks");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for kib in BLOCKS_KIB {
        group.bench_with_input(BenchmarkId::from_parameter(kib), &kib, |bencher, kib| {
            bencher.iter(|| {
                content.chunks(kib << 10).for_each(|block| {
                    black_box(Sum::of(&KEY, block));
                });
            });
        });
    }
    group.finish();
}

fn search(criterion: &mut Criterion, basis: &[u8], file: &[u8]) {
    let mut group = criterion.benchmark_group("search_in_vain");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64)).sample_size(10);
    for kib in BLOCKS_KIB {
        let block_bytes = u32::try_from(kib << 10).expect("short blocks");
        let sums: Vec<u8> =
            basis.chunks(kib << 10).flat_map(|block| Sum::of(&KEY, block).to_bytes()).collect();
        group.bench_with_input(BenchmarkId::from_parameter(kib), &kib, |bencher, _| {
            bencher.iter(|| {
                let signature = Signature::new(CONTENT_BYTES as u64, block_bytes);
                let signature = signature.expect("not too many blocks");
                let mut matcher = Matcher::new(KEY, signature, LITERAL_BYTES_MAX, false);
                matcher.extend(&sums).expect("the sums of all blocks");
                let (mut rest, mut ops) = (file, Vec::new());
                while matcher.step(LITERAL_BYTES_MAX, &mut ops) == Want::Bytes {
                    let room = matcher.room(rest.len());
                    let bytes = room.len().min(rest.len());
                    room[..bytes].copy_from_slice(&rest[..bytes]);
                    rest = &rest[bytes..];
                    matcher.filled(bytes);
                    if rest.is_empty() {
                        matcher.end();
                    }
                    ops.clear();
                }
                matcher.balance_bytes()
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (basis, file) = (content(b"basis"), content(b"file"));
    passes(&mut criterion, "digest_of_content", &basis, digest);
    passes(&mut criterion, "checksum_of_content", &basis, checksum);
    sums(&mut criterion, &basis);
    search(&mut criterion, &basis, &file);
    criterion.final_summary();
}
