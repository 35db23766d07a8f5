//! [`MemTree`] as a [`Sink`].

use std::io;
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use crate::model::attributes::Attributes;
use crate::model::durability::Durability;
use crate::model::fidelity::{Fidelity, Owner};
use crate::model::metadata::{Entry, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::{Basis, Sink, SinkError, StagedFile};
use crate::testing::mem_tree::MemTree;
use crate::testing::mem_tree::state::{Object, State};

/// Room for so much is made at once where a file is to be as long, in bytes.
const STAGED_BYTES_MIN: usize = 1 << 20;

impl Sink for MemTree {
    fn fidelity(&self) -> Fidelity {
        self.fidelity
    }

    fn metadata(&self, path: &RelPath) -> Result<Option<Metadata>, SinkError> {
        let state = self.reading("look at", path)?;
        Ok(state.at(path).map(Object::told))
    }

    fn list(
        &self,
        directory: &RelPath,
        after: Option<&Name>,
        until: Option<&Name>,
    ) -> Result<Option<Vec<Entry>>, SinkError> {
        let state = self.reading("list", directory)?;
        let Some(object) = state.at(directory).filter(|object| object.metadata.kind.is_directory())
        else {
            return Ok(None);
        };
        if after.zip(until).is_some_and(|(after, until)| after >= until) {
            return Ok(Some(Vec::new()));
        }
        let range = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            until.map_or(Bound::Unbounded, Bound::Included),
        );
        let entries = object.children.range::<Name, _>(range);
        let entries = entries.map(|(name, child)| Entry {
            name: name.clone(),
            metadata: state.objects[child].told(),
        });
        Ok(Some(entries.collect()))
    }

    fn write_file(
        &self,
        path: &RelPath,
        metadata: &Metadata,
        content: &[u8],
    ) -> Result<(), SinkError> {
        self.put("write", path, metadata, content.to_vec())
    }

    fn stage(&self, path: &RelPath, size_bytes: u64) -> Result<Box<dyn StagedFile>, SinkError> {
        drop(self.writing("stage", path)?);
        let room = usize::try_from(size_bytes).unwrap_or(usize::MAX).min(STAGED_BYTES_MIN);
        let content = Vec::with_capacity(room);
        Ok(Box::new(Staged { tree: self.clone(), path: path.clone(), content }))
    }

    fn basis(&self, path: &RelPath) -> Result<Option<Arc<dyn Basis>>, SinkError> {
        let state = self.reading("open", path)?;
        let Some(object) = state.at(path).filter(|object| !object.is_doubted) else {
            return Ok(None);
        };
        let (metadata, stamp) = (object.metadata.clone(), object.stamp);
        let content = state.content(path).cloned();
        Ok(content.map(|content| -> Arc<dyn Basis> {
            Arc::new(MemBasis { path: path.clone(), metadata, stamp, content })
        }))
    }

    fn extend(&self, path: &RelPath, basis: &dyn Basis) -> Result<Box<dyn StagedFile>, SinkError> {
        let state = self.writing("extend", path)?;
        if state.metadata(path) != Some(basis.metadata()?) {
            return Err(SinkError::Stale { path: path.clone() });
        }
        Ok(Box::new(Extended { tree: self.clone(), path: path.clone() }))
    }

    fn make_directory(&self, path: &RelPath) -> Result<bool, SinkError> {
        let mut state = self.writing("make", path)?;
        let there = state.metadata(path);
        if there.is_some_and(|(metadata, _)| metadata.kind.is_directory()) {
            return Ok(false);
        }
        let now = sink_time(&mut state);
        make_parents(&mut state, path, now)?;
        state.make_directories(path, now);
        Ok(true)
    }

    fn make_special(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        if !self.fidelity.nodes.allow(&metadata.kind) {
            return Err(SinkError::NoLeave { path: path.clone() });
        }
        self.put("make", path, metadata, Vec::new())
    }

    fn link(&self, path: &RelPath, to: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        let mut state = self.writing("link", path)?;
        refuse_root("link", path)?;
        let refused = || SinkError::Stale { path: path.clone() };
        let number = state.lookup(to).ok_or_else(refused)?;
        let there = state.objects[&number].metadata.clone();
        let is_it = state.lookup(path) == Some(number);
        let names = if is_it { there.names } else { there.names + 1 };
        if state.objects[&number].is_doubted {
            return Err(refused());
        }
        if there.kind.is_directory() || !there.has_content_of(metadata) || names > metadata.names {
            return Err(refused());
        }
        let now = sink_time(&mut state);
        if !is_it {
            make_parents(&mut state, path, now)?;
            // What lies at `to` may be below what is in the way.
            if to.is_within(path) {
                return Err(refused());
            }
            if state.remove(path, now) {
                state.sync_data(number);
            }
            state.attach(path, number, now);
        }
        state.change(path, now, |there| apply(self.fidelity, metadata, there));
        Ok(())
    }

    fn set_metadata(&self, path: &RelPath, metadata: &Metadata) -> Result<(), SinkError> {
        let mut state = self.writing("change", path)?;
        let there = state.metadata(path);
        if there.is_none_or(|(there, _)| there.kind != metadata.kind) {
            return Err(SinkError::Stale { path: path.clone() });
        }
        if let Some(number) = state.lookup(path) {
            state.sync_data(number);
        }
        let now = sink_time(&mut state);
        state.change(path, now, |there| apply(self.fidelity, metadata, there));
        Ok(())
    }

    fn remove(&self, path: &RelPath) -> Result<bool, SinkError> {
        let mut state = self.writing("remove", path)?;
        refuse_root("remove", path)?;
        let now = sink_time(&mut state);
        Ok(state.remove(path, now))
    }

    fn set_durability(&self, durability: Durability) {
        self.keep_durability(durability);
    }

    fn sync(&self, is_settled: bool) -> Result<bool, SinkError> {
        let synced = self.state().sync(is_settled);
        synced.map_err(|reason| error("sync", &RelPath::root(), io::Error::other(reason)))
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), SinkError> {
        drop(self.writing("rename", from)?);
        let mut state = self.writing("rename", to)?;
        let refused = |kind| error("rename", from, kind);
        refuse_root("rename", from)?;
        refuse_root("rename", to)?;
        let moved = state.metadata(from).ok_or_else(|| refused(io::ErrorKind::NotFound))?;
        if from == to || state.lookup(from) == state.lookup(to) {
            return Ok(());
        }
        if to.is_within(from) {
            return Err(refused(io::ErrorKind::InvalidInput));
        }
        let above = to.parent().and_then(|parent| state.metadata(&parent));
        if above.is_none_or(|(above, _)| !above.kind.is_directory()) {
            return Err(refused(io::ErrorKind::NotFound));
        }
        if let Some(there) = state.at(to) {
            if !there.children.is_empty() {
                return Err(refused(io::ErrorKind::DirectoryNotEmpty));
            }
            match (moved.0.kind.is_directory(), there.metadata.kind.is_directory()) {
                (true, false) => return Err(refused(io::ErrorKind::NotADirectory)),
                (false, true) => return Err(refused(io::ErrorKind::IsADirectory)),
                (true, true) | (false, false) => {}
            }
        }
        let now = sink_time(&mut state);
        let object = state.detach(from, now);
        if state.remove(to, now) {
            state.sync_data(object);
        }
        state.attach(to, object, now);
        Ok(())
    }
}

