//! Checks the house by reading the source: headers, lengths, layers, purity, confinement.
//!
//! `mod.rs` of a layer lists its modules low to high, and imports point down only, between layers and
//! inside them. So there are no circles, and a reader knows where to begin. Unit tests are exempt
//! from everything but the length: they may look wherever they like.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders, from the workspace's root, whose files open with a header and stay short.
const ROOMS: [&str; 6] =
    ["osync-sys/src", "osync-core/src", "osync-core/tests", "osync-cli/src", "tests", "benches"];
/// A file longer than this holds more than one idea.
const LINES_MAX: usize = 400;

/// The layers, low to high. Modules of one row do not know each other.
const ROWS: [&[&str]; 7] = [
    &["model"],
    &["options", "queue", "compare", "ports", "wire"],
    &["protocol"],
    &["runtime", "adapters", "testing"],
    &["error"],
    &["source_endpoint", "sink_endpoint"],
    &["mirror"],
];
/// Layers whose `mod.rs` lists modules low to high.
const ORDERED: [&str; 6] = ["model", "ports", "queue", "compare", "wire", "protocol"];
/// Layers without input, output, threads or clocks.
const PURE: [&str; 5] = ["model", "queue", "compare", "wire", "protocol"];
/// What a pure layer never names.
const IMPURE: [&str; 5] = ["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now"];

/// Adapters that touch trees: whatever they do there is relative to a descriptor.
const CONFINED: [&str; 2] = ["adapters/fs/", "adapters/feed/"];
/// What finds a file by a path from outside, or by one that somebody can swap a link into.
const PATH_CALLS: [&str; 32] = [
    "std::fs",
    "CWD",
    "File::open",
    "File::create",
    "OpenOptions",
    "canonicalize(",
    "read_dir(",
    "symlink_metadata(",
    ".exists()",
    ".is_dir()",
    "fs::access(",
    "fs::chmod(",
    "fs::chown(",
    "fs::getxattr(",
    "fs::lgetxattr(",
    "fs::link(",
    "fs::listxattr(",
    "fs::llistxattr(",
    "fs::lremovexattr(",
    "fs::lsetxattr(",
    "fs::lstat(",
    "fs::mkdir(",
    "fs::open(",
    "fs::readlink(",
    "fs::removexattr(",
    "fs::rename(",
    "fs::rmdir(",
    "fs::setxattr(",
    "fs::stat(",
    "fs::statfs(",
    "fs::symlink(",
    "fs::unlink(",
];
/// What names `/proc/self/fd/N`, which leads to an open descriptor and nowhere else, or a name in it.
const OF_A_DESCRIPTOR: [&str; 2] = ["proc_path(", "path_of("];
/// Where one of them is right, and why.
const PATH_CALLS_ALLOWED: [(&str, &str); 20] = [
    // The root itself: made, opened, and asked whether it is still there.
    ("adapters/fs/root.rs", "std::fs"),
    ("adapters/fs/root.rs", "fs::open("),
    ("adapters/fs/root.rs", "fs::stat("),
    ("adapters/feed/inotify/mod.rs", "std::fs"),
    ("adapters/feed/inotify/mod.rs", "canonicalize("),
    ("adapters/feed/fanotify/mod.rs", "std::fs"),
    ("adapters/feed/fanotify/mod.rs", "canonicalize("),
    ("adapters/feed/fanotify/mod.rs", "File::open"),
    ("adapters/feed/mapped.rs", "std::fs"),
    ("adapters/feed/mapped.rs", "canonicalize("),
    ("adapters/feed/mod.rs", "fs::statfs("),
    // For a name from `OF_A_DESCRIPTOR`.
    ("adapters/fs/version.rs", "CWD"),
    ("adapters/feed/fanotify/places.rs", "CWD"),
    ("adapters/feed/fanotify/places.rs", "std::fs"),
    // No file of a tree: the mode of a file in memory, the kernel's limits, the table of mounts, processes, this boot.
    ("adapters/fs/unsynced.rs", "fs::open("),
    ("adapters/feed/inotify/session.rs", "std::fs"),
    ("adapters/feed/inotify/limits.rs", "std::fs"),
    ("adapters/feed/mounts.rs", "std::fs"),
    ("adapters/feed/mounts.rs", "File::open"),
    ("adapters/feed/mappings.rs", "CWD"),
];

