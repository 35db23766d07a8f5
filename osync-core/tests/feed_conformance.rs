//! The feeds keep the contract of the port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod feed;

use osync_core::testing::conformance::change_feed as suite;

use crate::feed::{ChannelFixture, FanotifyFixture, InotifyFixture};

/// Runs the suite on what `$fixture` makes; no fixture, no test.
macro_rules! conforms {
    ($module:ident, $fixture:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn covers_single_changes() {
                let _done = $fixture.map(|fixture| suite::covers_single_changes(&fixture));
            }

            #[test]
            fn covers_new_directories() {
                let _done = $fixture.map(|fixture| suite::covers_new_directories(&fixture));
            }

            #[test]
            fn covers_moves_across_the_border() {
                let _done = $fixture.map(|fixture| suite::covers_moves_across_the_border(&fixture));
            }

            #[test]
            fn covers_directories_that_replace_others() {
                let _done =
                    $fixture.map(|fixture| suite::covers_directories_that_replace_others(&fixture));
            }

            #[test]
            fn pairs_renames() {
                let _done = $fixture.map(|fixture| suite::pairs_renames(&fixture));
            }

            #[test]
            fn fences_follow_what_they_fence() {
                let _done = $fixture.map(|fixture| suite::fences_follow_what_they_fence(&fixture));
            }

            #[test]
            fn stops() {
                let _done = $fixture.map(|fixture| suite::stops(&fixture));
            }

            #[test]
            fn churn_converges() {
                let churn = |seed| {
                    $fixture.map_or(0, |fixture| suite::churn_converges(&fixture, seed, 2_000))
                };
                let losses: usize = (0..6).map(churn).sum();

                // A loss would mend whatever a hint had missed, and so hide it.
                assert_eq!(losses, 0);
            }
        }
    };
}

conforms!(inotify, Some(InotifyFixture::new()));
conforms!(fanotify_on_tmpfs, FanotifyFixture::on_tmpfs());
conforms!(fanotify_on_ext4, FanotifyFixture::on_ext4());
conforms!(channel, Some(ChannelFixture::new()));
