//! `Filter`: which paths are left out, by fixed rules and by ignore files in the tree.
//!
//! From the root downwards each directory above a path must be kept, then the path itself; so nothing below
//! a directory that is left out can be kept. Of the rules that match, fixed ones weigh more than those of an
//! ignore file, and a file weighs more than one further up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::adapters::filters::rules::{Rules, Verdict};
use crate::model::change::{Change, Touch};
use crate::model::name::Name;
use crate::model::rel_path::RelPath;
use crate::ports::source::{LeftOut, Source, SourceError};

/// The longest ignore file, in bytes; a longer one is an error of everything in its directory.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Directories whose ignore file, or that there is none, is remembered.
const DIRECTORIES_MAX: usize = 65_536;

/// Which paths are left out of replication. Shared by the source and the feed that it is for.
pub struct Filter {
    rules: Rules,
    files: Option<IgnoreFiles>,
    deletes: bool,
}

struct IgnoreFiles {
    name: Name,
    source: Arc<dyn Source>,
    known: Mutex<Known>,
}

/// What is remembered of ignore files, until a change is reported.
#[derive(Default)]
struct Known {
    rules: HashMap<RelPath, Option<Arc<Rules>>>,
    /// Moves with every change, so that what was read before it is not remembered after it.
    changes: u64,
}

/// The rules that hold in one directory.
pub(super) struct Chain<'a> {
    fixed: &'a Rules,
    /// Those of ignore files, from the root down, with how many bytes of a path lie above each.
    nested: Vec<(usize, Arc<Rules>)>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Filter {
    /// Leaves out what `rules` say, which are relative to the root.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, files: None, deletes: false }
    }

    /// Honours rules in files called `name` too, each for its directory and below, read from `source`: the
    /// whole tree, not a filtered one.
    #[must_use]
    pub fn with_ignore_files(mut self, name: Name, source: Arc<dyn Source>) -> Self {
        self.files = Some(IgnoreFiles { name, source, known: Mutex::default() });
        self
    }

    /// Has a sink remove what is left out, instead of leaving it alone.
    #[must_use]
    pub fn with_delete_excluded(mut self) -> Self {
        self.deletes = true;
        self
    }

    /// Whether `path` is left out, if a directory lies there or, if not `is_directory`, anything else.
    ///
    /// # Errors
    /// [`SourceError`] if an ignore file that has a say cannot be read.
    pub fn leaves_out(&self, path: &RelPath, is_directory: bool) -> Result<bool, SourceError> {
        let Some(parent) = path.parent() else { return Ok(false) };
        let chain = self.chain(&parent)?;
        Ok(chain.is_none_or(|chain| chain.leaves_out(path.as_bytes(), is_directory)))
    }

    /// Which sorts of entry are left out at `path`, and not to be removed at a sink.
    pub(super) fn left_out(&self, path: &RelPath) -> Result<LeftOut, SourceError> {
        if self.deletes {
            return Ok(LeftOut::default());
        }
        Ok(LeftOut {
            directory: self.leaves_out(path, true)?,
            other: self.leaves_out(path, false)?,
        })
    }

    /// Drops of `directory`'s entries those that are left out; all of them, if it is itself.
    pub(super) fn retain<T>(
        &self,
        directory: &RelPath,
        entries: &mut Vec<T>,
        look: impl Fn(&T) -> (&Name, bool),
    ) -> Result<(), SourceError> {
        let Some(chain) = self.chain(directory)? else {
            entries.clear();
            return Ok(());
        };
        let mut path = directory.as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let above_bytes = path.len();
        entries.retain(|entry| {
            let (name, is_directory) = look(entry);
            path.truncate(above_bytes);
            path.extend_from_slice(name.as_bytes());
            !chain.leaves_out(&path, is_directory)
        });
        Ok(())
    }

    /// Whether a directory at `path` is certainly of no interest.
    pub(in crate::adapters) fn skips_directory(&self, path: &RelPath) -> bool {
        self.leaves_out(path, true).unwrap_or(false)
    }

    /// The directory whose rules change with `path`, if that is an ignore file.
    pub(in crate::adapters) fn ruled_by(&self, path: &RelPath) -> Option<RelPath> {
        let files = self.files.as_ref()?;
        let (directory, name) = path.split()?;
        (name == files.name).then_some(directory)
    }

    /// Forgets the rules of ignore files in and below `directory`: something changed there.
    pub(in crate::adapters) fn forget(&self, directory: &RelPath) {
        let Some(files) = &self.files else { return };
        let mut known = files.known();
        known.changes += 1;
        known.rules.retain(|path, _| !path.is_within(directory));
    }

    /// What the engine has to hear of `change`.
    pub(super) fn translate(&self, change: Change) -> Vec<Change> {
        match change {
            Change::Entry { path, touch } => self.translate_entry(path, touch),
            Change::Subtree { path } => {
                self.forget(&path);
                self.unless_left_out(Change::Subtree { path: path.clone() }, path)
            }
            Change::MovedIn { path } => {
                self.forget(&path);
                self.unless_left_out(Change::MovedIn { path: path.clone() }, path)
            }
            Change::Renamed { from, to, is_directory } => {
                self.translate_rename(from, to, is_directory)
            }
            Change::Lost { ref scope, .. } | Change::Unwatched { ref scope, .. } => {
                self.forget(scope);
                vec![change]
            }
            Change::Ready | Change::Fence { .. } | Change::Failed { .. } => vec![change],
        }
    }

    fn translate_entry(&self, path: RelPath, touch: Touch) -> Vec<Change> {
        if touch != Touch::Metadata
            && let Some(directory) = self.ruled_by(&path)
        {
            self.forget(&directory);
            // Everything that the rules concern, the file among it.
            return vec![Change::Entry { path, touch }, Change::Subtree { path: directory }];
        }
        if !self.is_nothing_kept(&path) {
            return vec![Change::Entry { path, touch }];
        }
        // Its directory may have a new time because a name came or went.
        let parent = path.parent().filter(|_| touch == Touch::Settled);
        let parent = parent.filter(|parent| !self.skips_directory(parent));
        parent.map(|path| Change::Entry { path, touch: Touch::Metadata }).into_iter().collect()
    }

    /// A rename of which one side is left out is no rename for the sink.
    fn translate_rename(&self, from: RelPath, to: RelPath, is_directory: bool) -> Vec<Change> {
        if is_directory {
            self.forget(&from);
            self.forget(&to);
        }
        let is_plain = |path| matches!(self.leaves_out(path, is_directory), Ok(false));
        let is_rule = [&from, &to].into_iter().any(|path| self.ruled_by(path).is_some());
        if is_plain(&from) && is_plain(&to) && !is_rule {
            return vec![Change::Renamed { from, to, is_directory }];
        }
        let mut changes = self.translate_entry(from, Touch::Settled);
        if is_directory {
            changes.extend(self.unless_left_out(Change::MovedIn { path: to.clone() }, to));
        } else {
            changes.extend(self.translate_entry(to, Touch::Settled));
        }
        changes
    }

    fn unless_left_out(&self, change: Change, path: RelPath) -> Vec<Change> {
        if self.is_nothing_kept(&path) {
            return self.translate_entry(path, Touch::Settled);
        }
        vec![change]
    }

    /// Whether `path` is left out whatever lies there.
    fn is_nothing_kept(&self, path: &RelPath) -> bool {
        [true, false].iter().all(|is_directory| {
            // An ignore file that cannot be read is a problem, which the engine meets when it looks.
            matches!(self.leaves_out(path, *is_directory), Ok(true))
        })
    }

    /// The rules that hold in `directory`; `None` if it is left out.
    pub(super) fn chain(&self, directory: &RelPath) -> Result<Option<Chain<'_>>, SourceError> {
        let mut chain = Chain { fixed: &self.rules, nested: Vec::new() };
        self.enter(b"", &mut chain)?;
        let path = directory.as_bytes();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(index, _)| index).chain((!path.is_empty()).then_some(path.len()));
        for end in ends {
            if chain.leaves_out(&path[..end], true) {
                return Ok(None);
            }
            self.enter(&path[..end], &mut chain)?;
        }
        Ok(Some(chain))
    }

    /// Adds the rules of the ignore file in `directory`, if it has one.
    fn enter(&self, directory: &[u8], chain: &mut Chain<'_>) -> Result<(), SourceError> {
        let Some(files) = &self.files else { return Ok(()) };
        let path = RelPath::new(directory).expect("the beginning of a path, up to a slash");
        if let Some(rules) = files.rules(&path)? {
            let above_bytes = if directory.is_empty() { 0 } else { directory.len() + 1 };
            chain.nested.push((above_bytes, rules));
        }
        Ok(())
    }
}