/// One source file of the library.
struct SourceFile {
    path: PathBuf,
    /// Its module: `["protocol", "source", "transfer"]`; that of a `mod.rs` is its folder.
    module: Vec<String>,
    text: Text,
}

/// What is read of a file: everything but comments and unit tests.
#[derive(Default)]
struct Text {
    /// Lines with their numbers from 1.
    code: Vec<(usize, String)>,
    /// Modules it declares, in order.
    modules: Vec<String>,
    /// Modules it declares for tests only.
    test_modules: Vec<String>,
}

#[test]
fn every_file_opens_with_a_header_and_stays_short() {
    let mut faults = Vec::new();
    for path in ROOMS.iter().flat_map(|room| rust_files(&workspace().join(room))) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//! ") {
            faults.push(format!("{}: does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, {LINES_MAX} at most", path.display()));
        }
    }

    assert_none(&faults);
}

#[test]
fn imports_point_to_lower_layers() {
    let mut faults = Vec::new();
    for file in library() {
        let Some(own) = file.module.first() else {
            continue; // lib.rs stands above all rows.
        };
        let own_row = row(own).unwrap_or_else(|| panic!("give {own} a row in ROWS"));
        for (line, import) in file.text.imports() {
            let layer = *import.first().unwrap_or(&"a group of imports");
            if layer != own && row(layer).is_none_or(|row| row >= own_row) {
                faults.push(format!("{}:{line}: {own} may not know {layer}", file.path.display()));
            }
        }
    }

    assert_none(&faults);
}

#[test]
fn modules_of_a_layer_use_only_those_listed_before_them() {
    let files = library();
    let listed: BTreeMap<&[String], &[String]> =
        files.iter().map(|file| (&file.module[..], &file.text.modules[..])).collect();
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_in(&ORDERED)) {
        for (line, import) in file.text.imports() {
            // The two paths part at one folder; its list says which of the two is lower.
            let shared = file.module.iter().zip(&import).take_while(|(a, b)| a == b).count();
            let folder = &file.module[..shared];
            let (Some(own), Some(used)) = (file.module.get(shared), import.get(shared)) else {
                continue;
            };
            let list = listed.get(folder).copied().unwrap_or_default();
            let place = |name: &str| list.iter().position(|listed| listed == name);
            if shared > 0 && place(used) > place(own) {
                faults
                    .push(format!("{}:{line}: {used} is listed after {own}", file.path.display()));
            }
        }
    }

    assert_none(&faults);
}

#[test]
fn paths_in_the_library_are_full() {
    assert_none(&lines_with(&["super::"], &library()));
}

#[test]
fn pure_layers_touch_neither_system_nor_clock() {
    let mut files = library();
    files.retain(|file| file.is_in(&PURE));

    assert_none(&lines_with(&IMPURE, &files));
}

