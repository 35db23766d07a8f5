//! Rules of the older version on which a new one is built. A sink that never has one keeps them too.

use crate::model::metadata::Kind;
use crate::ports::sink::SinkError;
use crate::testing::conformance::sink::{
    PLAIN, SinkFixture, Sort, assert_is, file, of_kind, put, rel, settled,
};

pub(super) fn a_version_is_built_from_parts_of_the_one_before(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    let old: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    sink.write_file(&rel("d/f"), &file(sink, old.len()), &old).expect(PLAIN);
    let Some(basis) = sink.basis(&rel("d/f")).expect(PLAIN) else { return };
    let first = basis.metadata().expect(PLAIN);
    let wanted = [&old[200_000..], b"between", &old[1..70_000]].concat();

    let mut staged = sink.stage(&rel("d/f"), wanted.len() as u64).expect(PLAIN);
    staged.copy(basis.as_ref(), 200_000, 200_000).expect(PLAIN);
    staged.append(b"between").expect(PLAIN);
    staged.copy(basis.as_ref(), 1, 69_999).expect(PLAIN);
    assert_eq!(basis.metadata().expect(PLAIN), first, "it held still");
    assert_eq!(fixture.content(&rel("d/f")).as_ref(), Some(&old));
    let metadata = file(sink, wanted.len());
    staged.commit(&metadata).expect(PLAIN);

    assert!(fixture.content(&rel("d/f")) == Some(wanted));
    assert_is(sink, "d/f", &metadata);
    let mut buffer = [0; 8];
    assert_eq!(basis.read_at(399_996, &mut buffer).expect(PLAIN), 4);
    assert_eq!(buffer[..4], old[399_996..], "it is what it was");
    let mut staged = sink.stage(&rel("d/f"), 8).expect(PLAIN);
    let beyond = staged.copy(basis.as_ref(), 399_996, 8);
    assert!(matches!(beyond, Err(SinkError::Stale { .. })), "{beyond:?}");
    drop((staged, basis));
    assert_eq!(settled(fixture), ["", "d", "d/f"].map(rel));
}

pub(super) fn only_a_regular_file_is_built_upon(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    for sort in [Sort::Absent, Sort::Directory, Sort::Fifo] {
        put(sink, "x", sort);
        assert!(sink.basis(&rel("x")).expect(PLAIN).is_none(), "{sort:?}");
    }
    put(sink, "real/f", Sort::File);
    let link = |target: &[u8]| of_kind(sink, Kind::Symlink { target: target.into() });
    sink.make_special(&rel("file"), &link(b"real/f")).expect(PLAIN);
    sink.make_special(&rel("directory"), &link(b"real")).expect(PLAIN);

    for path in ["file", "directory", "directory/f", "real/f/below", "no/such"] {
        let found = sink.basis(&rel(path));
        assert!(!matches!(found, Ok(Some(_))), "{path}");
    }
}

pub(super) fn an_extended_file_grows_at_once_and_in_place(fixture: &dyn SinkFixture) {
    let sink = fixture.sink();
    put(sink, "f", Sort::File);
    let Some(basis) = sink.basis(&rel("f")).expect(PLAIN) else { return };
    let Ok(mut extended) = sink.extend(&rel("f"), basis.as_ref()) else { return };

    extended.append(b" and").expect(PLAIN);
    assert_eq!(fixture.content(&rel("f")).as_deref(), Some(&b"whole and"[..]));
    extended.append(b" more").expect(PLAIN);
    drop(extended);

    assert_eq!(fixture.content(&rel("f")).as_deref(), Some(&b"whole and more"[..]));
    put(sink, "f", Sort::Staged);
    let other = sink.extend(&rel("f"), basis.as_ref());
    assert!(matches!(other, Err(SinkError::Stale { .. })), "it is another file");
    assert_eq!(fixture.content(&rel("f")).as_deref(), Some(&b"pieces"[..]));
    drop((other, basis));
    assert_eq!(settled(fixture), ["", "f"].map(rel));
}
