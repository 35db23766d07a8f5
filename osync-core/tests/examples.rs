//! The examples do what they say.

#[path = "../examples/mirror_folder.rs"]
#[expect(dead_code, reason = "main is for the command line")]
mod mirror_folder;
#[path = "../examples/own_source.rs"]
#[expect(dead_code, reason = "main is for the command line")]
mod own_source;

use std::fs;

use tempfile::TempDir;

#[test]
fn a_folder_is_mirrored() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir_all(from.path().join("a/b")).unwrap();
    fs::write(from.path().join("a/b/file"), "content").unwrap();
    fs::write(to.path().join("extra"), "").unwrap();

    let problems = mirror_folder::mirror_folder(from.path(), to.path()).unwrap();

    assert_eq!(problems, 0);
    assert_eq!(fs::read(to.path().join("a/b/file")).unwrap(), b"content");
    assert!(!to.path().join("extra").exists());
}

#[test]
fn notes_in_memory_become_files_and_follow_changes() {
    let to = TempDir::new().unwrap();

    own_source::replicate_notes(to.path()).unwrap();

    let read = |name| fs::read_to_string(to.path().join(name)).unwrap();
    assert_eq!(read("tuesday"), "write, and read what was written");
    assert_eq!(read("wednesday"), "rest");
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 2);
}
