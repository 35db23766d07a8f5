//! What is compared: trees, changes, and how the figures are taken.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::measure::{Meter, Usage, median, percentile};
use crate::report::{Case, Row};
use crate::session::{Session, wait_until};
use crate::tool::{RsyncDaemon, Tool};
use crate::tree;

/// How often a target is looked at while something is awaited.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);

/// How much is compared.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the trees lie.
    pub(crate) bed: PathBuf,
    /// Runs of each tool, in turn.
    pub(crate) rounds: usize,
    /// Part of the full sizes, above 0 up to 1.
    pub(crate) scale: f64,
    /// The tree for "a system's files".
    pub(crate) system: PathBuf,
}

impl Plan {
    /// `full` things at the scale of this plan, at least one.
    pub(crate) fn scaled(&self, full: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "far below the limits of either")]
        #[expect(
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "positive and small"
        )]
        let scaled = (full as f64 * self.scale) as usize;
        scaled.max(1)
    }

    /// A directory with an empty `source`, removed when dropped.
    pub(crate) fn bed(&self) -> TempDir {
        let bed = TempDir::with_prefix_in("osync-compare-", &self.bed).expect("a bed");
        fs::create_dir(bed.path().join("source")).expect("a source");
        bed
    }
}

/// Initial copy of 100,000 files of 4 KiB in 1,000 directories, and of the same once more without a change.
pub(crate) fn small(plan: &Plan) -> Vec<Case> {
    let bed = plan.bed();
    let source = bed.path().join("source");
    tree::fill(&source, plan.scaled(1_000), 100, 4 * 1024);
    let tools = [
        Tool::Osync,
        Tool::OsyncMirror,
        Tool::Cp,
        Tool::Tar,
        Tool::Rsync,
        Tool::RsyncDaemon,
        Tool::Unison,
    ];
    let title = format!("initial copy, {} files of 4 KiB", plan.scaled(1_000) * 100);
    vec![
        copies(plan, &title, &source, &bed, &tools, false),
        copies(
            plan,
            "the same again, nothing changed",
            &source,
            &bed,
            &[Tool::Osync, Tool::OsyncMirror, Tool::Rsync, Tool::RsyncDaemon, Tool::Unison],
            true,
        ),
    ]
}

/// Initial copy of 20,000 files of 4 KiB in 200 directories, until all of it is on disk.
pub(crate) fn durable(plan: &Plan) -> Vec<Case> {
    let bed = plan.bed();
    let source = bed.path().join("source");
    tree::fill(&source, plan.scaled(200), 100, 4 * 1024);
    let title = format!("durable copy, {} files of 4 KiB", plan.scaled(200) * 100);
    vec![copies(plan, &title, &source, &bed, &[Tool::OsyncDurable, Tool::RsyncFsync], false)]
}

/// Copy of a system's files: links, all sizes.
pub(crate) fn system(plan: &Plan) -> Vec<Case> {
    let bed = plan.bed();
    let tools =
        [Tool::Osync, Tool::OsyncMirror, Tool::Cp, Tool::Tar, Tool::Rsync, Tool::RsyncDaemon];
    let title = format!("copy of {}", plan.system.display());
    // Whoever comes first would otherwise wait for the disk.
    let mut read = Command::new("sh");
    read.args(["-c", "tar -C \"$1\" -cf - . | cat > /dev/null", "read"]).arg(&plan.system);
    assert!(read.status().is_ok_and(|status| status.success()), "the tree can be read");
    vec![copies(plan, &title, &plan.system, &bed, &tools, false)]
}

/// Four files of 1 GiB.
pub(crate) fn large(plan: &Plan) -> Vec<Case> {
    let bed = plan.bed();
    let source = bed.path().join("source");
    let mib = plan.scaled(1_024);
    for file in 0..4 {
        tree::large(&source.join(format!("f{file}")), mib << 20, file);
    }
    let tools = [Tool::Osync, Tool::OsyncMirror, Tool::Cp, Tool::RsyncDaemon, Tool::TcpCopy];
    vec![copies(plan, &format!("4 files of {mib} MiB"), &source, &bed, &tools, false)]
}

/// One file of 1 GiB, encrypted, beside what the encryption allows.
pub(crate) fn curve(plan: &Plan) -> Vec<Case> {
    let bed = plan.bed();
    let source = bed.path().join("source");
    let mib = plan.scaled(1_024);
    tree::large(&source.join("file"), mib << 20, 0);
    let tools = [Tool::OsyncKeys, Tool::Osync, Tool::CurveStream];
    vec![copies(plan, &format!("a file of {mib} MiB, encrypted"), &source, &bed, &tools, false)]
}

/// Copies `source` by each of `tools` in turn: into nothing, or over a copy that is equal already.
fn copies(
    plan: &Plan,
    title: &str,
    source: &Path,
    bed: &TempDir,
    tools: &[Tool],
    is_again: bool,
) -> Case {
    let mut runs: Vec<(Tool, Vec<Usage>)> =
        tools.iter().filter(|tool| tool.is_installed()).map(|&tool| (tool, Vec::new())).collect();
    for round in 0..plan.rounds {
        for (tool, usages) in &mut runs {
            let work = bed.path().join(format!("work-{round}"));
            let target = bed.path().join("target");
            fs::create_dir_all(&work).expect("room");
            if is_again {
                tool.copy(source, &target, &work);
            }
            let usage = tool.copy(source, &target, &work);
            let difference = tree::difference(source, &target, tool.closeness());
            assert_eq!(difference, None, "{} did not make the trees equal", tool.name());
            eprintln!("{title}: {}: {:.3} s", tool.name(), usage.wall.as_secs_f64());
            usages.push(usage);
            fs::remove_dir_all(&target).expect("the target can be removed");
            fs::remove_dir_all(&work).expect("room can be removed");
        }
    }
    let rows = runs.into_iter().map(|(tool, runs)| Row::copied(tool.name(), median(&runs)));
    Case::new(title, rows.collect())
}

