//! What the sink has said to be durable: judged after every power cut.
//!
//! A file that was said to be durable is there after it, with that content or with what was put there later. Only
//! what took the place of nothing, because the file had been removed, may lack content.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use osync_core::model::rel_path::RelPath;
use osync_core::model::work_id::WorkId;
use osync_core::testing::mem_tree::MemTree;

use crate::oracle::fingerprint;

/// What lay at a path after a task, by the number of the task.
#[derive(Debug, Clone)]
struct Done {
    number: u64,
    path: RelPath,
    content: Option<Arc<Vec<u8>>>,
}

/// A path that a task has touched.
#[derive(Debug)]
struct Touch {
    number: u64,
    path: RelPath,
    left: Left,
}

/// What a task has left at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Of this content, and so many bytes.
    File(u64, usize),
    Directory,
    /// Nothing, or something else.
    Other,
    /// A file that was appended to.
    Extended,
    /// Something was moved from or to there.
    Moved,
}

#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// The power may be cut; otherwise nobody asks what lay where.
    pub(crate) is_judged: bool,
    tasks: u64,
    done: HashMap<WorkId, Vec<Done>>,
    /// What was confirmed in this session, in order.
    confirmed: Vec<Vec<Done>>,
    /// How much of it is durable.
    durable: usize,
    kept: BTreeMap<RelPath, (u64, Arc<Vec<u8>>)>,
    touched: Vec<Touch>,
}

impl Promises {
    pub(crate) fn begin_session(&mut self) {
        self.done.clear();
        self.confirmed.clear();
        self.durable = 0;
    }

    /// A task has put something at `paths` on behalf of `work`.
    pub(crate) fn did(&mut self, work: WorkId, paths: &[RelPath], tree: &MemTree) {
        if !self.is_judged {
            return;
        }
        self.tasks += 1;
        let number = self.tasks;
        for path in paths {
            let content = tree.held_content(path.as_bytes());
            let found = tree.look(path.as_bytes());
            let is_directory = found.is_some_and(|found| found.kind.is_directory());
            let left = match &content {
                Some(content) => Left::File(fingerprint(content), content.len()),
                None if is_directory => Left::Directory,
                None => Left::Other,
            };
            self.touch(path, left);
            let done = Done { number, path: path.clone(), content };
            self.done.entry(work).or_default().push(done);
        }
    }

    /// A task has moved something from or to `path`, or appended to it.
    pub(crate) fn disturbed(&mut self, path: &RelPath, left: Left) {
        if self.is_judged {
            self.tasks += 1;
            self.touch(path, left);
        }
    }

    fn touch(&mut self, path: &RelPath, left: Left) {
        self.touched.push(Touch { number: self.tasks, path: path.clone(), left });
    }

    /// The sink confirms `work`.
    pub(crate) fn confirmed(&mut self, work: WorkId) {
        self.confirmed.push(self.done.remove(&work).unwrap_or_default());
    }

    /// The sink says that the first so many confirmations are durable.
    pub(crate) fn durable(&mut self, applied: u64) -> Result<(), String> {
        let applied = usize::try_from(applied).expect("few");
        if applied > self.confirmed.len() || applied < self.durable {
            return Err(format!("{applied} durable of {} confirmations", self.confirmed.len()));
        }
        for Done { number, path, content } in self.confirmed[self.durable..applied].iter().flatten()
        {
            match content {
                Some(content) => self.kept.insert(path.clone(), (*number, content.clone())),
                None => self.kept.remove(path),
            };
        }
        self.durable = applied;
        Ok(())
    }

    /// Judges what a power cut has left.
    pub(crate) fn judge(&mut self, tree: &MemTree) -> Result<(), String> {
        self.begin_session();
        let touched = std::mem::take(&mut self.touched);
        let mut broken = None;
        self.kept.retain(|path, (number, promised)| {
            let found = tree.held_content(path.as_bytes());
            if found.as_ref() == Some(promised) {
                return true;
            }
            let found_fingerprint = found.as_deref().map(|found| fingerprint(found));
            let later = || touched.iter().filter(|touch| touch.number > *number);
            let is_made_anew = |after: u64| {
                let mut made = later().filter(|touch| touch.number > after && touch.path == *path);
                made.any(|touch| matches!(touch.left, Left::File(..)))
            };
            let is_excused = later().any(|touch| {
                if touch.path != *path {
                    // It was in a directory that was moved, removed or replaced.
                    return path.is_within(&touch.path)
                        && !matches!(touch.left, Left::Directory | Left::Extended);
                }
                match touch.left {
                    Left::File(fingerprint, _) => found_fingerprint == Some(fingerprint),
                    // Of that version or of a later one; what came to its end may be lost.
                    Left::Extended => found.as_ref().is_some_and(|found| {
                        let is_of = |touch: &Touch| {
                            let Left::File(fingerprint_then, bytes) = touch.left else {
                                return false;
                            };
                            let beginning = found.get(..bytes).map(fingerprint);
                            touch.path == *path && beginning == Some(fingerprint_then)
                        };
                        found.starts_with(promised.as_slice()) || later().any(is_of)
                    }),
                    Left::Directory | Left::Other => found.is_none() || is_made_anew(touch.number),
                    Left::Moved => true,
                }
            });
            if !is_excused {
                let bytes = found.map(|found| found.len());
                broken =
                    Some(format!("{path} was durable, {} bytes, and is {bytes:?}", promised.len()));
            }
            false
        });
        broken.map_or(Ok(()), Err)
    }
}
