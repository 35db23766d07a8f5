//! Files that say of themselves whether they are whole, written all the time at one place and read all the
//! time at another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::spawn;

/// Where they lie.
const DIRECTORY: &str = "witness";
const FILES: usize = 6;
/// In numbers of eight bytes: some in one message, some in many chunks, some with deltas.
const SIZES: [usize; 5] = [4, 500, 9_000, 70_000, 200_000];
/// A larger file is not written in one moment, so that its source is torn for a while, too.
const IN_PLACE_BYTES_MAX: usize = 4_096;
/// Pause between two versions.
const PAUSE: Duration = Duration::from_millis(5);

/// A thread that writes such files and one that reads the copies, until told to stop.
#[derive(Debug)]
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<()>,
    reader: JoinHandle<u64>,
}

impl Witness {
    pub(crate) fn start(source: &Path, target: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (is_writing, is_reading) = (Arc::clone(&stop), Arc::clone(&stop));
        let [source, target] = [source, target].map(|root| root.join(DIRECTORY));
        let writer = spawn(move || {
            fs::create_dir_all(&source).unwrap();
            let mut version = 0;
            while !is_writing.load(Ordering::Relaxed) {
                version += 1;
                write(&source, version);
                thread::sleep(PAUSE);
            }
        });
        let reader = spawn(move || {
            let mut seen = 0;
            while !is_reading.load(Ordering::Relaxed) {
                seen += names(&target)
                    .into_iter()
                    .map(|path| u64::from(is_seen_whole(&path)))
                    .sum::<u64>();
                thread::sleep(PAUSE);
            }
            seen
        });
        Self { stop, writer, reader }
    }

    /// Ends both; returns how many versions were seen. Panics if one of them was torn.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap();
        self.reader.join().unwrap()
    }
}

fn names(directory: &Path) -> Vec<PathBuf> {
    (0..FILES).map(|file| directory.join(format!("w{file}"))).collect()
}

/// A version is its number, again and again, and its length at the end.
fn write(directory: &Path, version: u64) {
    let index = usize::try_from(version).unwrap();
    let path = directory.join(format!("w{}", index % FILES));
    let numbers = SIZES[index / FILES % SIZES.len()];
    let mut content = version.to_le_bytes().repeat(numbers);
    content.extend(u64::try_from(numbers).unwrap().to_le_bytes());
    if index % FILES < FILES / 2 && content.len() <= IN_PLACE_BYTES_MAX {
        // In place: empty for a moment, which is a version too.
        fs::write(path, content).unwrap();
    } else {
        let beside = path.with_extension("new");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, path).unwrap();
    }
}

/// Whether there is a version with something in it; it has to be whole.
fn is_seen_whole(path: &Path) -> bool {
    let content = match fs::read(path) {
        Ok(content) => content,
        // Not there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let (numbers, rest) = content.as_chunks();
    let numbers: Vec<_> = numbers.iter().copied().map(u64::from_le_bytes).collect();
    let Some((length, versions)) = numbers.split_last() else {
        assert!(rest.is_empty(), "{} is torn: {rest:?}", path.display());
        return false;
    };
    assert!(
        rest.is_empty()
            && usize::try_from(*length) == Ok(versions.len())
            && versions.iter().all(|version| *version == versions[0]),
        "{} is torn: {} numbers from {} to {length}",
        path.display(),
        numbers.len(),
        numbers[0]
    );
    true
}
