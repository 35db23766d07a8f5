//! Who shares a reading with whom: nobody is given what may be older than what he knows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use osync_core::model::change::{Change, Touch};
use osync_core::model::name::Name;
use osync_core::model::need::Need;
use osync_core::model::nodes::Nodes;
use osync_core::model::rel_path::RelPath;
use osync_core::model::work_id::WorkId;
use osync_core::protocol::source::job::{Job, Missing};
use osync_core::queue::mark::Lane;
use osync_core::runtime::read;
use osync_core::runtime::sharing::{Member, Shared, Sharing, Ticket};
use osync_core::runtime::waiting::Waiting;
use osync_core::testing::mem_tree::MemTree;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

/// The first piece of work of a session.
fn member(session: u64) -> Member {
    (session, WorkId(1))
}

fn look(directory: &str, name: &str) -> Arc<Job> {
    look_at(directory, &[name], Missing::IsTold)
}

fn look_at(directory: &str, names: &[&str], missing: Missing) -> Arc<Job> {
    let name = |name: &&str| (Name::new(name.as_bytes()).unwrap(), Need::Content);
    Arc::new(Job::Look {
        directory: path(directory),
        names: names.iter().map(name).collect(),
        inline_bytes_max: 1 << 20,
        takes_linked: false,
        batch_bytes_max: 1 << 20,
        missing,
        nodes: Nodes::NONE,
    })
}

/// A source that three sessions have asked for something.
struct Source {
    tree: MemTree,
    sharing: Sharing,
    now: Instant,
}

impl Source {
    fn new() -> Self {
        let tree = MemTree::new();
        for name in ["a/f", "a/g", "a/b/f", "ab/f"] {
            tree.write(name, "content");
        }
        let mut source = Self { tree, sharing: Sharing::default(), now: Instant::now() };
        for session in 1..=3 {
            source.order(&look("none", &session.to_string()), session);
        }
        source
    }

    fn ask(&mut self, job: &Arc<Job>, session: u64) -> Shared {
        self.sharing.join(Lane::Backlog, false, job, member(session), self.now)
    }

    fn order(&mut self, job: &Arc<Job>, session: u64) -> Arc<Ticket> {
        match self.ask(job, session) {
            Shared::Ordered(ticket) => ticket,
            other @ (Shared::Joined | Shared::Done { .. }) => panic!("shared: {other:?}"),
        }
    }

    fn read(&mut self, job: &Arc<Job>, ticket: &Ticket) -> Vec<Member> {
        let now = self.now;
        ticket.begin(now);
        let done = read::perform(&self.tree, &Waiting::never(), job, &mut None, || now);
        self.sharing.end(job, ticket, &done, now)
    }

    /// The first session has had `job` read just now.
    fn keep(&mut self, job: &Arc<Job>) {
        let ticket = self.order(job, 1);
        assert_eq!(self.read(job, &ticket), [member(1)]);
    }

    /// Whether the second gets `job` without a reading.
    fn is_kept(&mut self, job: &Arc<Job>) -> bool {
        matches!(self.ask(job, 2), Shared::Done { .. })
    }
}

#[test]
fn nobody_gets_what_was_begun_before_another_reading_of_the_same_names() {
    let newer = [look_at("a", &["g", "f"], Missing::IsTold), look("a/f", "below")];
    for newer in newer {
        let mut source = Source::new();
        let job = look("a", "f");
        source.keep(&job);
        let ticket = source.order(&newer, 2);
        source.now += Duration::from_millis(1);
        source.read(&newer, &ticket);

        assert!(!source.is_kept(&job), "{newer:?}");
    }
    let mut source = Source::new();
    let job = look("a", "f");
    source.keep(&job);
    let other = look("a", "g");
    let ticket = source.order(&other, 2);
    source.read(&other, &ticket);

    assert!(source.is_kept(&job));
}

#[test]
fn equal_jobs_join_one_that_waits_or_is_under_way() {
    let mut source = Source::new();
    let job = look("a", "f");
    let ticket = source.order(&job, 1);

    assert!(matches!(source.ask(&job, 2), Shared::Joined));
    ticket.begin(source.now);
    assert!(matches!(source.ask(&job, 3), Shared::Joined));

    assert_eq!(source.read(&job, &ticket), [member(1), member(2), member(3)]);
}

