//! What a source keeps from one run to the next: up to when each sink has everything.
//!
//! A file of lines, one a sink: seconds and nanoseconds since 1970, and the sink's name. It may lie in the tree of the
//! source, where writing it is a change that moves the horizon; so it is not written for every move.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use osync_core::model::sink_id::SinkId;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::monitor::{Event, Monitor};

/// Longer files are none of ours.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What comes sooner after it was written last waits for the next, or the end: longer than it takes until the change
/// that writing was has moved the horizon. Who is killed meanwhile has a few more files proven at the next start.
const WRITE_INTERVAL: Duration = Duration::from_secs(20);

/// Keeps what a source tells of its horizons and passes all other events on.
pub(crate) struct Horizons {
    /// `None`: there is no place for it.
    file: Option<PathBuf>,
    news: Mutex<News>,
    next: Arc<dyn Monitor>,
}

/// What has been told and not written.
#[derive(Default)]
struct News {
    by_sink: BTreeMap<SinkId, Timestamp>,
    /// When each was written last.
    written: BTreeMap<SinkId, Instant>,
    has_warned: bool,
}

impl Horizons {
    /// Those of the source at the canonical path `source`, in `directory` or where such things belong.
    pub(crate) fn of(directory: Option<&Path>, source: &Path, next: Arc<dyn Monitor>) -> Self {
        let name = blake3::hash(source.as_os_str().as_bytes()).to_hex();
        let file =
            place(directory).map(|directory| directory.join(format!("{}.horizons", &name[..16])));
        Self { file, news: Mutex::default(), next }
    }

    /// What earlier runs have told.
    pub(crate) fn known(&self) -> BTreeMap<SinkId, Timestamp> {
        self.file.as_deref().and_then(|file| read(file).ok()).unwrap_or_default()
    }

    fn keep(&self, sink: &SinkId, at: Timestamp) {
        // Whatever panicked left maps that hold what was told.
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.by_sink.insert(sink.clone(), at);
        let last = news.written.get(sink);
        if last.is_none_or(|last| last.elapsed() >= WRITE_INTERVAL) {
            self.write_news(&mut news);
        }
    }

    fn write_news(&self, news: &mut News) {
        let by_sink = std::mem::take(&mut news.by_sink);
        let Some(file) = self.file.as_ref().filter(|_| !by_sink.is_empty()) else { return };
        let now = Instant::now();
        news.written.extend(by_sink.keys().map(|sink| (sink.clone(), now)));
        let written = read(file).and_then(|mut all| {
            all.extend(by_sink);
            write(file, &all)
        });
        if let Err(error) = written
            && !std::mem::replace(&mut news.has_warned, true)
        {
            log::warn!(
                "{}: {error}: edits that put size and time back while no source runs will not be found (--state DIR)",
                file.display()
            );
        }
    }
}

impl Drop for Horizons {
    fn drop(&mut self) {
        let mut news = std::mem::take(self.news.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.write_news(&mut news);
    }
}

impl Monitor for Horizons {
    fn event(&self, event: &Event) {
        if let Event::Horizon { sink, at } = event {
            self.keep(sink, *at);
        } else {
            self.next.event(event);
        }
    }
}

/// The directory for it: `given`, or where such things belong.
pub(crate) fn place(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_path_buf).or_else(usual_directory)
}

/// As the file hierarchy standards of system services and of users' programs have it.
fn usual_directory() -> Option<PathBuf> {
    let path =
        |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = path("XDG_STATE_HOME").or_else(|| {
        if rustix::process::geteuid().is_root() {
            Some(PathBuf::from("/var/lib"))
        } else {
            path("HOME").map(|home| home.join(".local/state"))
        }
    });
    base.map(|base| base.join("osync"))
}

fn read(file: &Path) -> io::Result<BTreeMap<SinkId, Timestamp>> {
    let text = match file.metadata() {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Ok(BTreeMap::new()),
        Ok(_) => fs::read_to_string(file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    Ok(text.lines().filter_map(parsed).collect())
}

fn parsed(line: &str) -> Option<(SinkId, Timestamp)> {
    let mut words = line.splitn(3, ' ');
    let (seconds, nanoseconds) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((SinkId::new(words.next()?).ok()?, Timestamp { seconds, nanoseconds }))
}

/// Beside the older one, and then in its place. Nothing is synced: a power cut costs no more than the few edits that
/// only this would find.
fn write(file: &Path, all: &BTreeMap<SinkId, Timestamp>) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    // Another source of the same directory may do so in the same moment.
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let mut new = File::create(&beside)?;
    for (sink, at) in all {
        writeln!(new, "{} {} {sink}", at.seconds, at.nanoseconds)?;
    }
    fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_in_a_row_are_written_once_and_the_last_at_the_end() {
        let state = tempfile::tempdir().unwrap();
        let tree = Path::new("/some/tree");
        let sink = |name: &str| SinkId::new(name).unwrap();
        let at = |seconds| Timestamp { seconds, nanoseconds: 7 };
        let horizons = Horizons::of(Some(state.path()), tree, Arc::new(()));
        let tell = |name, seconds| {
            horizons.event(&Event::Horizon { sink: sink(name), at: at(seconds) });
            horizons.known()
        };

        assert_eq!(tell("a", 1), BTreeMap::from([(sink("a"), at(1))]));
        assert_eq!(tell("a", 6), BTreeMap::from([(sink("a"), at(1))]));
        assert_eq!(tell("b", 7), BTreeMap::from([(sink("a"), at(6)), (sink("b"), at(7))]));
        assert_eq!(tell("b", 12), BTreeMap::from([(sink("a"), at(6)), (sink("b"), at(7))]));

        drop(horizons);
        let known = Horizons::of(Some(state.path()), tree, Arc::new(())).known();
        assert_eq!(known, BTreeMap::from([(sink("a"), at(6)), (sink("b"), at(12))]));
    }
}
