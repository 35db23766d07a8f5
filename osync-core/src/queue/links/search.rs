//! Things that have names nobody knows.

use crate::queue::links::thing::Thing;
use crate::queue::links::{Links, Room};

impl Links {
    /// Whether something was seen since the last call that has names nobody knows.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Whether names are unknown. Things whose names are known by now are done with.
    pub fn needs_search(&mut self) -> bool {
        let things = &self.things;
        self.incomplete.retain(|object| things.get(object).is_some_and(Thing::lacks_names));
        self.room != Room::Enough || self.is_one_lost || !self.incomplete.is_empty()
    }

    /// The whole tree is looked through from now on.
    pub fn search_begins(&mut self) {
        self.is_one_lost = false;
        for object in &self.incomplete {
            if let Some(thing) = self.things.get_mut(object) {
                thing.searched = Some(thing.names_seen);
            }
        }
    }

    /// The whole tree was looked through: names that are still unknown lie outside of it. Returns whether others are.
    pub fn search_ended(&mut self) -> bool {
        let things = &mut self.things;
        self.incomplete.retain(|object| {
            let Some(thing) = things.get_mut(object).filter(|thing| thing.lacks_names()) else {
                return false;
            };
            let Some(searched) = thing.searched.take() else { return true };
            thing.settled = Some(searched);
            thing.names_seen != searched
        });
        !self.incomplete.is_empty()
    }
}
