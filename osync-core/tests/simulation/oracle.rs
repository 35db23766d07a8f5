//! What happened at the source: what any sink is judged by.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::time::Instant;

use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::rel_path::RelPath;

use crate::random::Random;

/// Files of more than this may be read in pieces, depending on the window: `BATCH_BYTES_MIN`.
const PIECES_BYTES_MIN: usize = 16 * 1024;
/// A file that changed so often while it was read may arrive as a mixture, and again later.
const UNSTEADY_VERSIONS_MIN: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    File,
    Directory,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Present {
    since: Instant,
    shape: Shape,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// What lies at the source now, the root left out.
    present: BTreeMap<RelPath, Present>,
    changed_at: BTreeMap<RelPath, Instant>,
    /// When something is reported once more, so that what it shares is made anew.
    shaken_at: BTreeMap<RelPath, Instant>,
    /// When something was moved there, with whatever lay below.
    moved_at: BTreeMap<RelPath, Instant>,
    /// Fingerprints of all contents that were written at a path.
    versions: BTreeMap<RelPath, HashSet<u64>>,
    /// Where a file was once long enough to be read in pieces.
    long: HashSet<RelPath>,
    /// All renames, from and to; and names given to what had others.
    renames: Vec<(RelPath, RelPath)>,
}

/// What happens at the source.
impl Oracle {
    pub(crate) fn paths(&self) -> Vec<(RelPath, Shape)> {
        self.present.iter().map(|(path, present)| (path.clone(), present.shape)).collect()
    }

    /// How many things lie at the source.
    pub(crate) fn count(&self) -> usize {
        self.present.len()
    }

    /// One of the things whose shape is meant, if there are any.
    pub(crate) fn some(
        &self,
        random: &mut Random,
        is_meant: impl Fn(Shape) -> bool,
    ) -> Option<(RelPath, Shape)> {
        let meant = || self.present.iter().filter(|(_, present)| is_meant(present.shape));
        let count = meant().count();
        let index = (count > 0).then(|| random.index(count))?;
        meant().nth(index).map(|(path, present)| (path.clone(), present.shape))
    }

    /// What lies at and below `path`.
    pub(crate) fn paths_within(&self, path: &RelPath) -> Vec<RelPath> {
        within(&self.present, path).cloned().collect()
    }

    pub(crate) fn shape(&self, path: &RelPath) -> Option<Shape> {
        if path.is_root() {
            return Some(Shape::Directory);
        }
        self.present.get(path).map(|present| present.shape)
    }

    /// Since when something has lain at `path`.
    pub(crate) fn since(&self, path: &RelPath) -> Option<Instant> {
        self.present.get(path).map(|present| present.since)
    }

    pub(crate) fn is_empty_directory(&self, path: &RelPath) -> bool {
        self.shape(path) == Some(Shape::Directory)
            && within(&self.present, path).all(|other| other == path)
    }

    pub(crate) fn appeared(&mut self, path: &RelPath, shape: Shape, now: Instant) {
        self.present.entry(path.clone()).or_insert(Present { since: now, shape }).shape = shape;
        self.changed_with_parent(path, now);
    }

    /// A content of `bytes` with that fingerprint was written at `path`.
    pub(crate) fn wrote(&mut self, path: &RelPath, fingerprint: u64, bytes: usize, now: Instant) {
        self.versions.entry(path.clone()).or_default().insert(fingerprint);
        if bytes > PIECES_BYTES_MIN {
            self.long.insert(path.clone());
        }
        if self.shape(path).is_none() {
            self.appeared(path, Shape::File, now);
        }
        self.changed(path, now);
    }

    /// `path` became a name of what `to` is: where the sink has an earlier version of that, by size and time the same,
    /// it shows it at the new name, too, until the later one is there.
    pub(crate) fn linked(&mut self, path: &RelPath, to: &RelPath) {
        self.renames.push((to.clone(), path.clone()));
    }

    pub(crate) fn changed(&mut self, path: &RelPath, now: Instant) {
        self.changed_at.insert(path.clone(), now);
    }

    pub(crate) fn shaken(&mut self, path: &RelPath, at: Instant) {
        self.shaken_at.insert(path.clone(), at);
    }

    pub(crate) fn vanished(&mut self, path: &RelPath, now: Instant) {
        for path in self.paths_within(path) {
            self.present.remove(&path);
            self.changed(&path, now);
        }
        self.changed_with_parent(path, now);
    }

    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let rebased = |path: &RelPath| path.rebased(from, to).expect("short paths");
        let replaced = self.present.get(to).copied();
        self.moved_at.insert(to.clone(), now);
        let moved: Vec<(RelPath, Present)> = within(&self.present, from)
            .filter_map(|path| Some((rebased(path)?, self.present[path])))
            .collect();
        self.renames.push((from.clone(), to.clone()));
        self.vanished(from, now);
        for (path, present) in moved {
            self.present.insert(path.clone(), Present { since: now, ..present });
            self.changed(&path, now);
        }
        if let (Some(replaced), Some(present)) = (replaced, self.present.get_mut(to)) {
            present.since = replaced.since;
        }
        self.changed_with_parent(to, now);
    }

    fn changed_with_parent(&mut self, path: &RelPath, now: Instant) {
        self.changed(path, now);
        if let Some(parent) = path.parent() {
            self.changed(&parent, now);
        }
    }
}

