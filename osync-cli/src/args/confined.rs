//! What may be said of what a process may open.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::args::{Serving, SinkKeys};
use crate::{confinement, horizons};

/// How far the process is to be trusted.
#[derive(Debug, Args)]
pub(crate) struct Confined {
    /// Has the kernel refuse this process everything but DST, its trash and its state, and what it must read: its
    /// keys and lists of keys, and what the system keeps in /etc, /proc, /usr and /lib. Needs Landlock (Linux
    /// 5.19). A file system that is mounted on DST later is out of reach until osync is started again. [default:
    /// off]
    #[arg(long)]
    confine: bool,
}

impl Confined {
    /// Confines the process, if that was asked for; before it has other threads.
    pub(crate) fn apply(
        &self,
        target: &Path,
        keys: &SinkKeys,
        trash: Option<&Path>,
        serving: Option<&Serving>,
    ) -> Result<(), String> {
        if !self.confine {
            return Ok(());
        }
        let mut whole = vec![target.to_owned()];
        if let Some(trash) = trash {
            // There can be no rule about what is not there.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(trash)
                .map_err(|error| format!("cannot make the trash {}: {error}", trash.display()))?;
            whole.push(trash.to_owned());
        }
        let mut readable: Vec<PathBuf> = keys.key.iter().cloned().collect();
        readable.extend(keys.source_key.as_ref().map(PathBuf::from));
        if let Some(serving) = serving {
            // A list is replaced by a rename, so it is the directory that has to be read.
            readable.extend(serving.list().map(|list| around(&list)));
            // Where it cannot be made there is nothing to be kept, as without being confined.
            let state = horizons::place(serving.state.as_deref());
            whole.extend(state.filter(|state| fs::create_dir_all(state).is_ok()));
            let details = serving.details();
            let sockets = [&details.control, &details.data].into_iter();
            let sockets = sockets.filter_map(|address| address.strip_prefix("ipc://"));
            whole.extend(sockets.map(|socket| around(Path::new(socket))));
        }
        confinement::confine(&whole, &readable)
    }

    /// Says so in the log, once there is one.
    pub(crate) fn tell(&self, target: &Path) {
        if self.confine {
            log::info!("confined: this process can open {} and little else", target.display());
        }
    }
}

/// `path` if it is a directory, else the one that holds it.
fn around(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match path.parent() {
        Some(parent) if !path.is_dir() => parent.to_owned(),
        Some(_) | None => path,
    }
}
