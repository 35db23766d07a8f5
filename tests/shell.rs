//! Programs of other people, run by the shell.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `script` in `directory`, with `arguments` as `$1`, `$2` ..; what it complains of is shown if it fails.
pub(crate) fn run(directory: &Path, script: &str, arguments: &[&Path]) {
    let output = Command::new("sh")
        .args(["-euc", script, "sh"])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [printed, complaints] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{script}\n{printed}\n{complaints}");
}

/// Whether `tool` is on the search path.
pub(crate) fn is_installed(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", tool]).output();
    found.is_ok_and(|output| output.status.success())
}
