//! `AllowList`: the public keys of the sinks that a source lets in, as its file says now.
//!
//! A file holds one key a line, 64 hexadecimal digits and then whatever helps to know it again; lines
//! that begin with `#` are comments. A directory holds such files, by names that end in `.pub`.
//!
//! Invariant: whatever cannot be read or understood lets nobody in, and is said.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::adapters::transport::zmq::keys::KeyError;
use crate::adapters::transport::zmq::keys::files::{
    check_directory, malformed, read_list, refused,
};
use crate::model::key::{KeyTextError, PublicKey};

/// Keys in a list, and files in a directory of them.
const KEYS_MAX: usize = 4_096;
/// Faults of a list that are said one by one.
const FAULTS_SAID_MAX: usize = 8;

/// The keys that are let in.
pub struct AllowList {
    path: PathBuf,
    /// `None` until it was read for the first time.
    state: Mutex<Option<State>>,
}

#[derive(Default, PartialEq, Eq)]
struct State {
    keys: BTreeSet<PublicKey>,
    /// What is wrong with the list, so that it is said once.
    faults: Vec<String>,
}

impl AllowList {
    /// The list in the file or directory `path`, read for the first time. If that cannot be read nobody is
    /// let in until it can: the log says so.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let list = Self { path: path.to_owned(), state: Mutex::default() };
        list.reread();
        list
    }

    /// Reads the list again; says in the log what is new in it. A transport does so once a second.
    pub fn reread(&self) {
        let new = read(&self.path);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.as_ref() == Some(&new) {
            return;
        }
        let old = state.take().unwrap_or_default();
        if new.faults != old.faults {
            for fault in new.faults.iter().take(FAULTS_SAID_MAX) {
                log::error!("allow-list: {fault}");
            }
        }
        let removed = old.keys.difference(&new.keys).count();
        let (keys, path) = (new.keys.len(), self.path.display());
        if keys > 0 {
            log::info!("allow-list {path}: {keys} keys may connect, {removed} no longer");
        } else {
            log::error!("allow-list {path}: no sink may connect, {removed} no longer");
        }
        *state = Some(new);
    }

    /// Whether `key` is let in.
    #[must_use]
    pub fn allows(&self, key: &PublicKey) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().is_some_and(|state| state.keys.contains(key))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllowList").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Each line that is not empty or a comment, by its number from 1, as a key.
pub(super) fn keys_of(
    text: &str,
) -> impl Iterator<Item = (usize, Result<PublicKey, KeyTextError>)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let word = line.split_whitespace().next()?;
        (!word.starts_with('#')).then(|| (index + 1, word.parse()))
    })
}

fn read(path: &Path) -> State {
    let mut state = State::default();
    let files = if path.is_dir() { files_in(path) } else { Ok(vec![path.to_owned()]) };
    let files = files.unwrap_or_else(|error| {
        state.faults.push(format!("nobody is let in: {}", chain(&error)));
        Vec::new()
    });
    for file in files {
        match read_list(&file) {
            Ok(text) => state.add(&file, &text),
            Err(error) => {
                state.faults.push(format!("nobody in it is let in: {}", chain(&error)));
            }
        }
    }
    if state.keys.len() > KEYS_MAX {
        let (count, path) = (state.keys.len(), path.display());
        let fault = format!("nobody is let in: {path} has {count} keys, {KEYS_MAX} at most");
        state = State { keys: BTreeSet::new(), faults: vec![fault] };
    }
    state
}

impl State {
    fn add(&mut self, file: &Path, text: &str) {
        for (line, key) in keys_of(text) {
            match key {
                Ok(key) => drop(self.keys.insert(key)),
                Err(error) => {
                    self.faults.push(format!("{}, line {line}: {error}", file.display()));
                }
            }
        }
    }
}

/// The lists in a directory, in the order of their names.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, KeyError> {
    check_directory(directory)?;
    let failed = |source| refused("read", directory, source);
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            files.push(path);
        }
        if files.len() > KEYS_MAX {
            return Err(malformed(directory, "holds more than 4096 files with keys"));
        }
    }
    files.sort();
    Ok(files)
}

/// An error and its cause on one line.
fn chain(error: &KeyError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn allowed(list: &AllowList) -> Vec<u8> {
        (0..=9).filter(|byte| list.allows(&key(*byte))).collect()
    }

    #[test]
    fn a_file_admits_what_it_lists_now() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        fs::write(&file, format!("# sinks\n\n{} first copy\n  {}\n", key(1), key(2))).unwrap();
        let list = AllowList::open(&file);
        assert_eq!(allowed(&list), [1, 2]);

        fs::write(&file, format!("{}\nnonsense\n#{}\n", key(3), key(4))).unwrap();
        list.reread();
        assert_eq!(allowed(&list), [3]);

        fs::remove_file(&file).unwrap();
        list.reread();
        assert_eq!(allowed(&list), []);
    }

    #[test]
    fn a_directory_admits_what_its_pub_files_list() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.pub"), key(1).to_string()).unwrap();
        fs::write(directory.path().join("b.pub"), format!("{}\n{}", key(2), key(3))).unwrap();
        fs::write(directory.path().join("c.key"), key(4).to_string()).unwrap();
        let list = AllowList::open(directory.path());

        assert_eq!(allowed(&list), [1, 2, 3]);
    }

    #[test]
    fn what_others_can_write_or_nobody_can_read_admits_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list.pub");
        fs::write(&file, key(1).to_string()).unwrap();
        let list = AllowList::open(&file);
        assert_eq!(allowed(&list), [1]);

        for mode in [0o664, 0o646] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            list.reread();
            assert_eq!(allowed(&list), [], "{mode:o}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        list.reread();
        assert_eq!(allowed(&list), [1]);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(allowed(&AllowList::open(directory.path())), []);
        assert_eq!(allowed(&AllowList::open(Path::new("/dev/null"))), []);
    }

    #[test]
    fn a_list_beyond_the_limit_admits_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        let numbered = |number: usize| {
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PublicKey::from_bytes(bytes)
        };
        let text: Vec<_> = (0..=KEYS_MAX).map(|number| numbered(number).to_string()).collect();

        fs::write(&file, text[1..].join("\n")).unwrap();
        assert!(AllowList::open(&file).allows(&numbered(1)));
        fs::write(&file, text.join("\n")).unwrap();
        assert!(!AllowList::open(&file).allows(&numbered(1)));
    }
}