impl MemTree {
    fn reading(
        &self,
        verb: &'static str,
        path: &RelPath,
    ) -> Result<MutexGuard<'_, State>, SinkError> {
        let state = self.state();
        check_root(&state)?;
        if state.failing_reads.contains(path) {
            return Err(error(verb, path, io::ErrorKind::PermissionDenied));
        }
        Ok(state)
    }

    fn writing(
        &self,
        verb: &'static str,
        path: &RelPath,
    ) -> Result<MutexGuard<'_, State>, SinkError> {
        let mut state = self.state();
        check_root(&state)?;
        state.remember();
        if state.failing_writes.contains(path) {
            return Err(error(verb, path, io::ErrorKind::PermissionDenied));
        }
        Ok(state)
    }

    /// Puts a new object at `path`, in place of whatever lies there.
    fn put(
        &self,
        verb: &'static str,
        path: &RelPath,
        metadata: &Metadata,
        content: Vec<u8>,
    ) -> Result<(), SinkError> {
        let mut state = self.writing(verb, path)?;
        refuse_root(verb, path)?;
        if metadata.kind.is_directory() || metadata.kind.size_bytes() != content.len() as u64 {
            return Err(error(verb, path, io::ErrorKind::InvalidInput));
        }
        let now = sink_time(&mut state);
        make_parents(&mut state, path, now)?;
        let is_replacing = state.remove(path, now);
        let object = state.create(metadata.kind.clone(), metadata.mode, content, now);
        if is_replacing {
            state.sync_data(object);
        }
        state.attach(path, object, now);
        state.change(path, now, |there| apply(self.fidelity, metadata, there));
        Ok(())
    }
}

