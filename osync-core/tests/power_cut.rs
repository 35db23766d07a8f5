//! Power cuts at the sink. The target's file system lies in an image, and a copy of the image that is made in one
//! moment, while a mirror runs, is what a cut in that moment would have left.
//!
//! Needs root, loop devices, `mkfs.ext4`, and `mkfs.xfs` for the file system that copies in one moment. A few cuts by
//! default; `OSYNC_TEST_POWER_CUTS=n` makes so many on each file system.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use osync_core::Mirror;
use osync_core::adapters::feed::inotify::InotifyFeed;
use osync_core::adapters::fs::{sink::DirectorySink, source::DirectorySource};
use osync_core::options::{SinkOptions, SourceOptions};
use tempfile::TempDir;

/// How many cuts, if not [`CUTS_DEFAULT`].
const CUTS: &str = "OSYNC_TEST_POWER_CUTS";
const CUTS_DEFAULT: u64 = 2;
/// What the images are long; they take what is used.
const OUTER_BYTES: u64 = 4 << 30;
const DISK_BYTES: u64 = 512 << 20;
/// More than any machine takes.
const SOON: Duration = Duration::from_mins(2);

fn is_done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Something mounted; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn image(image: &Path, at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        is_done(Command::new("mount").args(["-o", options]).arg(image).arg(&at)).then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !is_done(Command::new("umount").arg(&self.0)) {
            is_done(Command::new("umount").arg("--lazy").arg(&self.0));
        }
    }
}

fn image(path: &Path, bytes: u64, make: &[&str]) -> bool {
    fs::File::create(path).and_then(|file| file.set_len(bytes)).unwrap();
    is_done(Command::new(make[0]).args(&make[1..]).arg(path))
}

/// A file system that can be cut off.
struct Disk {
    // In this order: what lies in the outer file system goes first.
    mounted: Mounted,
    outer: Mounted,
    options: &'static str,
    directory: TempDir,
}

impl Disk {
    fn new(make: &[&str], options: &'static str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let skip = |what: &str| eprintln!("SKIP power cuts with {}: cannot {what}", make[0]);
        if !image(&root.join("outer.img"), OUTER_BYTES, &["mkfs.xfs", "-q"]) {
            skip("make an xfs");
            return None;
        }
        let outer = Mounted::image(&root.join("outer.img"), root.join("outer"), "loop");
        let Some(outer) = outer else {
            skip("mount an image");
            return None;
        };
        let disk = outer.0.join("disk.img");
        if !image(&disk, DISK_BYTES, make) {
            skip("make that");
            return None;
        }
        let Some(mounted) = Mounted::image(&disk, root.join("disk"), options) else {
            skip("mount that");
            return None;
        };
        Some(Self { mounted, outer, options, directory })
    }

    /// What a cut leaves now.
    fn cut(&self) -> PathBuf {
        let (disk, cut) = (self.outer.0.join("disk.img"), self.outer.0.join("cut.img"));
        fs::remove_file(&cut).unwrap_or_default();
        let copied = is_done(Command::new("cp").arg("--reflink=always").arg(disk).arg(&cut));
        assert!(copied, "xfs copies in one moment");
        cut
    }

    /// It is switched on again.
    fn mount(&self, cut: &Path) -> Mounted {
        let at = self.directory.path().join("cut");
        Mounted::image(cut, at, self.options).expect("it recovers from its journal")
    }
}

/// A source whose files say what they are.
struct Source {
    directory: TempDir,
    versions: BTreeMap<String, u64>,
    steps: u64,
}

impl Source {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        Self { directory, versions: BTreeMap::new(), steps: 0 }
    }

    fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// The next version of some file, or a new one.
    fn step(&mut self) {
        self.steps += 1;
        let chosen = self.steps.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        let index =
            if self.steps.is_multiple_of(4) { self.steps } else { chosen % (40 + self.steps / 4) };
        let name = format!("d{}/f{index}", index % 7);
        let bytes = if chosen.is_multiple_of(50) {
            2_000_000
        } else {
            usize::try_from(chosen % 60_000).unwrap()
        };
        let version = self.versions.get(&name).map_or(1, |version| version + 1);
        let (path, aside) = (self.tree().join(&name), self.directory.path().join("aside"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&aside, content(&name, version, bytes)).unwrap();
        fs::rename(aside, path).unwrap();
        self.versions.insert(name, version);
    }
}

