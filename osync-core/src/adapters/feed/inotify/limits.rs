//! Errors of the kernel's inotify limits, in words that say what to do.

use notify::ErrorKind;
use rustix::io::Errno;

/// Why `error` happened, and what to do about it: one line.
pub(super) fn explain(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => raise("too many directories are watched", "max_user_watches"),
        ErrorKind::Io(cause) if cause.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => raise(
            "too many inotify instances or open files",
            "max_user_instances",
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
        ErrorKind::Io(cause) => matches!(
            Errno::from_io_error(cause),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
        ),
        ErrorKind::Generic(_)
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_)
        | ErrorKind::MaxFilesWatch => false,
    }
}

fn raise(what: &str, limit: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{limit}"));
    let value = text.ok().and_then(|text| text.trim().parse::<u64>().ok());
    match value {
        Some(value) => format!(
            "{what}: fs.inotify.{limit} is {value}; raise it, for example: sysctl -w fs.inotify.{limit}={}",
            value.saturating_mul(4)
        ),
        None => format!("{what}: raise fs.inotify.{limit} with sysctl -w"),
    }
}