/// A version of a file that nobody sees yet.
#[derive(Debug)]
struct Staged {
    tree: MemTree,
    path: RelPath,
    content: Vec<u8>,
}

impl StagedFile for Staged {
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        drop(self.tree.writing("write", &self.path)?);
        self.content.extend_from_slice(chunk);
        Ok(())
    }

    fn commit(self: Box<Self>, metadata: &Metadata) -> Result<(), SinkError> {
        self.tree.put("write", &self.path, metadata, self.content)
    }
}

/// A file as it was when it was opened.
#[derive(Debug)]
struct MemBasis {
    path: RelPath,
    metadata: Metadata,
    stamp: Stamp,
    content: Arc<Vec<u8>>,
}

impl Basis for MemBasis {
    fn path(&self) -> &RelPath {
        &self.path
    }

    fn metadata(&self) -> Result<(Metadata, Stamp), SinkError> {
        Ok((self.metadata.clone(), self.stamp))
    }

    fn is_shared(&self) -> Result<bool, SinkError> {
        Ok(false)
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, SinkError> {
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(self.content.len());
        let rest = &self.content[start..];
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A file that everybody sees grow.
#[derive(Debug)]
struct Extended {
    tree: MemTree,
    path: RelPath,
}

impl StagedFile for Extended {
    fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        let mut state = self.tree.writing("write", &self.path)?;
        if state.content(&self.path).is_none() {
            return Err(SinkError::Stale { path: self.path.clone() });
        }
        let now = sink_time(&mut state);
        state.append(&self.path, chunk, now);
        Ok(())
    }

    fn commit(self: Box<Self>, _metadata: &Metadata) -> Result<(), SinkError> {
        Err(error("write", &self.path, io::ErrorKind::InvalidInput))
    }
}

/// Makes what is missing above `path`; never in place of something else, which nobody asked to remove.
fn make_parents(state: &mut State, path: &RelPath, now: Timestamp) -> Result<(), SinkError> {
    let mut above = path.parent();
    while let Some(parent) = above {
        match state.at(&parent) {
            Some(object) if object.metadata.kind.is_directory() => break,
            Some(_) => return Err(error("enter", path, io::ErrorKind::NotADirectory)),
            None => above = parent.parent(),
        }
    }
    state.make_parents(path, now);
    Ok(())
}

/// Gives `there` what this fidelity keeps of `metadata`.
fn apply(fidelity: Fidelity, metadata: &Metadata, there: &mut Metadata) {
    let special = if fidelity.set_id { 0o7777 } else { 0o1777 };
    there.mode = metadata.mode & special;
    there.modified = metadata.modified;
    if fidelity.owner != Owner::Dropped {
        (there.uid, there.gid) = (metadata.uid, metadata.gid);
    }
    // What is known by digests only cannot be set.
    if !matches!(metadata.attributes, Attributes::Digests(_)) {
        there.attributes = metadata.attributes.masked(fidelity.attributes);
    }
}

/// A time no change by a test has.
fn sink_time(state: &mut State) -> Timestamp {
    Timestamp { nanoseconds: 999_999_999, ..state.tick() }
}

fn check_root(state: &State) -> Result<(), SinkError> {
    if state.is_root_lost {
        return Err(SinkError::RootLost { reason: "a test took it away".to_owned() });
    }
    Ok(())
}

fn refuse_root(verb: &'static str, path: &RelPath) -> Result<(), SinkError> {
    if path.is_root() {
        return Err(error(verb, path, io::ErrorKind::InvalidInput));
    }
    Ok(())
}

fn error(verb: &'static str, path: &RelPath, source: impl Into<io::Error>) -> SinkError {
    SinkError::Io { verb, path: path.clone(), source: source.into() }
}
