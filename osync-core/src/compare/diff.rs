//! What a sink lacks of a listing.

use std::cmp::Ordering;

use crate::model::fidelity::Fidelity;
use crate::model::metadata::{Entry, Kind, Metadata};
use crate::model::name::Name;
use crate::model::need::Need;

/// How two listings of one part of a directory differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Entries of the source that the sink lacks or has otherwise: ascending index, and what to send.
    pub wanted: Vec<(u32, Need)>,
    /// Names that only the sink has.
    pub extra: Vec<Name>,
}

/// Compares the `source`'s entries with the `sink`'s, both sorted by name, within `fidelity`.
///
/// Contents count as equal where size and time of the last change are, to the nanosecond. Fewer names than the
/// source has are no difference, since some may lie outside its tree; more are.
#[must_use]
pub fn diff(source: &[Entry], sink: &[Entry], fidelity: Fidelity) -> Difference {
    let mut difference = Difference::default();
    let mut theirs = sink.iter().peekable();
    for (index, ours) in (0_u32..).zip(source) {
        let matching = loop {
            let Some(candidate) = theirs.peek() else {
                break None;
            };
            match candidate.name.cmp(&ours.name) {
                Ordering::Less => {
                    difference.extra.push(candidate.name.clone());
                    theirs.next();
                }
                Ordering::Equal => break theirs.next(),
                Ordering::Greater => break None,
            }
        };
        let need = match matching {
            Some(theirs) => need(&ours.metadata, &theirs.metadata, fidelity),
            None if ours.metadata.kind.is_directory() => Some(Need::Directory),
            None => Some(Need::Content),
        };
        difference.wanted.extend(need.map(|need| (index, need)));
    }
    difference.extra.extend(theirs.map(|entry| entry.name.clone()));
    difference
}

/// What is to be sent so that `theirs` becomes `ours`; `None` if it is the same already.
fn need(ours: &Metadata, theirs: &Metadata, fidelity: Fidelity) -> Option<Need> {
    let is_shared_in_excess = fidelity.tells_shared(theirs) && theirs.names > ours.names;
    let is_equal = fidelity.masked_in_listing(ours) == fidelity.masked_in_listing(theirs);
    if is_equal && !is_shared_in_excess {
        return None;
    }
    let keeps_content = match (&ours.kind, &theirs.kind) {
        (Kind::File { .. }, Kind::File { .. }) => {
            ours.kind == theirs.kind && ours.modified == theirs.modified
        }
        (ours, theirs) => ours == theirs,
    };
    Some(if keeps_content {
        Need::Metadata
    } else if ours.kind.is_directory() {
        Need::Directory
    } else {
        Need::Content
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attributes::Attributes;
    use crate::model::timestamp::Timestamp;

    fn entry(name: &str, size_bytes: u64, seconds: i64, mode: u32) -> Entry {
        let modified = Timestamp { seconds, nanoseconds: 0 };
        let kind = Kind::File { size_bytes };
        let attributes = Attributes::None;
        let metadata = Metadata { kind, modified, mode, uid: 0, gid: 0, attributes, names: 1 };
        Entry { name: Name::new(name.as_bytes()).unwrap(), metadata }
    }

    #[test]
    fn differences_are_named_with_what_they_need() {
        let source = [
            entry("b", 1, 1, 0o644),
            entry("c", 1, 2, 0o644),
            entry("d", 1, 1, 0o600),
            entry("e", 1, 1, 0o644),
        ];
        let sink = [
            entry("a", 1, 1, 0o644),
            entry("c", 1, 1, 0o644),
            entry("d", 1, 1, 0o644),
            entry("e", 1, 1, 0o644),
            entry("f", 1, 1, 0o644),
        ];

        let difference = diff(&source, &sink, Fidelity::FULL);

        assert_eq!(
            difference.wanted,
            [(0, Need::Content), (1, Need::Content), (2, Need::Metadata)]
        );
        assert_eq!(difference.extra, [Name::new(*b"a").unwrap(), Name::new(*b"f").unwrap()]);
    }

    #[test]
    fn only_names_in_excess_are_a_difference() {
        let shared = |names| {
            let mut entry = entry("a", 1, 1, 0o644);
            entry.metadata.names = names;
            [entry]
        };
        let wanted = |source, sink| diff(&shared(source), &shared(sink), Fidelity::FULL).wanted;

        assert_eq!(wanted(3, 1), []);
        assert_eq!(wanted(3, 3), []);
        assert_eq!(wanted(1, 2), [(0, Need::Metadata)]);
        let copies = Fidelity { links: false, ..Fidelity::FULL };
        assert_eq!(diff(&shared(1), &shared(2), copies).wanted, []);
    }

    #[test]
    fn equal_listings_differ_in_nothing() {
        let entries = [entry("a", 1, 1, 0o644), entry("b", 2, 2, 0o600)];
        assert_eq!(diff(&entries, &entries, Fidelity::FULL), Difference::default());
    }
}
