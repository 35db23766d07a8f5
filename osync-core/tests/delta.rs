//! Deltas: what is put together from a basis and a delta is the file, whatever the two are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use osync_core::compare::delta::matcher::{Matcher, Want};
use osync_core::compare::delta::proof::Proof;
use osync_core::compare::delta::script::{OPS_MAX, Op, Script};
use osync_core::compare::delta::signature::Signature;
use osync_core::compare::delta::sums::{self, Key, SUM_BYTES, Sum};
use proptest::prelude::*;

const KEY: Key = [7; 32];
/// Far below what is used: files of a few kilobytes have many blocks then.
const BLOCK_BYTES: u32 = 64;

/// What came of a search.
#[derive(Debug, Default)]
struct Found {
    ops: Vec<Op>,
    literal_bytes: usize,
    is_same: bool,
}

/// How the two streams are cut: bytes read at a time, sums at a time, bytes in a literal.
type Cuts = (usize, usize, usize);

/// Searches `file` for the blocks of `basis` and checks that the result is `file`.
fn search(file: &[u8], basis: &[u8], block_bytes: u32, cuts: Cuts, holds_back: bool) -> Found {
    let (read_max, sums_max, literal_max) = cuts;
    let blocks: Vec<&[u8]> = basis.chunks(block_bytes as usize).collect();
    let all: Vec<u8> = blocks.iter().flat_map(|block| Sum::of(&KEY, block).to_bytes()).collect();
    let mut sums = all.chunks(sums_max * SUM_BYTES);
    let signature = Signature::new(basis.len() as u64, block_bytes).unwrap();
    let mut matcher = Matcher::new(KEY, signature, literal_max, holds_back);
    let mut rest = file;
    let mut ops = Vec::new();
    loop {
        let mut found = Vec::new();
        let want = matcher.step(literal_max, &mut found);
        assert!(found.len() <= OPS_MAX);
        ops.append(&mut found);
        match want {
            Want::Nothing => break,
            Want::Room => {}
            Want::Sums => matcher.extend(sums.next().expect("it asks for what there is")).unwrap(),
            Want::Bytes if rest.is_empty() => matcher.end(),
            Want::Bytes => {
                let room = matcher.room(rest.len());
                let count = room.len().min(read_max);
                assert!(count > 0, "there is always room");
                room[..count].copy_from_slice(&rest[..count]);
                matcher.filled(count);
                rest = &rest[count..];
            }
        }
    }
    let mut result = Vec::new();
    let mut proof = Proof::new(&KEY);
    let mut found = Found { is_same: matcher.is_same(), ..Found::default() };
    if found.is_same && holds_back {
        assert!(ops.is_empty(), "nothing is said of what is the same");
        ops.push(Op::Copy { first: 0, count: u32::try_from(blocks.len()).unwrap() });
    }
    for op in &ops {
        match op {
            Op::Copy { first, count } => {
                for block in &blocks[*first as usize..(first + count) as usize] {
                    proof.block(&sums::id(&KEY, block));
                    result.extend_from_slice(block);
                }
            }
            Op::Literal(bytes) => {
                assert!(bytes.len() <= literal_max && !bytes.is_empty());
                proof.literal(bytes);
                found.literal_bytes += bytes.len();
                result.extend_from_slice(bytes);
            }
        }
    }
    assert!(result == file, "{} bytes became {}", file.len(), result.len());
    assert_eq!(found.is_same, file == basis);
    assert_eq!(proof.finish(), matcher.proof());
    found.ops = ops;
    found
}

/// One change of a file.
#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Overwrite(prop::sample::Index, Vec<u8>),
    Move(prop::sample::Index, prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), 0..300_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (at(), bytes()).prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (at(), at(), 0..500_usize).prop_map(|(from, to, count)| Edit::Move(from, to, count)),
    ]
}

fn edited(mut file: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: &prop::sample::Index| at.index(file.len() + 1);
        match edit {
            Edit::Insert(at, bytes) => {
                let at = place(at);
                file.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = place(at);
                file.drain(at..file.len().min(at + count));
            }
            Edit::Overwrite(at, bytes) => {
                let at = place(at);
                let end = file.len().min(at + bytes.len());
                file.splice(at..end, bytes.iter().copied());
            }
            Edit::Move(from, to, count) => {
                let from = place(from);
                let moved: Vec<u8> = file.drain(from..file.len().min(from + count)).collect();
                let to = to.index(file.len() + 1);
                file.splice(to..to, moved);
            }
        }
    }
    file
}

/// Few different bytes, so that blocks repeat and checksums collide; or many.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let few = prop::collection::vec(prop_oneof![20 => Just(0_u8), 1 => any::<u8>()], 0..4_000);
    let many = prop::collection::vec(any::<u8>(), 0..4_000);
    prop_oneof![few, many]
}

/// `bytes` bytes that look like nothing else.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(bytes).collect()
}

