//! Replicates what lives in a program's memory into a directory, one file per note.
//!
//! The program keeps a map of notes and changes it. It brings its own [`Source`], so that osync can
//! look at the map, and tells a [`ChannelFeed`] where to look: nothing is watched, nothing is listed to
//! find a change.
//!
//! `cargo run -p osync-core --example own_source -- DST`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use osync_core::Mirror;
use osync_core::adapters::feed::channel::{ChannelFeed, ChannelFeedHandle};
use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::attributes::{Attributes, Classes};
use osync_core::model::change::{Change, Touch};
use osync_core::model::fidelity::{Fidelity, Owner};
use osync_core::model::metadata::{Entry, Kind, Metadata, Stamp};
use osync_core::model::name::Name;
use osync_core::model::nodes::Nodes;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::options::{SinkOptions, SourceOptions};
use osync_core::ports::source::{Page, Source, SourceError, SourceFile};

/// The program's own data: notes by name, and who is told of changes.
struct Notebook {
    notes: Mutex<Notes>,
    feed: ChannelFeedHandle,
}

#[derive(Default)]
struct Notes {
    by_name: BTreeMap<Name, Note>,
    /// When a note was added or removed last: the time of the directory that osync sees.
    modified: Timestamp,
    /// Counts changes, so that no two versions have one stamp.
    changes: u64,
}

/// One version of a note. It never changes, so whoever reads it reads it whole.
#[derive(Clone)]
struct Note {
    text: Arc<str>,
    modified: Timestamp,
    version: u64,
}

impl Notebook {
    /// Changes the map, then tells the feed. In this order: whoever looks on receipt sees the change.
    fn set(&self, name: &str, text: Option<&str>) -> Result<(), Box<dyn Error>> {
        let key = Name::new(name.as_bytes())?;
        let mut notes = self.notes();
        notes.changes += 1;
        let (modified, version) = (now(), notes.changes);
        let before = match text {
            Some(text) => notes.by_name.insert(key, Note { text: text.into(), modified, version }),
            None => notes.by_name.remove(&key),
        };
        if before.is_some() != text.is_some() {
            notes.modified = modified;
        }
        drop(notes);
        let path = RelPath::new(name.as_bytes())?;
        Ok(self.feed.report(Change::Entry { path, touch: Touch::Settled })?)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The note at `path`; there are no directories but the root.
    fn find(&self, path: &RelPath) -> Option<Note> {
        let (_, name) = path.split().filter(|(parent, _)| parent.is_root())?;
        self.notes().by_name.get(&name).cloned()
    }
}

impl Source for Notebook {
    /// Notes have neither owners nor attributes.
    fn fidelity(&self) -> Fidelity {
        let (attributes, nodes) = (Classes::NONE, Nodes::NONE);
        Fidelity { owner: Owner::Dropped, set_id: false, attributes, links: false, nodes }
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<(Metadata, Stamp)>, SourceError> {
        if path.is_root() {
            let modified = self.notes().modified;
            return Ok(Some((metadata(Kind::Directory, modified, 0o755), Stamp::default())));
        }
        Ok(self.find(path).map(|note| note.metadata()))
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Option<Page>, SourceError> {
        if !directory.is_root() {
            return Ok(None);
        }
        let notes = self.notes();
        let mut rest =
            notes.by_name.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        let entry = |(name, note): (&Name, &Note)| Entry {
            name: name.clone(),
            metadata: note.metadata().0,
        };
        let entries = rest.by_ref().take(limit).map(entry).collect();
        Ok(Some(Page { entries, has_more: rest.next().is_some() }))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Box<dyn SourceFile>>, SourceError> {
        Ok(self.find(path).map(|note| -> Box<dyn SourceFile> { Box::new(note) }))
    }
}

impl Note {
    fn metadata(&self) -> (Metadata, Stamp) {
        let kind = Kind::File { size_bytes: self.text.len() as u64 };
        let stamp = Stamp { object: self.version, changed: self.modified, unlinked: false };
        (metadata(kind, self.modified, 0o644), stamp)
    }
}

impl SourceFile for Note {
    fn metadata(&mut self) -> Result<(Metadata, Stamp), SourceError> {
        Ok(Self::metadata(self))
    }

    fn read_at(&mut self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let from = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(self.text.len());
        let rest = &self.text.as_bytes()[from..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn metadata(kind: Kind, modified: Timestamp, mode: u32) -> Metadata {
    let attributes = Attributes::None;
    Metadata { kind, modified, mode, uid: 0, gid: 0, attributes, names: 1 }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}

/// Keeps `to` equal to a notebook while that changes.
pub(crate) fn replicate_notes(to: &Path) -> Result<(), Box<dyn Error>> {
    let (feed, handle) = ChannelFeed::new();
    let notes = Mutex::new(Notes { modified: now(), ..Notes::default() });
    let notebook = Arc::new(Notebook { notes, feed: handle });
    notebook.set("monday", Some("buy paper"))?;
    notebook.set("tuesday", Some("write"))?;

    let mirror = Mirror::start(
        notebook.clone(),
        Box::new(feed),
        Arc::new(DirectorySink::open(to)?),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(()),
    )?;
    mirror.wait_in_sync(None)?;

    // The program goes on changing its data; the directory follows.
    notebook.set("tuesday", Some("write, and read what was written"))?;
    notebook.set("monday", None)?;
    notebook.set("wednesday", Some("rest"))?;
    mirror.wait_in_sync(None)?;

    mirror.stop();
    Ok(mirror.join()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args_os().nth(1).ok_or("give the directory to write to: DST")?;
    replicate_notes(Path::new(&to))?;
    for entry in std::fs::read_dir(&to)? {
        let path = entry?.path();
        println!("{}: {}", path.display(), std::fs::read_to_string(&path)?);
    }
    Ok(())
}
