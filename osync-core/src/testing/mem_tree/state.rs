//! The tree behind [`MemTree`]: objects by number, names inside directories, a counter for a clock.
//!
//! Invariant: a directory other than the root has one name, anything else as many as its metadata says, or it
//! is open and has none.
//!
//! [`MemTree`]: crate::testing::mem_tree::MemTree

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::attributes::Attributes;
use crate::model::metadata::{Kind, Metadata, Stamp};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::testing::mem_tree::power::Power;
use crate::testing::mem_tree::whole::Shown;

pub(super) const ROOT: u64 = 1;

/// One entry, whatever its kind.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    pub(super) stamp: Stamp,
    /// Shared by whatever shows the tree as it was at some moment.
    pub(super) content: Arc<Vec<u8>>,
    pub(super) children: BTreeMap<Name, u64>,
    /// How many names it has; its metadata says the same as long as there is one.
    names: u32,
    /// How many open files read it: it outlives its name as long as there are any.
    pub(super) handles: usize,
    /// It may lack content since a power cut.
    pub(super) is_doubted: bool,
}

impl Object {
    pub(super) fn names(&self) -> u32 {
        self.names
    }

    pub(super) fn is_root(&self) -> bool {
        self.stamp.object == ROOT
    }

    /// Its metadata as a sink tells it.
    pub(super) fn told(&self) -> Metadata {
        if self.is_doubted {
            let never = Timestamp { seconds: i64::MIN, nanoseconds: 0 };
            return Metadata { modified: never, ..digested(&self.metadata) };
        }
        digested(&self.metadata)
    }
}

/// `metadata` as listings tell it.
pub(super) fn digested(metadata: &Metadata) -> Metadata {
    Metadata { attributes: metadata.attributes.digested(), ..metadata.clone() }
}

#[derive(Debug)]
pub(super) struct State {
    /// Shared with whatever remembers the tree as it was.
    pub(super) objects: BTreeMap<u64, Arc<Object>>,
    objects_made: u64,
    clock_seconds: i64,
    pub(super) failing_reads: BTreeSet<RelPath>,
    pub(super) failing_writes: BTreeSet<RelPath>,
    pub(super) is_root_lost: bool,
    /// What the root holds while it is empty.
    hidden: BTreeMap<Name, u64>,
    pub(super) power: Power,
    /// What was shown of the whole, as long as nothing has changed since.
    pub(super) shown: Shown,
}

impl State {
    pub(super) fn new(clock_seconds: i64) -> Self {
        let mut state = Self {
            objects: BTreeMap::new(),
            objects_made: 0,
            clock_seconds,
            failing_reads: BTreeSet::new(),
            failing_writes: BTreeSet::new(),
            is_root_lost: false,
            hidden: BTreeMap::new(),
            power: Power::default(),
            shown: Shown::default(),
        };
        let now = state.tick();
        let root = state.create(Kind::Directory, 0o755, Vec::new(), now);
        debug_assert_eq!(root, ROOT, "the root is the first object");
        state
    }

    /// Puts aside what lies in the root, or brings it back.
    pub(super) fn hide(&mut self) {
        let now = self.tick();
        let mut hidden = std::mem::take(&mut self.hidden);
        let root = self.object_mut(ROOT);
        std::mem::swap(&mut root.children, &mut hidden);
        root.metadata.modified = now;
        root.stamp.changed = now;
        // What was made meanwhile stays.
        self.hidden = hidden;
    }

