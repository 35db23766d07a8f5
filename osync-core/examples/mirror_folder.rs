//! Mirrors one folder into another, and ends when the copy is in sync.
//!
//! `cargo run -p osync-core --example mirror_folder -- SRC DST`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use osync_core::Mirror;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::adapters::fs::{sink::DirectorySink, source::DirectorySource};
use osync_core::options::{SinkOptions, SourceOptions};

/// Returns how many paths could not be replicated.
pub(crate) fn mirror_folder(from: &Path, to: &Path) -> Result<u64, Box<dyn Error>> {
    let mirror = Mirror::start(
        Arc::new(DirectorySource::open(from)?),
        Box::new(InotifyFeed::new(from)?),
        Arc::new(DirectorySink::open(to)?),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(()), // Nobody listens to events.
    )?;
    let in_sync = mirror.wait_in_sync(None)?;
    // A program that stays goes on here: changes arrive until `stop`.
    mirror.stop();
    mirror.join()?;
    Ok(in_sync.map_or(0, |in_sync| in_sync.problems))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = &arguments[..] else {
        return Err("give two directories: SRC DST".into());
    };
    match mirror_folder(Path::new(from), Path::new(to))? {
        0 => Ok(()),
        problems => Err(format!("{problems} paths could not be replicated").into()),
    }
}