#[test]
fn only_the_root_is_found_by_a_path_from_outside() {
    let mut files = library();
    let place = |file: &SourceFile| file.path.to_string_lossy().replace('\\', "/");
    files.retain(|file| CONFINED.iter().any(|room| place(file).contains(room)));
    let mut used = Vec::new();
    let mut faults = Vec::new();
    for file in &files {
        let code = file.text.code.iter();
        for (line, code) in
            code.filter(|(_, code)| !OF_A_DESCRIPTOR.iter().any(|of| code.contains(of)))
        {
            for word in PATH_CALLS.iter().filter(|word| code.contains(**word)) {
                let exception = PATH_CALLS_ALLOWED
                    .iter()
                    .find(|(at, allowed)| place(file).ends_with(at) && allowed == word);
                match exception {
                    Some(exception) => used.push(exception),
                    None => faults.push(format!("{}:{line}: {word}", file.path.display())),
                }
            }
        }
    }
    let unused = PATH_CALLS_ALLOWED.iter().filter(|exception| !used.contains(exception));
    faults.extend(unused.map(|exception| format!("allowed and not there: {exception:?}")));

    assert_none(&faults);
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let text = Text::read(
        "use crate::model::name::{Name, NameError};\n\
         // use crate::comment;\n\
         fn f(a: crate::ports::Source) -> crate::wire::Message { crate::m!() }\n\
         #[cfg(test)]\n\
         mod simulation;\n\
         pub mod window;\n\
         #[cfg(test)]\n\
         mod tests {\n\
         use crate::testing::Recorder;\n",
    );

    assert_eq!(
        text.imports(),
        [(1, vec!["model", "name"]), (3, vec!["ports", "Source"]), (3, vec!["wire", "Message"]),]
    );
    assert_eq!(text.modules, ["window"]);
    assert_eq!(text.test_modules, ["simulation"]);
}

impl SourceFile {
    fn is_in(&self, layers: &[&str]) -> bool {
        let layer = self.module.first();
        layer.is_some_and(|layer| layers.contains(&layer.as_str()))
    }
}

impl Text {
    fn read(text: &str) -> Self {
        let mut read = Self::default();
        let mut is_for_tests = false;
        for (index, line) in text.lines().enumerate() {
            let line = line.split(" // ").next().unwrap_or_default().trim();
            if line.starts_with("//") || line.starts_with("#[") {
                is_for_tests |= line == "#[cfg(test)]";
                continue;
            }
            let module = line.split_once("mod ").map(|(_, name)| name);
            if let Some(name) = module.and_then(|name| name.strip_suffix(';')) {
                let list = if is_for_tests { &mut read.test_modules } else { &mut read.modules };
                list.push(name.to_owned());
            } else if is_for_tests && module.is_some() {
                break; // Unit tests end a file.
            } else if !is_for_tests {
                read.code.push((index + 1, line.to_owned()));
            }
            is_for_tests = false;
        }
        read
    }

    /// Every `crate::a::b` of the code but macros, as its line and `["a", "b"]`.
    fn imports(&self) -> Vec<(usize, Vec<&str>)> {
        let mut imports = Vec::new();
        for (number, line) in &self.code {
            for path in line.split("crate::").skip(1) {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let end = path.find(|c| !is_path(c)).unwrap_or(path.len());
                // Exported macros live at the root, whatever their layer.
                if !path[end..].starts_with('!') {
                    let names = path[..end].split("::").filter(|name| !name.is_empty());
                    imports.push((*number, names.collect()));
                }
            }
        }
        imports
    }
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn lines_with(words: &[&str], files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (line, code) in &file.text.code {
            for word in words.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}:{line}: {word}", file.path.display()));
            }
        }
    }
    found
}

fn row(layer: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&layer))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file at or below `folder`.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The library's files, without those that are compiled for tests only.
fn library() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut test_modules = Vec::new();
    for path in rust_files(&root) {
        let mut module: Vec<String> = path
            .strip_prefix(&root)
            .unwrap()
            .with_extension("")
            .components()
            .map(|component| component.as_os_str().to_string_lossy().into_owned())
            .collect();
        module.pop_if(|last| last == "mod" || last == "lib");
        let text = Text::read(&fs::read_to_string(&path).unwrap());
        for name in &text.test_modules {
            test_modules.push([&module[..], std::slice::from_ref(name)].concat());
        }
        files.push(SourceFile { path, module, text });
    }
    files.retain(|file| !test_modules.iter().any(|test| file.module.starts_with(test)));
    files
}
