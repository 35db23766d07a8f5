//! Errors of the kernel's inotify limits, in words that say what to do.

use notify::ErrorKind;
use rustix::io::Errno;

/// Why `error` happened, and what to do about it: one line.
pub(super) fn explain(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => raise(
            "too many directories are watched",
            ["fs.inotify.max_user_watches", "user.max_inotify_watches"],
        ),
        ErrorKind::Io(cause) if cause.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => raise(
            "too many inotify instances or open files",
            ["fs.inotify.max_user_instances", "user.max_inotify_instances"],
        ),
        ErrorKind::Io(cause) => cause.to_string(),
        ErrorKind::Generic(_)
        | ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_) => error.to_string(),
    }
}

/// Whether no directory at all can be watched any more.
pub(super) fn is_watch_limit(error: &notify::Error) -> bool {
    matches!(error.kind, ErrorKind::MaxFilesWatch)
}

/// Whether the path is simply not there, or no directory, any more.
pub(super) fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(cause) => {
            matches!(Errno::from_io_error(cause), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
        }
        ErrorKind::Generic(_)
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_)
        | ErrorKind::MaxFilesWatch => false,
    }
}

/// The same limit exists per machine and per user namespace; the lower one is in the way.
fn raise(what: &str, names: [&str; 2]) -> String {
    let lowest = names
        .into_iter()
        .filter_map(|name| Some((read(name)?, name)))
        .min_by_key(|&(value, _)| value);
    match lowest {
        Some((value, name)) => format!(
            "{what}: {name} is {value}; raise it, for example: sysctl -w {name}={}",
            value.saturating_mul(4).max(8_192)
        ),
        None => format!("{what}: raise {} with sysctl -w", names[0]),
    }
}

fn read(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    text.trim().parse().ok()
}