proptest! {
    #[test]
    fn a_delta_applied_to_its_basis_gives_the_file(
        basis in content(),
        edits in prop::collection::vec(edit(), 0..6),
        cuts in (1..5_000_usize, 1..40_usize, 1..3_000_usize),
        holds_back in any::<bool>(),
    ) {
        let file = edited(basis.clone(), &edits);
        search(&file, &basis, BLOCK_BYTES, cuts, holds_back);
    }

    #[test]
    fn files_that_have_nothing_to_do_with_each_other_come_through(
        file in content(),
        basis in content(),
        block_bytes in 1..200_u32,
    ) {
        search(&file, &basis, block_bytes, (1_000, 7, 500), false);
    }

    #[test]
    fn sums_that_belong_to_nothing_are_refused_or_lead_nowhere(
        file in content(),
        sums in prop::collection::vec(any::<u8>(), 0..2_000),
        size_bytes in prop_oneof![0..10_000_u64, any::<u64>()],
        block_bytes in prop_oneof![0..300_u32, any::<u32>()],
    ) {
        let Ok(mut signature) = Signature::new(size_bytes, block_bytes) else { return Ok(()) };
        let is_taken = signature.extend(&sums).is_ok();
        prop_assert_eq!(
            is_taken,
            sums.len() % SUM_BYTES == 0 && sums.len() / SUM_BYTES <= signature.blocks() as usize
        );
        if block_bytes > 300 || !signature.is_complete() {
            return Ok(());
        }
        let mut matcher = Matcher::new(KEY, signature, 500, false);
        let mut ops = Vec::new();
        matcher.room(file.len()).copy_from_slice(&file);
        matcher.filled(file.len());
        matcher.end();
        let mut want = Want::Room;
        while want == Want::Room {
            want = matcher.step(500, &mut ops);
            for op in ops.drain(..) {
                if let Op::Copy { first, count } = op {
                    prop_assert!(first + count <= matcher.signature().blocks());
                }
            }
        }
        prop_assert_eq!(want, Want::Nothing);
    }
}

#[test]
fn one_change_costs_about_a_block() {
    const SIZE: usize = 1 << 20;
    let block_bytes = sums::block_bytes(SIZE as u64).unwrap();
    let basis = noise(SIZE, 1);
    let mut in_place = basis.clone();
    in_place[500_000..504_096].copy_from_slice(&noise(4_096, 2));
    let in_front = [&b"x"[..], &basis].concat();
    let behind = [&basis[..], &noise(1_000, 3)].concat();
    let cut = basis[..700_001].to_vec();
    let turned = [&basis[SIZE / 2..], &basis[..SIZE / 2]].concat();

    for (file, most) in [(in_place, 2), (in_front, 1), (behind, 1), (cut, 1), (turned, 0)] {
        let found = search(&file, &basis, block_bytes, (100_000, 50, 1 << 18), false);
        let most = most * block_bytes as usize;
        assert!(found.literal_bytes <= most, "{} bytes, {most} at most", found.literal_bytes);
    }
}

#[test]
fn what_was_held_back_is_said_a_copy_at_a_time() {
    const BLOCK_BYTES: usize = 4 << 20;
    const BLOCKS: u32 = 10_000;
    let mut script = Script::new(&KEY, BLOCK_BYTES, true);
    for block in 0..BLOCKS {
        script.copy(block, &[0; sums::ID_BYTES]);
    }
    script.limit_literals(100);
    script.literal(b"40 GB later");

    let (mut said, mut is_all) = (Vec::new(), false);
    while !is_all {
        let mut ops = Vec::new();
        is_all = script.take(&mut ops);
        let longest = ops.iter().map(|op| match op {
            Op::Copy { count, .. } => *count as usize * BLOCK_BYTES,
            Op::Literal(bytes) => bytes.len(),
        });
        assert!(longest.sum::<usize>() <= 8 << 20, "a few milliseconds of the sink's time");
        said.append(&mut ops);
    }

    let copies = said.iter().filter(|op| matches!(op, Op::Copy { .. }));
    assert_eq!((copies.count(), said.len()), (5_000, 5_001));
}

#[test]
fn blocks_that_are_all_equal_cost_no_more_than_others() {
    let zeros = vec![0; 4 << 20];
    let longer = vec![0; (4 << 20) + 77];
    let begun = Instant::now();

    let found = search(&longer, &zeros, 4_096, (1 << 18, 100, 1 << 18), false);

    assert!(found.literal_bytes <= 4_096, "{} bytes", found.literal_bytes);
    // A search that tried every block everywhere would take hours.
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn checksums_that_collide_on_purpose_are_not_hashed_for_ever() {
    // The window is all zeros everywhere; the basis has blocks with its checksum and another content.
    const BLOCK: u32 = 32 * 1024;
    let weak = sums::weak(&vec![0; BLOCK as usize]);
    let mut sums = Vec::new();
    for block in 0..1_000_u32 {
        sums.extend_from_slice(&weak.to_le_bytes());
        sums.extend_from_slice(&block.to_le_bytes());
    }
    let mut signature = Signature::new(1_000 * u64::from(BLOCK), BLOCK).unwrap();
    signature.extend(&sums).unwrap();
    let mut matcher = Matcher::new(KEY, signature, 1 << 18, false);
    let begun = Instant::now();
    let mut ops = Vec::new();
    for _ in 0..64 {
        let room = matcher.room(usize::MAX);
        room.fill(0);
        let count = room.len();
        matcher.filled(count);
        assert_eq!(matcher.step(1 << 18, &mut ops), Want::Bytes);
        ops.clear();
    }

    // 16 MiB with a hash of 32 KiB at each byte: 500 GiB.
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
