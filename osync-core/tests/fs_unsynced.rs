//! Files that may lack content since a power cut are not believed, whatever they look like.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use osync_core::adapters::fs::sink::DirectorySink;
use osync_core::model::durability::Durability;
use osync_core::model::metadata::{Kind, Metadata};
use osync_core::model::rel_path::RelPath;
use osync_core::ports::sink::{Sink, SinkError};
use tempfile::TempDir;

struct Target {
    directory: TempDir,
}

impl Target {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves what a process of another mount would: nothing is on disk that changed after `since`.
    fn mark(&self, since: SystemTime) {
        fs::create_dir(self.path().join(".osync")).unwrap();
        let marker = File::create(self.path().join(".osync/u0123456789abcdef")).unwrap();
        marker.set_modified(since).unwrap();
    }

    fn markers(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path().join(".osync")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.file_name().unwrap().as_encoded_bytes()[0] == b'u').collect()
    }

    /// A sink that makes durable what it writes; `None` if there is nothing durable here.
    fn open(&self) -> Option<DirectorySink> {
        let sink = DirectorySink::open(self.path()).unwrap();
        sink.set_durability(Durability::Batch);
        let is_durable = sink.sync(false).unwrap();
        if !is_durable {
            eprintln!("SKIP: the file system of temporary files is in memory");
        }
        is_durable.then_some(sink)
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn told(sink: &DirectorySink, name: &str) -> Metadata {
    let told = sink.metadata(&path(name)).unwrap().unwrap();
    let listed = sink.list(&RelPath::root(), None, None).unwrap().unwrap();
    let listed = listed.into_iter().find(|entry| entry.name.as_bytes() == name.as_bytes());
    assert_eq!(listed.unwrap().metadata, told);
    told
}

fn write(sink: &DirectorySink, name: &str, metadata: &Metadata) {
    let Kind::File { size_bytes } = metadata.kind else { panic!("a file") };
    let content = vec![b'x'; usize::try_from(size_bytes).unwrap()];
    sink.write_file(&path(name), metadata, &content).unwrap();
}

#[test]
fn what_changed_since_the_marker_is_not_believed_until_it_is_replaced() {
    let target = Target::new();
    fs::write(target.path().join("f"), vec![0; 200_000]).unwrap();
    let real = {
        let sink = DirectorySink::open(target.path()).unwrap();
        told(&sink, "f")
    };
    target.mark(SystemTime::now() - Duration::from_secs(10));
    let Some(sink) = target.open() else { return };

    assert_ne!(told(&sink, "f").modified, real.modified);
    assert!(sink.basis(&path("f")).unwrap().is_none(), "nothing is built upon it");
    let linked = sink.link(&path("g"), &path("f"), &Metadata { names: 2, ..real.clone() });
    assert!(matches!(linked, Err(SinkError::Stale { .. })), "nor is it linked: {linked:?}");

    write(&sink, "f", &real);
    assert_eq!(told(&sink, "f").modified, real.modified);
    assert!(sink.sync(false).unwrap());
    assert_eq!(target.markers().len(), 1, "it stays until everything was compared");
    assert!(sink.sync(true).unwrap());
    assert!(target.markers().is_empty());
    sink.tidy();
    assert!(!target.path().join(".osync").exists());
}

#[test]
fn what_changed_before_the_marker_is_believed() {
    let target = Target::new();
    fs::write(target.path().join("f"), "content").unwrap();
    target.mark(SystemTime::now() + Duration::from_secs(100));
    let modified = fs::metadata(target.path().join("f")).unwrap().modified().unwrap();

    let Some(sink) = target.open() else { return };

    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(u64::try_from(told(&sink, "f").modified.seconds).unwrap(), since.as_secs());
}

#[test]
fn a_process_that_was_killed_leaves_what_is_believed_in_the_same_mount() {
    let target = Target::new();
    let Some(sink) = target.open() else { return };
    fs::write(target.path().join("like"), "1234").unwrap();
    let like = told(&sink, "like");
    write(&sink, "f", &like);
    assert_eq!(target.markers().len(), 1, "what is new is not on disk");
    drop(sink);
    assert_eq!(target.markers().len(), 1, "nobody has synced it");

    let sink = DirectorySink::open(target.path()).unwrap();
    assert_eq!(told(&sink, "f").modified, like.modified);
    sink.set_durability(Durability::Batch);
    assert!(sink.sync(false).unwrap());
    assert!(target.markers().is_empty());
}

#[test]
fn without_durability_nothing_is_marked() {
    let target = Target::new();
    let sink = DirectorySink::open(target.path()).unwrap();
    sink.set_durability(Durability::None);
    fs::write(target.path().join("like"), "1234").unwrap();
    write(&sink, "f", &told(&sink, "like"));

    assert!(target.markers().is_empty());
    assert!(!sink.sync(true).unwrap());
}
