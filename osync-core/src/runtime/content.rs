//! Reads the content of a file that may change meanwhile.
//!
//! A file that looks the same before and after it was read held still, and what was read is whole. Where
//! that cannot be told it is read a second time: what was the same in both readings was all there at the
//! moment between them. So a log that grows without end is whole as far as it had got when it was opened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::compare::delta::matcher::Matcher;
use crate::compare::delta::sums::Key;
use crate::model::digest::Digest;
use crate::model::metadata::{Kind, Metadata, Sighting, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::source::{Source, SourceDirectory, SourceError, SourceFile};
use crate::protocol::source::job::{FileEnd, Missing, Outcome, Piece, Placed};
use crate::runtime::reading::{Reading, has_holes};
use crate::wire::message::{Basis, State};
use crate::wire::packing::Payload;

/// How often a small file that changed while it was read is read again at once.
const READ_ATTEMPTS_MAX: u32 = 3;
/// How long a large file is left alone whose stamp is too young to tell much.
const FRESH_WAIT: Duration = Duration::from_millis(20);
/// Read in one go the second time, in bytes: about a millisecond.
const AGAIN_BYTES_MAX: usize = 1 << 20;
/// Compared in one go, in bytes.
const COMPARED_BYTES_MAX: usize = 16 * 1024;

/// A large file between two chunks.
pub struct OpenFile {
    pub(super) file: Box<dyn SourceFile>,
    pub(super) first: (Metadata, Stamp),
    pub(super) is_fresh: bool,
    pub(super) reading: Reading,
    again: Option<Reading>,
    /// The beginning of it that the sink has, and the key of its samples.
    pub(super) grown_from: Option<(Basis, Key)>,
    /// The search for blocks that the sink has.
    pub(super) matcher: Option<Box<Matcher>>,
}

/// How much is read for one message, by all slices together.
#[derive(Debug)]
pub(super) struct Limits {
    /// Longer files are not read.
    inline_bytes_max: u64,
    /// What has several names is taken like anything else.
    pub(super) takes_linked: bool,
    pub(super) missing: Missing,
    /// No further file is read that would make more bytes than this.
    pub(super) batch_bytes_max: usize,
    taken_bytes: AtomicUsize,
}

impl Limits {
    pub(super) fn new(
        inline_bytes_max: u64,
        batch_bytes_max: usize,
        takes_linked: bool,
        missing: Missing,
    ) -> Self {
        let taken_bytes = AtomicUsize::new(0);
        Self { inline_bytes_max, takes_linked, missing, batch_bytes_max, taken_bytes }
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken_bytes.load(Ordering::Relaxed) >= self.batch_bytes_max
    }

    /// Takes room for `bytes`, if there is that much left or nothing was taken yet.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let fits = |taken| taken == 0 || taken + bytes <= self.batch_bytes_max;
        let take = |taken| fits(taken).then_some(taken + bytes);
        self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a look found.
pub(super) enum Seen {
    /// Nothing that the source tells of.
    Nothing,
    Item(State, Placed),
    Other(Outcome),
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("offset_bytes", &self.reading.offset_bytes)
            .finish_non_exhaustive()
    }
}

/// Metadata of `directory`, if it is one.
pub(super) fn own_metadata(
    source: &dyn Source,
    directory: &RelPath,
) -> Result<Option<Metadata>, SourceError> {
    let found = source.metadata(directory)?;
    Ok(found.map(|(metadata, _)| metadata).filter(|metadata| metadata.kind.is_directory()))
}

/// Appends the content of the file at `name`, as `seen` a moment ago, to `payload`, whole or not at all.
pub(super) fn read_small(
    directory: &dyn SourceDirectory,
    name: &Name,
    seen: (Metadata, Stamp),
    limits: &Limits,
    payload: &mut Vec<u8>,
) -> Result<Seen, SourceError> {
    let start = payload.len();
    let mut before = seen;
    for attempt in 1..=READ_ATTEMPTS_MAX {
        let size_bytes = before.0.kind.size_bytes();
        if size_bytes > limits.inline_bytes_max {
            return Ok(Seen::Other(Outcome::Large));
        }
        let length = usize::try_from(size_bytes).expect("far below the address space");
        let taken = length + before.0.attributes.len_bytes();
        if !limits.try_take(taken) {
            return Ok(Seen::Other(Outcome::Left));
        }
        let Some(mut file) = directory.open(name)? else {
            limits.give_back(taken);
            return Ok(Seen::Other(Outcome::Changed));
        };
        if has_holes(&mut *file, size_bytes)? {
            // Only chunks can leave them out.
            limits.give_back(taken);
            return Ok(Seen::Other(Outcome::Large));
        }
        let is_fresh = file.is_fresh(&before.1);
        if file.append_to(payload, 0, length)? == length {
            // What was seen by its name and what was read are one object that held still in between.
            let held_still = file.metadata()? == before;
            // One that never holds still may yet be caught at one moment.
            let is_open_question = if held_still { is_fresh } else { attempt == READ_ATTEMPTS_MAX };
            let is_whole = if is_open_question {
                is_same(&mut *file, &payload[start..])?
                    && has_only_grown(&before, &file.metadata()?)
                    && is_still_named(&before, directory.metadata(name)?.as_ref())
            } else {
                held_still
            };
            if is_whole {
                let (metadata, stamp) = before;
                let seen = Box::new(Sighting { metadata: metadata.digested(), stamp });
                let placed = Placed::Other { content_bytes: size_bytes, seen };
                return Ok(Seen::Item(State::File(metadata), placed));
            }
        }
        payload.truncate(start);
        limits.give_back(taken);
        match directory.metadata(name)? {
            Some(again) if again.0.kind.is_file() => before = again,
            Some(_) | None => return Ok(Seen::Other(Outcome::Changed)),
        }
    }
    Ok(Seen::Other(Outcome::Unsteady))
}

/// Reads the next bytes of the large file at `path`; no further than its length when it was opened.
pub(super) fn read_piece(
    source: &dyn Source,
    path: &RelPath,
    chunk_bytes_max: usize,
    open: &mut Option<Box<OpenFile>>,
    clock: impl Fn() -> Instant,
) -> Result<Option<Piece>, SourceError> {
    if open.is_none() {
        let Some(file) = source.open(path)? else { return Ok(None) };
        *open = Some(Box::new(OpenFile::new(file)?));
    }
    let Some(held) = open else { return Ok(None) };
    let size_bytes = held.first.0.kind.size_bytes();
    let piece = |offset_bytes, chunk| {
        Ok(Some(Piece { size_bytes, offset_bytes, chunk: Payload::from(chunk), end: None }))
    };
    let (mut offset_bytes, mut chunk) = (size_bytes, Vec::new());
    let is_steady = if let Some(again) = &mut held.again {
        again.read(&mut *held.file, AGAIN_BYTES_MAX)?;
        if !again.is_over() {
            return piece(offset_bytes, chunk);
        }
        again.is_same(&held.reading)
            && has_only_grown(&held.first, &held.file.metadata()?)
            && is_still_named(&held.first, source.metadata(path)?.as_ref())
    } else {
        (offset_bytes, chunk) = held.reading.read(&mut *held.file, chunk_bytes_max)?;
        let after = held.file.metadata()?;
        // A file that has lost its name is not worth reading on.
        if !held.reading.is_over() && !after.1.unlinked {
            return piece(offset_bytes, chunk);
        }
        let is_all = held.reading.is_all();
        let held_still = is_all && after == held.first;
        let is_open_question = if held_still { held.is_fresh } else { is_all };
        if is_open_question && has_only_grown(&held.first, &after) {
            held.again = Some(Reading::new(size_bytes));
            return piece(offset_bytes, chunk);
        }
        held_still
    };
    let OpenFile { first, reading, .. } = *open.take().expect("opened above");
    let read_bytes = reading.offset_bytes;
    let parent = path.parent().unwrap_or_else(RelPath::root);
    let own_read_at = clock();
    let own = own_metadata(source, &parent)?;
    // The time is not later than the content: what is newer in it is found again.
    let metadata = Metadata { kind: Kind::File { size_bytes: read_bytes }, ..first.0 };
    let (stamp, digest) = (first.1, reading.digest());
    let end = FileEnd { metadata, stamp, is_steady, digest, own, own_read_at };
    let chunk = Payload::from(chunk);
    Ok(Some(Piece { size_bytes: read_bytes, offset_bytes, chunk, end: Some(end) }))
}

impl OpenFile {
    pub(super) fn new(mut file: Box<dyn SourceFile>) -> Result<Self, SourceError> {
        let mut first = file.metadata()?;
        if file.is_fresh(&first.1) {
            std::thread::sleep(FRESH_WAIT);
            first = file.metadata()?;
        }
        let is_fresh = file.is_fresh(&first.1);
        let reading = Reading::new(first.0.kind.size_bytes());
        Ok(Self { file, first, is_fresh, reading, again: None, grown_from: None, matcher: None })
    }

    /// Digest of what has been read.
    pub(super) fn digest(&self) -> Digest {
        self.reading.digest()
    }
}

/// Whether `file` still begins with `content`.
fn is_same(file: &mut dyn SourceFile, content: &[u8]) -> Result<bool, SourceError> {
    let mut again = Vec::with_capacity(content.len().min(COMPARED_BYTES_MAX));
    let mut offset_bytes = 0;
    for part in content.chunks(COMPARED_BYTES_MAX) {
        again.clear();
        file.append_to(&mut again, offset_bytes, part.len())?;
        if again != part {
            return Ok(false);
        }
        offset_bytes += part.len() as u64;
    }
    Ok(true)
}

/// Whether the file still has its name and is as long as it was, or longer.
pub(super) fn has_only_grown(before: &(Metadata, Stamp), after: &(Metadata, Stamp)) -> bool {
    before.1.object == after.1.object
        && !after.1.unlinked
        && after.0.kind.size_bytes() >= before.0.kind.size_bytes()
}

/// Whether what lies at the name of a file is still that: what was moved away first and written to then has content that
/// the name never had.
pub(super) fn is_still_named(
    before: &(Metadata, Stamp),
    found: Option<&(Metadata, Stamp)>,
) -> bool {
    found.is_some_and(|(_, stamp)| stamp.object == before.1.object)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::attributes::Attributes;
    use crate::model::timestamp::Timestamp;

    /// A file that is another one whenever it is read or looked at.
    #[derive(Clone)]
    struct Restless {
        version: Arc<AtomicU64>,
        content: fn(u64) -> Vec<u8>,
        /// Its stamp never moves, as if everything happened within one tick of the clock.
        is_coarse: bool,
        /// Its name goes once it has been opened.
        is_moved: bool,
    }

    impl Restless {
        fn new(content: fn(u64) -> Vec<u8>, is_coarse: bool) -> Self {
            Self { version: Arc::default(), content, is_coarse, is_moved: false }
        }

        fn next(&self) -> Vec<u8> {
            (self.content)(self.version.fetch_add(1, Ordering::Relaxed))
        }

        fn look(&self) -> (Metadata, Stamp) {
            let size_bytes = self.next().len() as u64;
            let seconds = i64::try_from(self.version.load(Ordering::Relaxed)).unwrap();
            let modified = Timestamp { seconds, nanoseconds: 0 };
            let changed = if self.is_coarse { Timestamp::default() } else { modified };
            let modified = changed;
            let kind = Kind::File { size_bytes };
            let attributes = Attributes::None;
            let (mode, uid, gid, names) = (0o644, 0, 0, 1);
            let metadata = Metadata { kind, modified, mode, uid, gid, attributes, names };
            (metadata, Stamp { object: 1, changed, unlinked: false })
        }

        /// What a look at it as a small file brings.
        fn read(&self) -> Option<Vec<u8>> {
            let limits = Limits::new(1 << 20, 1 << 20, true, Missing::IsTold);
            let mut payload = Vec::new();
            let name = Name::new(*b"f").unwrap();
            let seen = read_small(self, &name, self.look(), &limits, &mut payload).unwrap();
            matches!(seen, Seen::Item(State::File(_), _)).then_some(payload)
        }
    }

    impl SourceDirectory for Restless {
        fn metadata(&self, _: &Name) -> Result<Option<(Metadata, Stamp)>, SourceError> {
            Ok((!self.is_moved).then(|| self.look()))
        }

        fn open(&self, _: &Name) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
            Ok(Some(Box::new(self.clone())))
        }
    }

    impl SourceFile for Restless {
        fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError> {
            Ok(self.look())
        }

        fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
            let content = self.next();
            let rest = content.get(usize::try_from(offset_bytes).unwrap()..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn is_fresh(&self, _: &Stamp) -> bool {
            self.is_coarse
        }
    }

    #[test]
    fn a_file_that_only_grows_is_whole_as_far_as_it_had_got() {
        let growing = |version: u64| {
            (0..100 + version).map(|at: u64| at.to_le_bytes()[0]).collect::<Vec<u8>>()
        };

        let content = Restless::new(growing, false).read().expect("whole");

        assert!(content.len() >= 100 && content == growing(content.len() as u64 - 100));
    }

    #[test]
    fn a_file_that_changes_all_the_time_is_never_taken_for_whole() {
        let rewritten = |version: u64| version.to_le_bytes().repeat(10);

        assert_eq!(Restless::new(rewritten, false).read(), None);
        // Nor if its stamp says that it held still.
        assert_eq!(Restless::new(rewritten, true).read(), None);
    }

    #[test]
    fn a_file_that_held_still_is_whole_however_young_its_stamp() {
        let still = Restless::new(|_| b"still".to_vec(), true);

        assert_eq!(still.read().unwrap(), b"still");
    }

    #[test]
    fn what_may_have_been_written_after_a_file_lost_its_name_is_not_taken_for_its_content() {
        let still = Restless::new(|_| b"still".to_vec(), true);

        assert_eq!(Restless { is_moved: true, ..still }.read(), None);
    }
}
