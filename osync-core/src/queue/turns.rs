//! Which lane goes first: live work, but for every so many turns, so that the backlog ends even under constant change.

use crate::queue::mark::Lane;

/// Of so many turns one is the backlog's.
const BACKLOG_SHARE: u32 = 20;

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    /// The backlog's at zero.
    turn: u32,
}

impl Turns {
    /// Has `begin` begin one thing of a lane, which says whether it did; `false` if there is nothing or no room in
    /// either. A turn of the backlog for which there is no room stays its turn.
    pub fn take(&mut self, mut begin: impl FnMut(Lane) -> bool) -> bool {
        if self.turn == 0 && begin(Lane::Backlog) {
            self.turn = 1;
            return true;
        }
        if begin(Lane::Live) {
            if self.turn > 0 {
                self.turn = (self.turn + 1) % BACKLOG_SHARE;
            }
            return true;
        }
        self.turn > 0 && begin(Lane::Backlog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which lanes begin in `count` turns, where the backlog has room as `has_room` says, and live work always.
    fn begun(count: usize, has_room: impl Fn(usize) -> bool) -> Vec<Lane> {
        let mut turns = Turns::default();
        let mut begun = Vec::new();
        for turn in 0..count {
            assert!(turns.take(|lane| {
                let begins = lane == Lane::Live || has_room(turn);
                begun.extend(begins.then_some(lane));
                begins
            }));
        }
        begun
    }

    #[test]
    fn under_constant_change_the_backlog_has_its_share() {
        let lanes = begun(10 * 20, |_| true);

        assert_eq!(lanes.iter().filter(|lane| **lane == Lane::Backlog).count(), 10);
    }

    #[test]
    fn a_turn_without_room_stays_the_turn_of_the_backlog() {
        // Room never comes when its turn would, if that were over with it.
        let lanes = begun(40, |turn| turn % 20 == 7);

        assert_eq!(lanes.iter().position(|lane| *lane == Lane::Backlog), Some(7));
        assert_eq!(lanes.iter().filter(|lane| **lane == Lane::Backlog).count(), 2);
    }

    #[test]
    fn without_live_work_every_turn_is_the_backlogs() {
        let mut turns = Turns::default();

        assert!((0..50).all(|_| turns.take(|lane| lane == Lane::Backlog)));
        assert!(!turns.take(|_| false));
    }
}
