//! What a source keeps from one run to the next: up to when each sink has everything.
//!
//! A file of lines, one a sink: seconds and nanoseconds since 1970, and the sink's name.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osync_core::model::sink_id::SinkId;
use osync_core::model::timestamp::Timestamp;
use osync_core::ports::monitor::{Event, Monitor};

/// Longer files are none of ours.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Keeps what a source tells of its horizons and passes all other events on.
pub(crate) struct Horizons {
    /// `None`: there is no place for it.
    file: Option<PathBuf>,
    has_warned: AtomicBool,
    next: Arc<dyn Monitor>,
}

impl Horizons {
    /// Those of the source at the canonical path `source`, in `directory` or where such things belong.
    pub(crate) fn of(directory: Option<&Path>, source: &Path, next: Arc<dyn Monitor>) -> Self {
        let name = blake3::hash(source.as_os_str().as_bytes()).to_hex();
        let file =
            place(directory).map(|directory| directory.join(format!("{}.horizons", &name[..16])));
        Self { file, has_warned: AtomicBool::new(false), next }
    }

    /// What earlier runs have told.
    pub(crate) fn known(&self) -> BTreeMap<SinkId, Timestamp> {
        self.file.as_deref().and_then(|file| read(file).ok()).unwrap_or_default()
    }

    fn keep(&self, sink: &SinkId, at: Timestamp) {
        let Some(file) = &self.file else { return };
        let written = read(file).and_then(|mut all| {
            all.insert(sink.clone(), at);
            write(file, &all)
        });
        if let Err(error) = written
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            log::warn!(
                "{}: {error}: edits that put size and time back while no source runs will not be found (--state DIR)",
                file.display()
            );
        }
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
