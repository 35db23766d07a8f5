//! Rules of names that stand for one thing.

use crate::model::metadata::Metadata;
use crate::model::timestamp::Timestamp;
use crate::ports::sink::SinkError;
use crate::testing::conformance::sink::{
    PLAIN, SinkFixture, Sort, assert_is, put, rel, settled, sorts,
};

pub(super) fn a_link_is_another_name_of_what_is_there(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    if !sink.fidelity().links {
        return;
    }
    let is_thing = |sort: &Sort| !matches!(sort, Sort::Absent | Sort::Directory);
    for original in sorts(sink).into_iter().filter(is_thing) {
        for replaced in sorts(sink) {
            let metadata = put(sink, "d/original", original).expect("it is something");
            put(sink, "e/name", replaced);
            let shared = Metadata { names: 2, mode: 0o600, ..metadata };

            // Twice, since the second finds everything as it should be.
            for _ in 0..2 {
                sink.link(&rel("e/name"), &rel("d/original"), &shared).expect(PLAIN);
                for name in ["e/name", "d/original"] {
                    assert_is(sink, name, &shared);
                    let found = sink.metadata(&rel(name)).expect(PLAIN).expect("it is there");
                    assert_eq!(found.names, 2, "names of {original:?} in place of {replaced:?}");
                }
            }
            let content = fixture.content(&rel("d/original"));
            assert_eq!(fixture.content(&rel("e/name")), content);

            put(sink, "d/original", Sort::File);
            let found = sink.metadata(&rel("e/name")).expect(PLAIN).expect("it is there");
            assert_eq!(found.names, 1, "a new version is a thing of its own");
            assert_eq!(fixture.content(&rel("e/name")), content);
            sink.remove(&rel("e")).expect(PLAIN);
        }
    }
    assert_eq!(settled(fixture), ["", "d", "d/original"].map(rel));
}

pub(super) fn a_refused_link_changes_nothing(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let file = put(sink, "file", Sort::File).expect("a file");
    let other = put(sink, "d/other", Sort::Staged).expect("another");
    let two = Metadata { names: 2, ..file.clone() };
    if sink.fidelity().links {
        sink.link(&rel("second"), &rel("file"), &two).expect(PLAIN);
    } else {
        put(sink, "second", Sort::File);
    }
    let before = settled(fixture);

    for (to, metadata, why) in [
        ("none", &two, "nothing lies there"),
        ("none/below", &two, "nothing lies there"),
        ("d", &two, "a directory has one name"),
        ("", &two, "the root has one name"),
        ("file/below", &two, "nothing lies below a file"),
        ("file", &Metadata { names: 9, ..other.clone() }, "another size"),
        ("file", &Metadata { modified: Timestamp::default(), ..two.clone() }, "another time"),
        ("file", &two, "it would have a name too many"),
    ] {
        if to == "file" && metadata == &two && !sink.fidelity().links {
            continue;
        }
        let refused = sink.link(&rel("d/other"), &rel(to), metadata);
        assert!(matches!(refused, Err(SinkError::Stale { .. })), "{to}: {why}: {refused:?}");
    }

    assert_is(sink, "d/other", &other);
    assert_eq!(fixture.content(&rel("d/other")).as_deref(), Some(&b"pieces"[..]));
    assert_eq!(settled(fixture), before);
}
