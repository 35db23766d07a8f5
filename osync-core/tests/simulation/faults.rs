//! What goes wrong, and when.

use std::time::Duration;

use osync_core::model::connection::Channel;
use osync_core::model::rel_path::RelPath;

use crate::event::Event;
use crate::mood::Fault;
use crate::operations::Notice;
use crate::oracle::Shape;
use crate::world::World;

impl World {
    /// Something goes wrong.
    pub(crate) fn strike(&mut self) {
        let fault = *self.random.pick(self.mood.faults);
        let sink = self.some_sink();
        self.trace(|| format!("fault {fault:?} of sink {sink}"));
        match fault {
            Fault::CutControl => self.cut(sink, Channel::Control),
            Fault::CutData => self.cut(sink, Channel::Data),
            Fault::CutBoth => self.cut_sink(sink),
            Fault::Partition => self.partition(sink),
            Fault::KillSource if self.source.is_up() => self.kill_source(),
            Fault::KillSink if self.sinks[sink].is_up() => self.kill_sink(sink),
            Fault::EmptySource if !self.source.is_hidden && !self.oracle.paths().is_empty() => {
                self.hide();
                self.repair_later();
            }
            Fault::KillSource | Fault::KillSink | Fault::EmptySource => {}
            Fault::StopSource => self.stop_source(),
            Fault::StopSink => self.stop_sink(sink),
            Fault::UnreachableAtSource => {
                let channel = self.some_channel();
                if let Some(peer) = self.peer(sink, channel) {
                    let incarnation = self.source.incarnation;
                    let event = Event::UnreachableAtSource { incarnation, channel, peer };
                    self.schedule(self.now, event);
                }
            }
            Fault::UnreachableAtSink => {
                let channel = self.some_channel();
                let incarnation = self.sinks[sink].incarnation;
                let event = Event::UnreachableAtSink { sink, incarnation, channel };
                self.schedule(self.now, event);
            }
            Fault::FailReads => {
                let path = self.some_known_path();
                self.source.tree.fail_reads(path.as_bytes());
                self.repair_later();
            }
            Fault::FailWrites => {
                let path = self.some_known_path();
                if self.random.chance(300) {
                    self.sinks[sink].tree.fail_reads(path.as_bytes());
                } else {
                    self.sinks[sink].tree.fail_writes(path.as_bytes());
                }
                self.repair_later();
            }
            Fault::LoseSourceRoot => {
                self.source.tree.lose_root();
                self.repair_later();
            }
            Fault::LoseSinkRoot => {
                self.sinks[sink].tree.lose_root();
                self.repair_later();
            }
            Fault::CutPower => self.cut_power(sink),
            Fault::FailSync => self.sinks[sink].tree.fail_next_sync(),
            Fault::FeedOverflow => {
                if self.source.is_up() {
                    self.overflow(RelPath::root());
                }
            }
            Fault::FeedLosesScope => {
                if self.source.is_up() {
                    let scope = self.some_known_path();
                    self.overflow(scope);
                }
            }
        }
    }

    /// Ends what went wrong in the trees.
    pub(crate) fn repair(&mut self) {
        self.source.tree.clear_failures();
        self.sinks.iter().for_each(|sink| sink.tree.clear_failures());
        if self.source.is_hidden {
            self.hide();
        }
    }

    /// Takes everything away from the source, or brings it back. The oracle is not told that anything was removed, so
    /// nothing may be at the sink either.
    pub(crate) fn hide(&mut self) {
        self.source.tree.hide();
        self.source.is_hidden = !self.source.is_hidden;
        let paths = self.oracle.paths();
        for path in paths.iter().map(|(path, _)| path).chain([&RelPath::root()]) {
            self.oracle.changed(path, self.now);
        }
        for (path, shape) in paths {
            let is_told = path.parent().is_some_and(|parent| parent.is_root());
            if is_told || self.source.is_hidden && self.random.chance(500) {
                self.notice(match (self.source.is_hidden, shape) {
                    (true, _) => Notice::Removed(path),
                    (false, Shape::Directory) => Notice::MadeDirectory(path),
                    (false, Shape::File | Shape::Other) => Notice::Made(path),
                });
            }
        }
    }

    /// A sink's machine stops, and forgets what was not on disk.
    fn cut_power(&mut self, sink: usize) {
        let (side, random) = (&mut self.sinks[sink], &mut self.random);
        side.tree.cut_power(|choices| random.index(choices));
        let judged = side.promises.judge(&side.tree);
        // It may hold what was read at any time.
        side.held.begin_with(&side.tree, self.begun_at);
        self.expect(judged);
        if self.sinks[sink].is_up() {
            self.kill_sink(sink);
        }
    }

    /// A sink and the source hear nothing of each other for a while; then what was sent arrives, or is lost with the
    /// connections.
    fn partition(&mut self, sink: usize) {
        let lasts = if self.random.chance(300) {
            self.random.millis(1_000, 9_000)
        } else {
            self.random.millis(10, 1_000)
        };
        self.hold(sink, lasts);
        if self.random.chance(500) {
            self.schedule(self.now + lasts, Event::CutSink { sink });
        }
    }

    fn repair_later(&mut self) {
        let lasts = self.random.delay(8_000_000) + Duration::from_millis(1);
        self.schedule(self.now + lasts, Event::Repair);
    }

    /// Any of the sinks.
    pub(crate) fn some_sink(&mut self) -> usize {
        if self.sinks.len() > 1 { self.random.index(self.sinks.len()) } else { 0 }
    }

    fn some_channel(&mut self) -> Channel {
        *self.random.pick(&[Channel::Control, Channel::Data])
    }

    fn some_known_path(&mut self) -> RelPath {
        let paths = self.oracle.paths();
        if paths.is_empty() || self.random.chance(50) {
            return RelPath::root();
        }
        self.random.pick(&paths).0.clone()
    }
}
