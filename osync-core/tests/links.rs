//! The table of hard links, whatever order things happen in.

use std::collections::HashMap;

use osync_core::model::attributes::Attributes;
use osync_core::model::metadata::{Kind, Metadata, Sighting, Stamp};
use osync_core::model::need::Need;
use osync_core::model::rel_path::RelPath;
use osync_core::model::timestamp::Timestamp;
use osync_core::model::work_id::WorkId;
use osync_core::queue::links::{Course, Found, Links};
use proptest::prelude::*;

const PATHS: [&str; 6] = ["a", "a-", "a/b", "a/c", "d", "d/b"];

#[derive(Debug, Clone)]
enum Step {
    /// A look at a path: what it is a name of, how many names that has, and which version it is of.
    Look {
        path: usize,
        object: u64,
        names: u32,
        version: i64,
        is_touched: bool,
    },
    Confirm {
        path: usize,
    },
    Refuse {
        path: usize,
        is_stale: bool,
    },
    Forget {
        path: usize,
    },
    Rebase {
        from: usize,
        to: usize,
    },
    Search,
}

fn step() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    prop_oneof![
        6 => (path(), 1..4_u64, 1..4_u32, 0..3_i64, any::<bool>()).prop_map(
            |(path, object, names, version, is_touched)| {
                Step::Look { path, object, names, version, is_touched }
            }
        ),
        4 => path().prop_map(|path| Step::Confirm { path }),
        1 => (path(), any::<bool>()).prop_map(|(path, is_stale)| Step::Refuse { path, is_stale }),
        1 => path().prop_map(|path| Step::Forget { path }),
        1 => (path(), path()).prop_map(|(from, to)| Step::Rebase { from, to }),
        1 => Just(Step::Search),
    ]
}

fn path(index: usize) -> RelPath {
    RelPath::new(PATHS[index].as_bytes()).expect("a path")
}

fn sighting(object: u64, names: u32, version: i64, changed: i64) -> Sighting {
    let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
    let kind = Kind::File { size_bytes: 1 };
    let (modified, attributes) = (at(version), Attributes::None);
    let metadata = Metadata { kind, modified, mode: 0o644, uid: 0, gid: 0, attributes, names };
    Sighting { metadata, stamp: Stamp { object, changed: at(changed), unlinked: false } }
}

/// A table with two names of one thing that the sink has, as far as metadata tells.
fn pair() -> (Links, RelPath, RelPath) {
    let mut links = Links::new(1 << 20, true);
    let (a, b) = (path(0), path(2));
    for (path, work) in [(&a, WorkId(1)), (&b, WorkId(2))] {
        links.see(path, &sighting(1, 2, 0, 0), false);
        links.sent(path, work, *path == b);
        links.confirmed(path, work);
    }
    (links, a, b)
}

