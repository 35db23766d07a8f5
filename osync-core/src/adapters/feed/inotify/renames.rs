//! The two halves of a rename, brought together by the kernel's cookie.
//!
//! The kernel queues both halves within a microsecond, but events of other processors may come in
//! between, so a first half waits a moment while unrelated events pass it by. A half that stays alone is
//! a move out of, or into, the tree.

use std::time::{Duration, Instant};

use crate::model::rel_path::RelPath;

/// How long a first half waits for its second.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// First halves that still wait for their second, oldest first.
#[derive(Debug, Default)]
pub(super) struct Renames {
    departed: Vec<Departed>,
}

#[derive(Debug)]
struct Departed {
    from: RelPath,
    cookie: usize,
    give_up: Instant,
}

impl Renames {
    /// Takes the first half.
    pub(super) fn depart(&mut self, from: RelPath, cookie: usize, now: Instant) {
        self.departed.push(Departed { from, cookie, give_up: now + WAIT_MAX });
    }

    /// Where what has just arrived with `cookie` came from; `None` if it came from outside.
    pub(super) fn arrive(&mut self, cookie: usize) -> Option<RelPath> {
        let index = self.departed.iter().position(|departed| departed.cookie == cookie)?;
        Some(self.departed.remove(index).from)
    }

    /// Gives up on first halves at or above `path`: something else has happened there since.
    pub(super) fn give_up_above(&mut self, path: &RelPath) -> Vec<RelPath> {
        self.give_up_where(|departed| path.is_within(&departed.from))
    }

    /// Gives up on first halves that have waited long enough.
    pub(super) fn give_up_late(&mut self, now: Instant) -> Vec<RelPath> {
        self.give_up_where(|departed| departed.give_up <= now)
    }

    /// Gives up on all first halves.
    pub(super) fn give_up_all(&mut self) -> Vec<RelPath> {
        self.give_up_where(|_| true)
    }

    /// When the next first half has waited long enough.
    pub(super) fn next_give_up(&self) -> Option<Instant> {
        self.departed.first().map(|departed| departed.give_up)
    }

    fn give_up_where(&mut self, is_lost: impl Fn(&Departed) -> bool) -> Vec<RelPath> {
        self.departed
            .extract_if(.., |departed| is_lost(departed))
            .map(|departed| departed.from)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn halves_pair_by_cookie_across_other_renames() {
        let mut renames = Renames::default();
        let now = Instant::now();
        renames.depart(path("a"), 1, now);
        renames.depart(path("b"), 2, now);

        assert_eq!(renames.arrive(2), Some(path("b")));
        assert_eq!(renames.arrive(1), Some(path("a")));
        assert_eq!(renames.arrive(1), None);
    }

    #[test]
    fn a_half_is_given_up_when_its_path_is_used_again_or_time_is_up() {
        let mut renames = Renames::default();
        let now = Instant::now();
        renames.depart(path("a"), 1, now);
        renames.depart(path("b"), 2, now);

        assert_eq!(renames.give_up_above(&path("a/x")), [path("a")]);
        assert!(renames.give_up_late(now).is_empty());
        assert_eq!(renames.give_up_late(now + WAIT_MAX), [path("b")]);
        assert_eq!(renames.next_give_up(), None);
    }
}
