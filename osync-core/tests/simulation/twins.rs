//! Directories that look as others do, with other contents in them, and take each other's names.
//!
//! Size and time of every file are the same, so nothing but the rename tells that they differ. It is reported, or is an
//! arrival from outside; where nobody watches, and before a sink that may have come with a copy of its own is known, what
//! equals by size and time is believed.

use osync_core::model::rel_path::RelPath;

use crate::operations::{Notice, join};
use crate::oracle::Shape;
use crate::world::World;

impl World {
    /// Whether a rename from `from` to `to` is believed as long as it is not reported.
    pub(crate) fn is_unseen_twin(&mut self, from: &RelPath, to: &RelPath) -> bool {
        self.mood.twins_permille > 0 && !(self.is_watched(from) && self.is_watched(to))
    }

    fn is_watched(&mut self, path: &RelPath) -> bool {
        self.all_have_come |= self.source.known_sinks(self.now) == self.sinks.len();
        self.source.is_up()
            && self.all_have_come
            && self.source.feed.sees_all(self.now)
            && !self.is_below_walk(path)
    }

    /// Exchanges two names, by way of a third or at once.
    pub(crate) fn swap_somehow(&mut self, one: &RelPath) {
        if self.mood.twins_permille > 0 && self.random.chance(500) {
            self.exchange(one);
        } else {
            self.swap(one);
        }
    }

    /// Exchanges two directories in one step, of which two renames tell.
    fn exchange(&mut self, one: &RelPath) {
        let Some(other) = self.some_of(Shape::Directory) else { return };
        let is_directory = self.oracle.shape(one) == Some(Shape::Directory);
        let are_apart = !one.is_within(&other) && !other.is_within(one);
        if !is_directory || !are_apart || self.is_unseen_twin(one, &other) {
            return;
        }
        let aside = join(&one.parent().unwrap_or_else(RelPath::root), "exchanged");
        let Some(aside) = aside else { return };
        for (from, to) in [(one, &aside), (&other, one), (&aside, &other)] {
            self.source.tree.rename(from.as_bytes(), to.as_bytes());
            self.oracle.moved(from, to, self.now);
        }
        for (from, to) in [(one, &other), (&other, one)] {
            self.notice(Notice::Renamed { from: from.clone(), to: to.clone() });
        }
    }

    /// Makes a directory look as another one.
    pub(crate) fn twin(&mut self) {
        let Some(from) = self.some_of(Shape::Directory) else { return };
        let to = self.free_or_taken_path();
        let is_taken = self.oracle.shape(&to).is_some() || to.is_within(&from);
        if is_taken || from.is_within(&to) || !self.is_watched(&to) {
            return;
        }
        let paths = self.oracle.paths_within(&from);
        for path in &paths {
            let Ok(Some(copy)) = path.rebased(&from, &to) else { continue };
            match self.oracle.shape(path) {
                Some(Shape::Directory) => self.make_directory(&copy),
                Some(Shape::File) => {
                    let Some(seen) = self.source.tree.look(path.as_bytes()) else { continue };
                    let bytes = usize::try_from(seen.kind.size_bytes()).expect("small");
                    self.write(&copy, bytes);
                    self.source.tree.set_modified(copy.as_bytes(), seen.modified);
                }
                Some(Shape::Other) | None => {}
            }
        }
    }
}