proptest! {
    #[test]
    fn names_are_followed_only_where_the_sink_has_confirmed_them(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        const BYTES_MAX: usize = 64 << 10;
        let mut links = Links::new(BYTES_MAX, true);
        let mut works = 0;
        // What is on its way to a path, and what the sink has there: object and version.
        let mut sent: HashMap<RelPath, (WorkId, u64, i64)> = HashMap::new();
        let mut confirmed: HashMap<RelPath, (u64, i64)> = HashMap::new();

        for (moment, step) in (0_i64..).zip(steps) {
            match step {
                Step::Look { path: index, object, names, version, is_touched } => {
                    let path = path(index);
                    let seen = sighting(object, names, version, moment);
                    let others = links.see(&path, &seen, is_touched);
                    prop_assert!(others.iter().all(|(other, _)| *other != path));
                    let need = if is_touched { Need::Content } else { Need::Metadata };
                    works += 1;
                    match links.course(&path, need, |_| false) {
                        Course::Follow(to) => {
                            prop_assert_eq!(confirmed.get(&to), Some(&(object, version)));
                            prop_assert_ne!(&to, &path);
                            links.sent(&path, WorkId(works), true);
                        }
                        Course::Lead { needs_content } if needs_content || is_touched => {
                            for left in links.sent_whole(&path, WorkId(works), &seen) {
                                confirmed.remove(&left);
                            }
                        }
                        Course::Lead { .. } => links.sent(&path, WorkId(works), false),
                        Course::Wait(_) => prop_assert!(false, "nothing is under way"),
                    }
                    sent.insert(path.clone(), (WorkId(works), object, version));
                    confirmed.remove(&path);
                }
                Step::Confirm { path: index } => {
                    let path = path(index);
                    if let Some((work, object, version)) = sent.remove(&path) {
                        prop_assert_eq!(links.confirmed(&path, WorkId(work.0 + 1_000)), []);
                        links.confirmed(&path, work);
                        confirmed.insert(path, (object, version));
                    }
                }
                Step::Refuse { path: index, is_stale } => {
                    let path = path(index);
                    if let Some((work, ..)) = sent.remove(&path) {
                        links.refused(&path, work, is_stale);
                    }
                }
                Step::Forget { path: index } => {
                    links.forget(&path(index));
                    prop_assert!(!links.is_confirmed(&path(index)));
                }
                Step::Rebase { from, to } if from != to => {
                    links.rebase(&path(from), &path(to));
                    prop_assert!(!links.is_confirmed(&path(to)));
                }
                Step::Rebase { .. } => {}
                Step::Search => {
                    links.take_news();
                    if links.needs_search() {
                        links.search_begins();
                        prop_assert!(!links.search_ended(), "nothing new was seen meanwhile");
                    }
                }
            }
            links.take_doubtful();
            prop_assert!(links.used_bytes() <= BYTES_MAX);
        }
        for index in 0..PATHS.len() {
            links.forget_within(&path(index));
        }
        links.forget_within(&RelPath::root());
        prop_assert_eq!(links.used_bytes(), 0);
    }
}

#[test]
fn a_second_name_follows_the_first_and_the_rest_is_searched_for_once() {
    let mut links = Links::new(1 << 20, true);
    let (a, b) = (path(0), path(2));
    links.see(&a, &sighting(1, 1, 0, 0), true);
    links.sent_whole(&a, WorkId(1), &sighting(1, 1, 0, 0));
    links.confirmed(&a, WorkId(1));

    assert_eq!(links.see(&b, &sighting(1, 3, 0, 1), true), [(a.clone(), Need::Metadata)]);
    assert_eq!(links.course(&b, Need::Content, |_| false), Course::Follow(a.clone()));
    assert!(links.take_news());
    assert!(links.needs_search());
    links.search_begins();
    assert!(!links.search_ended());

    links.see(&b, &sighting(1, 3, 0, 1), false);
    assert!(!links.take_news());
    links.see(&b, &sighting(1, 4, 0, 2), false);
    assert!(links.take_news());
}

#[test]
fn names_are_searched_for_though_the_only_one_that_was_known_is_gone() {
    let mut links = Links::new(1 << 20, true);
    links.see(&path(2), &sighting(1, 2, 0, 0), true);
    links.forget(&path(2));

    assert!(links.needs_search(), "through it the other one may have been changed");
    links.search_begins();
    assert!(!links.search_ended() && !links.needs_search());
}

#[test]
fn a_new_name_has_the_others_looked_at_if_one_of_them_must_be_none_any_more() {
    let (mut links, a, b) = pair();
    let others = links.see(&path(3), &sighting(1, 3, 0, 0), false);
    assert_eq!(others, [], "all three are there");
    let others = links.see(&path(4), &sighting(1, 3, 0, 0), false);
    assert_eq!(others, [&a, &b, &path(3)].map(|name| (name.clone(), Need::Metadata)));
}