impl Chain<'_> {
    /// Whether the entry at `path`, below the chain's directory, is left out by its own name.
    pub(super) fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        let nested = || {
            self.nested.iter().rev().find_map(|(above_bytes, rules)| {
                rules.decide(path.get(*above_bytes..)?, is_directory)
            })
        };
        let verdict = self.fixed.decide(path, is_directory).or_else(nested);
        verdict == Some(Verdict::LeaveOut)
    }
}

impl IgnoreFiles {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each use is a few calls that cannot fail in between.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules of the ignore file in `directory`.
    fn rules(&self, directory: &RelPath) -> Result<Option<Arc<Rules>>, SourceError> {
        let changes = {
            let known = self.known();
            if let Some(rules) = known.rules.get(directory) {
                return Ok(rules.clone());
            }
            known.changes
        };
        let rules = self.read(directory)?.map(Arc::new);
        let mut known = self.known();
        if known.changes == changes {
            if known.rules.len() >= DIRECTORIES_MAX {
                known.rules.clear();
            }
            known.rules.insert(directory.clone(), rules.clone());
        }
        Ok(rules)
    }

    fn read(&self, directory: &RelPath) -> Result<Option<Rules>, SourceError> {
        // Where no file can be named, there is none.
        let Ok(path) = directory.join(&self.name) else { return Ok(None) };
        let Some(mut file) = self.source.open(&path)? else { return Ok(None) };
        let useless = |text: String| SourceError::Io {
            verb: "use",
            path: path.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, text),
        };
        let size_bytes = file.metadata()?.0.kind.size_bytes();
        if size_bytes > FILE_BYTES_MAX {
            return Err(useless(format!("an ignore file has {FILE_BYTES_MAX} bytes at most")));
        }
        let mut content = vec![0; usize::try_from(size_bytes).expect("checked above")];
        let mut filled = 0;
        while filled < content.len() {
            match file.read_at(filled as u64, &mut content[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        let rules = Rules::of_file(&content[..filled]);
        rules.map(Some).map_err(|error| useless(error.to_string()))
    }
}