/// What may be said of a sink.
impl Oracle {
    /// Judges the claim that the sink holds everything that had happened when it asked.
    pub(crate) fn judge_in_sync(
        &self,
        asked_at: Instant,
        differences: &[(RelPath, String)],
        shared: &[Vec<Vec<RelPath>>; 2],
        may_refuse: bool,
    ) -> Result<(), String> {
        // Where directories cannot be written to, one may lack its own time because of what came into it since.
        let is_busy = |path: &RelPath| {
            let mut changed = self.changed_at.iter().filter(|(_, changed)| **changed >= asked_at);
            may_refuse && changed.any(|(other, _)| other.parent().as_ref() == Some(path))
        };
        let stood_still = |(path, _): &&(RelPath, String)| {
            self.held_still_since(path, asked_at) && !is_busy(path)
        };
        if let Some((_, difference)) = differences.iter().find(stood_still) {
            return Err(format!("in sync, it says, but {difference}"));
        }
        // Where one of several names moved, the others may be on their way to it.
        let is_moving = |path: &RelPath| {
            let shaken = self.shaken_at.get(path);
            !self.held_still_since(path, asked_at) || shaken.is_some_and(|at| *at >= asked_at)
        };
        let things = shared.iter().flatten().filter(|names| names.iter().any(is_moving));
        let moving: HashSet<&RelPath> = things.flatten().collect();
        let [here, there] = [0, 1].map(|end: usize| {
            let still = |names: &Vec<RelPath>| -> Vec<RelPath> {
                names.iter().filter(|name| !moving.contains(name)).cloned().collect()
            };
            let mut things: Vec<Vec<RelPath>> = shared[end].iter().map(still).collect();
            things.retain(|names| names.len() > 1);
            things
        });
        if here == there {
            return Ok(());
        }
        Err(format!("in sync, it says, but {here:?} share, and there {there:?}"))
    }

    /// Whether nothing changed at `path`, and nothing was moved there with a directory above.
    fn held_still_since(&self, path: &RelPath, since: Instant) -> bool {
        let mut moved = self.moved_at.iter().filter(|(to, _)| path.is_within(to));
        self.changed_at.get(path).is_none_or(|changed| *changed < since)
            && moved.all(|(_, moved)| *moved < since)
    }

    /// Judges the `content` of a file at a sink that was `given` other contents than the source ever had.
    pub(crate) fn judge_content(
        &self,
        path: &RelPath,
        content: &[u8],
        given: &BTreeMap<RelPath, HashSet<u64>>,
    ) -> Result<(), String> {
        let fingerprint = fingerprint(content);
        let mut versions = 0;
        let mut is_known = |path: &RelPath| {
            let [written, given] = [self.versions.get(path), given.get(path)];
            versions += written.map_or(0, HashSet::len);
            let is_new = |version: &&u64| written.is_none_or(|written| !written.contains(*version));
            versions += given.map_or(0, |given| given.iter().filter(is_new).count());
            [written, given].into_iter().flatten().any(|known| known.contains(&fingerprint))
        };
        if is_known(path) {
            return Ok(());
        }
        // Where it may have come from, the last rename first.
        let mut places = vec![path.clone()];
        for (from, to) in self.renames.iter().rev() {
            for index in 0..places.len() {
                let place = places[index].rebased(to, from).expect("short paths");
                if let Some(place) = place.filter(|place| !places.contains(place)) {
                    if is_known(&place) {
                        return Ok(());
                    }
                    places.push(place);
                }
            }
        }
        // It may have become short while it was read.
        let is_long = |place: &RelPath| self.long.contains(place);
        let may_be_read_in_pieces = content.len() > PIECES_BYTES_MIN || places.iter().any(is_long);
        if may_be_read_in_pieces && versions >= UNSTEADY_VERSIONS_MIN {
            return Ok(());
        }
        let bytes = content.len();
        Err(format!("{path} has {bytes} bytes at the sink that it never had at the source"))
    }
}

/// The paths of `map` at and below `path`: those that begin alike are together, but for a few of others.
pub(crate) fn within<'a, V>(
    map: &'a BTreeMap<RelPath, V>,
    path: &'a RelPath,
) -> impl Iterator<Item = &'a RelPath> {
    let from = map.range::<RelPath, _>((Bound::Included(path), Bound::Unbounded));
    let begins_alike = |other: &&RelPath| other.as_bytes().starts_with(path.as_bytes());
    from.map(|(other, _)| other).take_while(begins_alike).filter(|other| other.is_within(path))
}

pub(crate) fn shape_of(metadata: &Metadata) -> Shape {
    if metadata.kind.is_directory() {
        Shape::Directory
    } else if matches!(metadata.kind, Kind::File { .. }) {
        Shape::File
    } else {
        Shape::Other
    }
}

/// FNV-1a over words: tells a few hundred contents apart, quickly.
pub(crate) fn fingerprint(content: &[u8]) -> u64 {
    let (words, bytes) = content.as_chunks();
    let (blocks, words) = words.as_chunks();
    // Four at a time: none waits for the multiplication of the one before.
    let mut lanes = [1, 2, 3, 4];
    for [a, b, c, d] in blocks {
        lanes = [fold(lanes[0], *a), fold(lanes[1], *b), fold(lanes[2], *c), fold(lanes[3], *d)];
    }
    let mut hash = content.len() as u64;
    for lane in lanes {
        hash = fold(hash, lane.to_le_bytes());
    }
    for word in words {
        hash = fold(hash, *word);
    }
    for byte in bytes {
        hash = fold(hash, [*byte; 8]);
    }
    hash
}

#[inline]
fn fold(hash: u64, word: [u8; 8]) -> u64 {
    (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}
