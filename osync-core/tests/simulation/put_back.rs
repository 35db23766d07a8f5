//! Edits that leave size and time as they were.
//!
//! Between two sources nobody reports them, and only the horizon finds them. While one runs they are reported, but
//! the report may be lost, come before the feed is ready, or be taken up by that of a directory. Not done to files of
//! several names then, nor in a directory that appeared and is not watched yet, nor before a sink that may have come
//! with a copy of its own is known: what equals by size and time then is believed.

use crate::world::World;

impl World {
    /// How many of a thousand operations are such.
    pub(crate) fn put_backs_permille(&self) -> u64 {
        let is_known = self.horizons.len() == self.sinks.len();
        match (self.source.is_up(), is_known) {
            (false, false) => 0,
            (false, true) => 200,
            (true, false) if self.source.known_sinks(self.now) < self.sinks.len() => 0,
            (true, _) => 60,
        }
    }

    /// Gives a file another content of the same size and the time that it had.
    pub(crate) fn put_back(&mut self) {
        let Some(path) = self.some_file() else { return self.write_somewhere() };
        let Some(before) = self.source.tree.look(path.as_bytes()) else { return };
        let bytes = usize::try_from(before.kind.size_bytes()).expect("small");
        if self.source.is_up() && (before.is_linked() || self.is_below_walk(&path)) {
            return;
        }
        self.source.feed.is_exact = true;
        self.write(&path, bytes);
        self.source.feed.is_exact = false;
        self.source.tree.set_modified(path.as_bytes(), before.modified);
    }
}
