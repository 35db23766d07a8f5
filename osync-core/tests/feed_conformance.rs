//! The feeds keep the contract of the port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod feed;

use osync_core::testing::conformance::change_feed as suite;

use crate::feed::{ChannelFixture, InotifyFixture};

macro_rules! conforms {
    ($module:ident, $fixture:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn covers_single_changes() {
                suite::covers_single_changes(&$fixture);
            }

            #[test]
            fn covers_new_directories() {
                suite::covers_new_directories(&$fixture);
            }

            #[test]
            fn covers_moves_across_the_border() {
                suite::covers_moves_across_the_border(&$fixture);
            }

            #[test]
            fn covers_directories_that_replace_others() {
                suite::covers_directories_that_replace_others(&$fixture);
            }

            #[test]
            fn pairs_renames() {
                suite::pairs_renames(&$fixture);
            }

            #[test]
            fn fences_follow_what_they_fence() {
                suite::fences_follow_what_they_fence(&$fixture);
            }

            #[test]
            fn stops() {
                suite::stops(&$fixture);
            }

            #[test]
            fn churn_converges() {
                let losses: usize =
                    (0..6).map(|seed| suite::churn_converges(&$fixture, seed, 2_000)).sum();

                // A loss would mend whatever a hint had missed, and so hide it.
                assert_eq!(losses, 0);
            }
        }
    };
}

conforms!(inotify, InotifyFixture::new());
conforms!(channel, ChannelFixture::new());
