//! Lines of gitignore syntax, compiled.
//!
//! Of the crate `ignore` only the matching of one set of lines is used; walking and precedence are ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What a rule says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out.
    LeaveOut,
    /// It is not, whatever rules of less weight say.
    Keep,
}

/// Rules that leave names out: lines in the syntax of gitignore, of which the last that matches decides.
///
/// Paths are bytes: `?` and `[..]` match one byte. A byte of a line that is not UTF-8 stands for any byte.
#[derive(Debug, Clone)]
pub struct Rules(Gitignore);

/// Why a line is no rule.
#[derive(Debug, thiserror::Error)]
#[error("not a pattern of gitignore syntax")]
pub struct RulesError {
    #[from]
    source: ignore::Error,
}

impl Rules {
    /// Compiles `lines`, each without its line feed. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`RulesError`] of the first line that makes no sense.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RulesError> {
        let mut builder = empty();
        for line in lines {
            builder.add_line(None, &text(line))?;
        }
        Ok(Self(builder.build()?))
    }

    /// Compiles the content of a file; lines that make no sense are passed over, as git does.
    ///
    /// # Errors
    /// [`RulesError`] if they are too much for one matcher.
    pub(super) fn of_file(content: &[u8]) -> Result<Self, RulesError> {
        let mut builder = empty();
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        for line in content.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Err(error) = builder.add_line(None, &text(line)) {
                log::warn!("a line of an ignore file is passed over: {error}");
            }
        }
        Ok(Self(builder.build()?))
    }

    /// What the rules say of `path`, relative to the directory they are for; `None` if nothing.
    pub(super) fn decide(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        match self.0.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
            Match::None => None,
            Match::Ignore(_) => Some(Verdict::LeaveOut),
            Match::Whitelist(_) => Some(Verdict::Keep),
        }
    }
}

impl Default for Rules {
    /// No rules: nothing is left out.
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

/// A builder for relative paths, of which no prefix is cut.
fn empty() -> GitignoreBuilder {
    GitignoreBuilder::new(".")
}

/// `line` as text; a byte that is none becomes the wildcard of one byte.
fn text(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(lines: &[&[u8]]) -> Rules {
        Rules::new(lines.iter().copied()).unwrap()
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = rules(&[b"*.log", b"!keep.log", b"/only here", b"build/"]);

        let decide = |path: &str, is_directory| rules.decide(path.as_bytes(), is_directory);
        assert_eq!(decide("a/b.log", false), Some(Verdict::LeaveOut));
        assert_eq!(decide("a/keep.log", false), Some(Verdict::Keep));
        assert_eq!(decide("only here", false), Some(Verdict::LeaveOut));
        assert_eq!(decide("a/only here", false), None);
        assert_eq!(decide("a/build", true), Some(Verdict::LeaveOut));
        assert_eq!(decide("a/build", false), None);
    }

    #[test]
    fn names_and_lines_need_not_be_utf_8() {
        let rules = rules(&[b"*.\xff", b"\xfe/"]);

        assert_eq!(rules.decide(b"a/\x80.\xff", false), Some(Verdict::LeaveOut));
        assert_eq!(rules.decide(b"\xfe", true), Some(Verdict::LeaveOut));
        assert_eq!(rules.decide(b"\x80\xff", false), None);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_refused_and_in_a_file_passed_over() {
        assert!(Rules::new([&b"a[z-a]"[..]]).is_err());

        let rules = Rules::of_file(b"\xef\xbb\xbf*.o\r\na[z-a]\n*.tmp").unwrap();

        assert_eq!(rules.decide(b"x.o", false), Some(Verdict::LeaveOut));
        assert_eq!(rules.decide(b"x.tmp", false), Some(Verdict::LeaveOut));
    }
}