    /// The next point in time; each is used for one change only.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp { seconds: self.clock_seconds, nanoseconds: 0 }
    }

    pub(super) fn tick(&mut self) -> Timestamp {
        self.forget_shown();
        self.clock_seconds += 1;
        Timestamp { seconds: self.clock_seconds, nanoseconds: 0 }
    }

    /// Something is about to change.
    pub(super) fn forget_shown(&mut self) {
        self.shown = Shown::default();
    }

    pub(super) fn lookup(&self, path: &RelPath) -> Option<u64> {
        path.components()
            .try_fold(ROOT, |object, name| self.objects[&object].children.get(name).copied())
    }

    pub(super) fn at(&self, path: &RelPath) -> Option<&Object> {
        self.lookup(path).map(|object| &*self.objects[&object])
    }

    pub(super) fn metadata(&self, path: &RelPath) -> Option<(Metadata, Stamp)> {
        self.at(path).map(|object| (object.metadata.clone(), object.stamp))
    }

    pub(super) fn content(&self, path: &RelPath) -> Option<&Arc<Vec<u8>>> {
        self.at(path).filter(|object| object.metadata.kind.is_file()).map(|object| &object.content)
    }

    pub(super) fn object_mut(&mut self, object: u64) -> &mut Object {
        let object = self.objects.get_mut(&object);
        Arc::make_mut(object.expect("numbers come from names and open files, which keep theirs"))
    }

    /// Makes an object without a name.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        mode: u32,
        content: Vec<u8>,
        now: Timestamp,
    ) -> u64 {
        self.objects_made += 1;
        let number = self.objects_made;
        let object = Object {
            metadata: Metadata {
                kind,
                modified: now,
                mode,
                uid: 0,
                gid: 0,
                attributes: Attributes::None,
                names: 1,
            },
            stamp: Stamp { object: number, changed: now, unlinked: false },
            content: Arc::new(content),
            children: BTreeMap::new(),
            names: 0,
            handles: 0,
            is_doubted: false,
        };
        self.objects.insert(number, Arc::new(object));
        number
    }

    /// Changes the metadata of what lies at `path`; returns whether anything does.
    pub(super) fn change(
        &mut self,
        path: &RelPath,
        now: Timestamp,
        change: impl FnOnce(&mut Metadata),
    ) -> bool {
        let Some(number) = self.lookup(path) else { return false };
        let object = self.object_mut(number);
        change(&mut object.metadata);
        object.stamp.changed = now;
        true
    }

    /// Gives `object` the name `path`, which is free and whose directory exists.
    pub(super) fn attach(&mut self, path: &RelPath, object: u64, now: Timestamp) {
        self.count_name(object, 1, now);
        let (parent, name) = self.parent_of(path);
        let before = self.object_mut(parent).children.insert(name, object);
        debug_assert_eq!(before, None, "the name was free");
        self.touch(parent, now);
    }

    /// Takes the name `path` from the object that has it.
    pub(super) fn detach(&mut self, path: &RelPath, now: Timestamp) -> u64 {
        let (parent, name) = self.parent_of(path);
        let object = self.object_mut(parent).children.remove(&name);
        let object = object.expect("the caller found something at this path");
        self.touch(parent, now);
        self.count_name(object, -1, now);
        object
    }

    fn count_name(&mut self, object: u64, change: i32, now: Timestamp) {
        let object = self.object_mut(object);
        object.names = object.names.saturating_add_signed(change);
        object.metadata.names = object.names.max(1);
        object.stamp.changed = now;
    }

    /// Removes what lies at `path` with everything below it; returns whether anything did.
    pub(super) fn remove(&mut self, path: &RelPath, now: Timestamp) -> bool {
        if self.lookup(path).is_none() {
            return false;
        }
        let mut doomed = vec![self.detach(path, now)];
        while let Some(number) = doomed.pop() {
            // It has another name, or two of its names went with one directory.
            if self.objects.get(&number).is_none_or(|object| object.names > 0) {
                continue;
            }
            let object = self.object_mut(number);
            object.stamp.unlinked = true;
            let children: Vec<u64> = std::mem::take(&mut object.children).into_values().collect();
            for &child in &children {
                self.count_name(child, -1, now);
            }
            doomed.extend(children);
            let object = self.object_mut(number);
            if object.handles == 0 {
                self.objects.remove(&number);
            }
        }
        true
    }

    /// Makes `path` a directory, and every path above it, in place of anything else.
    pub(super) fn make_directories(&mut self, path: &RelPath, now: Timestamp) {
        match self.at(path) {
            Some(object) if object.metadata.kind.is_directory() => return,
            Some(_) => {
                self.remove(path, now);
            }
            None => {}
        }
        self.make_parents(path, now);
        let object = self.create(Kind::Directory, 0o755, Vec::new(), now);
        self.attach(path, object, now);
    }

    pub(super) fn make_parents(&mut self, path: &RelPath, now: Timestamp) {
        if let Some(parent) = path.parent() {
            self.make_directories(&parent, now);
        }
    }

    /// Appends to a file; returns whether there is one.
    pub(super) fn append(&mut self, path: &RelPath, content: &[u8], now: Timestamp) -> bool {
        let number = self.lookup(path);
        let Some(number) = number.filter(|number| self.objects[number].metadata.kind.is_file())
        else {
            return false;
        };
        let object = self.object_mut(number);
        let whole = Arc::make_mut(&mut object.content);
        whole.extend_from_slice(content);
        object.metadata.kind = Kind::File { size_bytes: whole.len() as u64 };
        self.touch(number, now);
        true
    }

    /// Writes a file in place, or makes it in place of anything else.
    pub(super) fn write(&mut self, path: &RelPath, content: Vec<u8>, now: Timestamp) {
        let kind = Kind::File { size_bytes: content.len() as u64 };
        match self.lookup(path) {
            Some(number) if self.objects[&number].metadata.kind.is_file() => {
                let object = self.object_mut(number);
                object.content = Arc::new(content);
                object.metadata.kind = kind;
                self.touch(number, now);
            }
            _ => {
                self.remove(path, now);
                self.make_parents(path, now);
                let object = self.create(kind, 0o644, content, now);
                self.attach(path, object, now);
            }
        }
    }

    fn touch(&mut self, object: u64, now: Timestamp) {
        let object = self.object_mut(object);
        object.metadata.modified = now;
        object.stamp.changed = now;
    }

    fn parent_of(&self, path: &RelPath) -> (u64, Name) {
        let (parent, name) = path.split().expect("the root has no other name");
        let parent = self.lookup(&parent).expect("the directory above exists");
        (parent, name)
    }
}