#[test]
fn what_was_read_is_kept_until_each_session_has_had_it_once() {
    let mut source = Source::new();
    let job = look("a", "f");
    source.keep(&job);

    assert!(source.is_kept(&job));
    assert!(!source.is_kept(&job), "who asks again was not content with it");
}

#[test]
fn nothing_is_kept_for_one_sink_alone() {
    let mut source = Source::new();
    source.sharing.leave(2);
    source.sharing.leave(3);
    let job = look("a", "f");

    source.keep(&job);

    assert!(matches!(source.ask(&job, 3), Shared::Ordered(_)));
}

#[test]
fn a_session_shares_nothing_that_was_begun_before_it() {
    let mut source = Source::new();
    let job = look("a", "f");
    source.keep(&job);

    assert!(matches!(source.ask(&job, 4), Shared::Ordered(_)));
}

#[test]
fn a_report_voids_what_was_read_in_that_directory_or_below() {
    let entry = |text| Change::Entry { path: path(text), touch: Touch::Settled };
    let lost = Change::Lost { scope: path("ab"), reason: String::new() };
    for (change, is_void) in [
        (entry("a/f"), true),
        (entry("a/new"), true),
        (entry("a"), true),
        (entry("ab/f"), false),
        (entry("a/b/f"), false),
        (Change::Fence { cookie: 1 }, false),
        (Change::Ready, true),
        (lost, true),
        (Change::Subtree { path: RelPath::root() }, true),
        (Change::Renamed { from: path("ab"), to: path("a/c"), is_directory: true }, true),
        (Change::Renamed { from: path("a"), to: path("c"), is_directory: true }, true),
    ] {
        let mut source = Source::new();
        let job = look("a", "f");
        source.keep(&job);

        source.sharing.on_change(&change);

        assert_eq!(!source.is_kept(&job), is_void, "{change:?}");
    }
}

#[test]
fn a_report_leaves_what_is_under_way_to_those_who_asked_before() {
    let mut source = Source::new();
    let job = look("a", "f");
    let ticket = source.order(&job, 1);
    ticket.begin(source.now);
    assert!(matches!(source.ask(&job, 2), Shared::Joined));

    source.sharing.on_change(&Change::Entry { path: path("a/f"), touch: Touch::Settled });
    let later = source.order(&job, 3);

    assert_eq!(source.read(&job, &ticket), [member(1), member(2)]);
    assert_eq!(source.read(&job, &later), [member(3)]);
}

#[test]
fn what_is_to_be_removed_and_whether_the_root_is_there_is_asked_anew() {
    let removal = look_at("a", &["f"], Missing::IsRemoved);
    for job in [removal, look_at("", &[], Missing::IsTold)] {
        let mut source = Source::new();
        let ticket = source.order(&job, 1);
        assert!(matches!(source.ask(&job, 2), Shared::Joined), "neither has begun");
        ticket.begin(source.now);
        let later = source.order(&job, 3);

        assert_eq!(source.read(&job, &ticket), [member(1), member(2)]);
        assert_eq!(source.read(&job, &later), [member(3)]);
        assert!(!source.is_kept(&job));
    }
}

#[test]
fn what_is_missing_or_has_other_names_is_not_kept() {
    for name in ["none", "g"] {
        let mut source = Source::new();
        assert!(source.tree.link("ab/g", "a/g"));
        let job = look("a", name);

        source.keep(&job);

        assert!(!source.is_kept(&job), "{name}");
    }
}

#[test]
fn a_look_that_tells_of_links_voids_everything() {
    let mut source = Source::new();
    source.tree.link("ab/g", "a/g");
    let kept = look("a", "f");
    source.keep(&kept);

    source.keep(&look("ab", "g"));

    assert!(!source.is_kept(&kept));
}

#[test]
fn no_more_is_kept_than_allowed_and_not_for_long() {
    let mut source = Source::new();
    let directories: Vec<String> = (0..50).map(|number| format!("large/{number}")).collect();
    for directory in &directories {
        source.tree.write(format!("{directory}/f"), vec![1; 1_000_000]);
        source.keep(&look(directory, "f"));
    }

    assert!(!source.is_kept(&look("large/0", "f")));
    assert!(source.is_kept(&look("large/49", "f")));
    source.now += Duration::from_secs(3);
    assert!(!source.is_kept(&look("large/48", "f")));
}