/// A file of 1 GiB changes, and a directory of 20,000 files is renamed.
pub(crate) fn changes(plan: &Plan) -> Vec<Case> {
    let bytes = plan.scaled(1_024) << 20;
    let file = |source: &Path| source.join("large");
    let append = |source: &Path, round: usize| {
        let mut file = fs::File::options().append(true).open(file(source)).expect("the file");
        file.write_all(&pseudo_random(1 << 20, round)).expect("appended");
    };
    let in_place = |source: &Path, round: usize| {
        let mut file = fs::File::options().write(true).open(file(source)).expect("the file");
        file.seek(SeekFrom::Start((bytes / 2 + round * 8_192) as u64)).expect("a place");
        file.write_all(&pseudo_random(4_096, round)).expect("written");
    };
    let insert = |source: &Path, round: usize| {
        let path = file(source);
        let mut content = fs::read(&path).expect("the file");
        content.insert(0, u8::try_from(round % 256).expect("below 256"));
        let new = path.with_extension("new");
        fs::write(&new, content).expect("written");
        fs::rename(new, path).expect("in its place");
    };
    let rename = |source: &Path, round: usize| {
        let name = |round: usize| source.join(format!("many-{round}"));
        fs::rename(name(round), name(round + 1)).expect("renamed");
    };
    let make_large = |source: &Path| tree::large(&file(source), bytes, 7);
    let make_many =
        |source: &Path| tree::fill(&source.join("many-0"), plan.scaled(200), 100, 4_096);
    let shown = bytes >> 20;
    vec![
        changed(plan, &format!("1 MiB appended to {shown} MiB"), &make_large, &append),
        changed(plan, &format!("4 KiB changed within {shown} MiB"), &make_large, &in_place),
        changed(plan, &format!("1 byte inserted before {shown} MiB"), &make_large, &insert),
        changed(
            plan,
            &format!("rename of a directory of {} files", plan.scaled(200) * 100),
            &make_many,
            &rename,
        ),
    ]
}

/// Times one change of a tree in sync: osync follows it, rsync is run after it.
fn changed(plan: &Plan, title: &str, make: &dyn Fn(&Path), change: &dyn Fn(&Path, usize)) -> Case {
    let mut rows = Vec::new();
    for tool in [Tool::Osync, Tool::RsyncDaemon] {
        if !tool.is_installed() {
            continue;
        }
        let bed = plan.bed();
        let (source, target) = (bed.path().join("source"), bed.path().join("target"));
        make(&source);
        let (mut usages, mut shown) = (Vec::new(), Vec::new());
        let daemon = (tool == Tool::RsyncDaemon).then(|| RsyncDaemon::start(&target, bed.path()));
        let session = daemon.is_none().then(|| Session::start(tool, &source, &target, bed.path()));
        if let Some(daemon) = &daemon {
            daemon.push(&source);
        }
        await_equal(&source, &target);
        for round in 0..plan.rounds {
            change(&source, round);
            let mut meter = Meter::start();
            if let Some(daemon) = &daemon {
                daemon.push(&source);
            }
            wait_until(LOOK_INTERVAL, title, || shows_the_same(&source, &target));
            shown.push(meter.elapsed());
            wait_until(LOOK_INTERVAL, title, || is_alike(&source, &target));
            meter.done();
            usages.push(meter.usage());
            await_equal(&source, &target);
        }
        daemon.map(RsyncDaemon::end).unwrap_or_default();
        session.map(Session::end).unwrap_or_default();
        let shown = percentile(&mut shown, 50);
        rows.push(Row::changed(tool.name(), median(&usages), shown));
    }
    Case::new(title, rows)
}

fn await_equal(source: &Path, target: &Path) {
    wait_until(Duration::from_millis(50), "the first copy", || {
        is_alike(source, target)
            && tree::difference(source, target, tree::Closeness::Seconds).is_none()
    });
}

/// Whether the names at the top agree, and length, beginning, middle and end of the files among them: where
/// the changes are made, and cheap to ask often.
fn shows_the_same(source: &Path, target: &Path) -> bool {
    let look = |root: &Path| -> Option<Vec<_>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root).ok()? {
            let entry = entry.ok()?;
            let bytes = entry.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len());
            let pages = bytes.map(|bytes| pages(&entry.path(), bytes));
            found.push((entry.file_name(), bytes, pages));
        }
        found.sort_unstable();
        Some(found)
    };
    look(target).is_some_and(|found| Some(found) == look(source))
}

/// The first page of the file at `path` of `bytes` bytes, the last, and 64 KiB from its middle on.
fn pages(path: &Path, bytes: u64) -> Vec<u8> {
    let mut found = Vec::new();
    for (start, length) in
        [(0, 4_096), (bytes / 2, 64 * 1024), (bytes.saturating_sub(4_096), 4_096)]
    {
        if let Ok(mut file) = fs::File::open(path)
            && file.seek(SeekFrom::Start(start)).is_ok()
        {
            file.take(length).read_to_end(&mut found).ok();
        }
    }
    found
}

/// Whether the names at the top agree, and size and time of the files among them: cheap to ask often.
fn is_alike(source: &Path, target: &Path) -> bool {
    let look = |root: &Path| -> Option<Vec<_>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root).ok()? {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            let is_file = metadata.is_file();
            let state = is_file.then(|| (metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
            found.push((entry.file_name(), state));
        }
        found.sort_unstable();
        Some(found)
    };
    look(target).is_some_and(|found| Some(found) == look(source))
}

fn pseudo_random(bytes: usize, seed: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}