fn content(name: &str, version: u64, bytes: usize) -> Vec<u8> {
    let mut content = format!("{name} {version} {bytes}\n").into_bytes();
    content.resize(content.len() + bytes, b'a' + u8::try_from(version % 26).unwrap());
    content
}

/// The version of the file called `name` that this is, if it is whole.
fn version_of(name: &str, found: &[u8]) -> Option<u64> {
    let end = found.iter().position(|&byte| byte == b'\n')?;
    let mut words = str::from_utf8(&found[..end]).ok()?.split(' ').skip(1);
    let (version, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (content(name, version, bytes) == found).then_some(version)
}

fn mirror(source: &Path, target: &Path) -> Mirror {
    Mirror::start(
        Arc::new(DirectorySource::open(source).unwrap()),
        Box::new(InotifyFeed::new(source).unwrap()),
        Arc::new(DirectorySink::open(target).unwrap()),
        SourceOptions::default(),
        SinkOptions::default(),
        Arc::new(()),
    )
    .unwrap()
}

fn cut_again_and_again(make: &[&str], options: &'static str) {
    let cuts = std::env::var(CUTS).map_or(CUTS_DEFAULT, |text| text.parse().expect("a number"));
    let Some(disk) = Disk::new(make, options) else { return };
    let mut source = Source::new();
    let tree = source.tree();
    let running = mirror(&tree, &disk.mounted.0.join("target"));
    let (mut newer, mut not_whole) = (0, 0);
    for cut in 0..cuts {
        (0..60).for_each(|_| source.step());
        let in_sync = running.wait_in_sync(Some(SOON)).unwrap().expect("in time");
        assert!(in_sync.is_durable && in_sync.problems == 0);
        let durable = source.versions.clone();

        let is_cut = AtomicBool::new(false);
        let image = thread::scope(|scope| {
            let (is_cut, source) = (&is_cut, &mut source);
            scope.spawn(move || {
                while !is_cut.load(Ordering::Relaxed) {
                    source.step();
                    thread::sleep(Duration::from_millis(source.steps % 5));
                }
            });
            thread::sleep(Duration::from_millis(cut * 377 % 2_500));
            let image = disk.cut();
            is_cut.store(true, Ordering::Relaxed);
            image
        });

        let left = disk.mount(&image);
        let target = left.0.join("target");
        for (name, version) in &durable {
            let found = fs::read(target.join(name));
            let found = found.ok().and_then(|found| version_of(name, &found));
            assert!(found >= Some(*version), "cut {cut}: {name} was {version} and is {found:?}");
            newer += u64::from(found > Some(*version));
        }
        for name in source.versions.keys().filter(|name| !durable.contains_key(*name)) {
            let found = fs::read(target.join(name));
            not_whole += u64::from(found.is_ok_and(|found| version_of(name, &found).is_none()));
        }
        // What was lost is found when it is started again, even if it has its size and its time.
        let again = mirror(&tree, &target);
        assert!(again.wait_in_sync(Some(SOON)).unwrap().expect("in time").is_durable);
        again.join().unwrap();
        for (name, version) in &source.versions {
            let found = fs::read(target.join(name)).unwrap();
            assert_eq!(version_of(name, &found), Some(*version), "cut {cut}: {name} afterwards");
        }
        assert!(!target.join(".osync").exists(), "nothing is left behind");
    }
    running.join().unwrap();
    let files = source.versions.len();
    println!(
        "{cuts} cuts with {}: {files} files at the end, of the durable {newer} in a newer version, of the new \
         {not_whole} not whole",
        make[0]
    );
}

#[test]
fn what_was_durable_survives_power_cuts_on_ext4() {
    cut_again_and_again(&["mkfs.ext4", "-q"], "loop");
}

#[test]
fn what_was_durable_survives_power_cuts_on_xfs() {
    cut_again_and_again(&["mkfs.xfs", "-q"], "loop,nouuid");
}