#[test]
fn a_write_through_one_name_makes_the_others_follow_anew() {
    let (mut links, a, b) = pair();
    assert!(links.is_confirmed(&a) && links.is_confirmed(&b));

    // Size and time are the same; only the stamp tells.
    let touched = sighting(1, 2, 0, 5);
    assert_eq!(links.see(&b, &touched, true), [(a.clone(), Need::Content)]);
    assert_eq!(links.course(&b, Need::Content, |_| false), Course::Lead { needs_content: true });
    assert_eq!(links.course(&a, Need::Content, |name| *name == b), Course::Wait(b.clone()));
    assert_eq!(links.sent_whole(&b, WorkId(3), &touched), []);
    assert_eq!(links.confirmed(&b, WorkId(3)), std::slice::from_ref(&a));
    assert_eq!(links.course(&a, Need::Content, |_| false), Course::Follow(b));
}

#[test]
fn what_was_only_looked_at_is_sent_with_its_content_once_that_is_doubted() {
    let (mut links, a, b) = pair();
    let seen = sighting(1, 2, 0, 0);

    links.see(&a, &seen, true);
    assert_eq!(links.course(&a, Need::Content, |_| false), Course::Lead { needs_content: true });
    links.sent_whole(&a, WorkId(3), &seen);
    links.confirmed(&a, WorkId(3));

    assert_eq!(links.course(&b, Need::Content, |_| false), Course::Follow(a));
}

#[test]
fn what_was_reported_is_not_followed_before_it_has_been_read() {
    let (mut links, a, b) = pair();
    let c = path(4);
    let seen = sighting(1, 3, 0, 1);
    // Reported while work 7 was the newest, and put off.
    links.reported(&a, WorkId(7));
    links.see(&c, &seen, true);
    let lead = Course::Lead { needs_content: true };
    assert_eq!(links.course(&c, Need::Content, |_| false), lead);
    links.sent_whole(&c, WorkId(7), &seen);
    links.confirmed(&c, WorkId(7));
    assert_eq!(links.course(&b, Need::Content, |_| false), lead, "read before the report, perhaps");
    links.sent_whole(&b, WorkId(8), &seen);
    links.confirmed(&b, WorkId(8));
    assert_eq!(links.course(&c, Need::Content, |_| false), Course::Follow(b));
}

#[test]
fn of_a_name_that_was_only_removed_the_others_keep_their_content() {
    for (reports, need) in [(1, Need::Metadata), (2, Need::Content)] {
        let (mut links, a, b) = pair();
        for _ in 0..reports {
            links.reported(&a, WorkId(7));
        }
        links.missed(&a);
        links.forget(&a);
        assert_eq!(links.take_doubtful(), [(b, need)], "{reports} reports");
    }
}

#[test]
fn a_name_waits_for_another_on_its_way_though_what_that_follows_is_gone() {
    let mut links = Links::new(1 << 20, true);
    let (a, b, c) = (path(0), path(1), path(4));
    let seen = sighting(1, 3, 0, 0);
    links.see(&a, &seen, false);
    links.sent(&a, WorkId(1), false);
    links.confirmed(&a, WorkId(1));
    links.see(&b, &seen, false);
    links.sent(&b, WorkId(2), true);
    links.forget(&a);

    links.see(&c, &sighting(1, 2, 0, 1), false);

    let course = links.course(&c, Need::Metadata, |name| *name == b);
    assert_eq!(course, Course::Wait(b.clone()));
    links.confirmed(&b, WorkId(2));
    assert_eq!(links.course(&c, Need::Metadata, |_| false), Course::Follow(b));
}

