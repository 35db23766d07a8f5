//! What goes into one message of small files.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::time::Instant;

use osync_core::model::name::Name;
use osync_core::model::need::Need;
use osync_core::model::nodes::Nodes;
use osync_core::model::rel_path::RelPath;
use osync_core::protocol::source::job::{Done, Job, Looked, Missing, Outcome, Placed};
use osync_core::runtime::read;
use osync_core::runtime::waiting::Waiting;
use osync_core::testing::mem_tree::MemTree;

/// Looks at `names` at the root of `tree` with a limit of `inline_bytes_max` a file and
/// `batch_bytes_max` together.
fn look(tree: &MemTree, names: &[&str], inline_bytes_max: u64, batch_bytes_max: usize) -> Looked {
    let names =
        names.iter().map(|name| (Name::new(name.as_bytes()).unwrap(), Need::Content)).collect();
    let directory = RelPath::root();
    let takes_linked = false;
    let missing = Missing::IsRemovedAlways;
    let nodes = Nodes::NONE;
    let job = Job::Look {
        directory,
        names,
        inline_bytes_max,
        takes_linked,
        batch_bytes_max,
        missing,
        nodes,
    };
    let Done::Looked(looked) =
        read::perform(tree, &Waiting::default(), &job, &mut None, Instant::now)
    else {
        panic!("a look is answered by what was seen");
    };
    looked.unwrap()
}

/// For each name how many bytes of content there are, if it was read.
fn content_bytes(looked: &Looked) -> Vec<Option<u64>> {
    let outcomes = looked.outcomes.iter().map(|outcome| match outcome {
        Outcome::Placed(Placed::Other { content_bytes, .. }) => Some(*content_bytes),
        Outcome::Placed(_)
        | Outcome::Linked(_)
        | Outcome::Large
        | Outcome::Left
        | Outcome::Unsteady
        | Outcome::LeftOut
        | Outcome::Missing
        | Outcome::Changed
        | Outcome::Failed(_) => None,
    });
    outcomes.collect()
}

#[test]
fn a_file_that_would_overfill_a_batch_is_left_for_the_next() {
    let tree = MemTree::new();
    for name in ["a", "b", "c"] {
        tree.write(name, [7; 60]);
    }
    tree.write("d", [7; 30]);

    let looked = look(&tree, &["a", "b", "c", "d"], 60, 100);

    assert_eq!(content_bytes(&looked), [Some(60), None, None, Some(30)]);
    assert_eq!(looked.outcomes[1..3], [Outcome::Left, Outcome::Left]);
    assert_eq!(looked.payload.bytes.len() - looked.items_bytes as usize, 90);
}

#[test]
fn a_single_file_is_read_however_small_the_batch() {
    let tree = MemTree::new();
    tree.write("a", [7; 60]);

    assert_eq!(content_bytes(&look(&tree, &["a"], 60, 10)), [Some(60)]);
    assert_eq!(look(&tree, &["a"], 59, 100).outcomes, [Outcome::Large]);
}
