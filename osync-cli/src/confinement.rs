//! Landlock: a sink's process that can open its target and little else, whatever happens inside of it.
//!
//! ```text
//! target, and other directories that it uses          everything
//! files and lists of keys                              read
//! /etc /proc /usr /lib /lib64 /run/systemd/resolve     read: names of hosts, mounts, libraries
//! everything else                                      nothing
//! ```
//!
//! A thread confines itself and those that it starts later, for ever. So it is done before there are others.
//! A rule is about the directory that is there when it is made, not about its path: another file system that
//! is mounted there later is out of reach until osync is started again.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, path_beneath_rules,
};

/// Without moving between directories (Linux 5.19) no sink can work.
const ABI_NEEDED: ABI = ABI::V2;
/// The newest whose rights are known here; what the kernel has of them is used.
const ABI_KNOWN: ABI = ABI::V5;

/// Where names of hosts and libraries to look them up are found, and what the kernel tells of itself.
const SYSTEM: [&str; 6] = ["/etc", "/proc", "/usr", "/lib", "/lib64", "/run/systemd/resolve"];

/// Confines this thread and all that it will start: they can use `whole` and what is below, and read `readable`
/// and what the system needs. What is not there now is left out.
///
/// # Errors
/// In words, if the kernel cannot.
pub(crate) fn confine(whole: &[PathBuf], readable: &[PathBuf]) -> Result<(), String> {
    let everything = AccessFs::from_all(ABI_KNOWN);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let confined = || -> Result<(), RulesetError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI_NEEDED))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .create()?
            .add_rules(path_beneath_rules(whole, everything))?
            .add_rules(path_beneath_rules(SYSTEM, reading))?
            .add_rules(path_beneath_rules(readable, reading))?;
        ruleset.restrict_self().map(drop)
    };
    confined().map_err(|error| {
        format!("cannot confine osync: {error}: Landlock of Linux 5.19 is needed, or leave --confine out")
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::thread;

    use super::*;

    /// Does this on a thread that is confined to `inside` and may read `outside/readable`.
    fn confined(body: impl FnOnce(PathBuf, PathBuf) + Send) {
        let bed = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| bed.path().join(name));
        for directory in [&inside.join("a"), &inside.join("b"), &outside.join("readable")] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(outside.join("secret"), "a secret").unwrap();
        fs::write(outside.join("readable/list"), "a list").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                match confine(std::slice::from_ref(&inside), &[outside.join("readable")]) {
                    Ok(()) => body(inside, outside),
                    Err(reason) => println!("skipped: {reason}"),
                }
            });
        });
    }

    #[test]
    fn what_is_outside_is_neither_read_nor_written() {
        confined(|_, outside| {
            let secret = outside.join("secret");
            let is_refused = |result: std::io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
            };
            is_refused(File::open(&secret).map(drop));
            is_refused(File::options().append(true).open(&secret).map(drop));
            is_refused(File::create(outside.join("new")).map(drop));
            is_refused(fs::create_dir(outside.join("directory")));
            is_refused(fs::remove_file(&secret));
            is_refused(fs::read_dir(&outside).map(drop));
            is_refused(File::create(outside.join("readable/list")).map(drop));
            is_refused(File::create("/etc/osync-was-here").map(drop));
            // A thread that is started later is no freer.
            thread::scope(|scope| {
                scope.spawn(|| is_refused(File::open(&secret).map(drop)));
            });
        });
    }

    #[test]
    fn what_is_inside_is_used_as_ever() {
        confined(|inside, outside| {
            fs::write(inside.join("a/file"), "content").unwrap();
            fs::rename(inside.join("a/file"), inside.join("b/moved")).unwrap();
            fs::hard_link(inside.join("b/moved"), inside.join("a/second")).unwrap();
            std::os::unix::fs::symlink("anywhere", inside.join("link")).unwrap();
            assert_eq!(fs::read(inside.join("a/second")).unwrap(), b"content");
            fs::remove_dir_all(inside.join("b")).unwrap();

            assert_eq!(fs::read(outside.join("readable/list")).unwrap(), b"a list");
            assert!(fs::read("/proc/self/mountinfo").is_ok());
        });
    }
}