#[test]
fn what_followed_a_name_that_is_something_else_by_now_is_sent_with_its_content() {
    let mut links = Links::new(1 << 20, true);
    let (a, b) = (path(0), path(1));
    let seen = sighting(1, 2, 0, 0);
    links.see(&a, &seen, false);
    links.sent(&a, WorkId(1), false);
    links.confirmed(&a, WorkId(1));
    links.see(&b, &seen, false);
    links.sent(&b, WorkId(2), true);
    links.see(&a, &sighting(2, 1, 0, 1), true);
    links.take_doubtful();

    assert_eq!(links.confirmed(&b, WorkId(2)), []);

    assert!(!links.is_confirmed(&b));
    assert_eq!(links.take_doubtful(), [(b, Need::Content)]);
}

#[test]
fn a_name_that_is_listed_as_the_only_one_of_its_thing_is_no_name_of_another() {
    let mut links = Links::new(1 << 20, true);
    for index in [2, 3] {
        links.see(&path(index), &sighting(1, 2, 0, 0), false);
    }
    let missing = |found: Found| {
        let directory = RelPath::new(b"a").expect("a path");
        links.missing(&directory, None, None, |name| {
            Some(if name == b"b" { found } else { Found::Other })
        })
    };

    assert_eq!(missing(Found::Other), []);
    assert_eq!(missing(Found::Directory), []);
    assert_eq!(missing(Found::Single), [path(2)]);
}

#[test]
fn what_may_have_been_seen_earlier_than_something_else_is_looked_at_once_more() {
    let mut links = Links::new(1 << 20, true);
    let (a, b) = (path(0), path(2));
    let with_mode = |mode, changed| {
        let mut seen = sighting(1, 2, 0, changed);
        seen.metadata.mode = mode;
        seen
    };
    links.see(&a, &with_mode(0o600, 1), false);
    links.see(&a, &with_mode(0o644, 2), false);
    assert_eq!(links.take_doubtful(), []);

    links.see(&b, &with_mode(0o600, 1), false);

    assert_eq!(links.take_doubtful(), [(b.clone(), Need::Metadata)]);
    // Should a clock have gone back, that is the end of it.
    links.see(&b, &with_mode(0o600, 1), false);
    assert_eq!(links.take_doubtful(), []);
}

#[test]
fn a_look_from_before_the_content_was_read_names_nothing_until_it_is_repeated() {
    let mut links = Links::new(1 << 20, true);
    let (a, b) = (path(0), path(2));
    let (old, new) = (sighting(1, 2, 0, 1), sighting(1, 2, 0, 2));
    links.see(&a, &new, true);
    links.sent_whole(&a, WorkId(1), &new);
    links.confirmed(&a, WorkId(1));

    links.see(&b, &old, false);
    assert!(links.is_overtaken(&b, &old));
    // Should a clock have gone back, that is the end of it.
    links.see(&b, &old, false);
    assert!(!links.is_overtaken(&b, &old));

    links.see(&b, &new, false);
    assert!(!links.is_overtaken(&b, &new));
}

#[test]
fn of_what_is_moved_to_the_place_of_another_name_all_names_are_looked_at() {
    let mut links = Links::new(1 << 20, true);
    let (a, b, c) = (path(0), path(1), path(4));
    let seen = sighting(1, 2, 0, 0);
    for (path, work) in [(&a, WorkId(1)), (&b, WorkId(2)), (&c, WorkId(3))] {
        links.see(path, &seen, false);
        links.sent(path, work, *path != a);
        links.confirmed(path, work);
    }
    links.rebase(&a, &c);

    assert_eq!(links.moved(&c), [b, c]);
}

#[test]
fn without_room_nothing_is_known_and_every_name_leads() {
    let mut links = Links::new(1_000, true);
    let mut led = 0;
    for index in 0..PATHS.len() {
        links.see(&path(index), &sighting(1, 9, 0, 0), true);
        let course = links.course(&path(index), Need::Content, |_| false);
        led += u32::from(course == Course::Lead { needs_content: false });
        assert!(links.used_bytes() <= 1_000);
    }
    assert_eq!(led, 6);
    assert!(links.take_overflow());
    assert!(!links.take_overflow());
    assert!(links.needs_search());
}
