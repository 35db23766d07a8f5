//! Signals on their way from `notify`'s thread to the driver.
//!
//! Putting never waits. Touches of a path that is already waiting are merged into the one that waits, so a
//! file written in a tight loop takes one place and not thousands. Only touches since the last signal of
//! another sort are merged: the order of appearances, moves and fences stays as it was.
//!
//! Invariant: when signals were dropped, the last one waiting is a [`Signal::Lost`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::adapters::feed::inotify::signal::Signal;
use crate::model::change::Touch;
use crate::model::rel_path::RelPath;

/// 65,536 signals of 40 bytes and a path each: about 10 MiB.
const SIGNALS_MAX: usize = 65_536;

/// The signals that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    signals: VecDeque<Signal>,
    /// Where the touches since the last other signal wait.
    touches: HashMap<RelPath, usize>,
    is_overflown: bool,
}

impl Queue {
    /// Appends `signal`, merges it, or drops it because the queue is full.
    pub(super) fn put(&self, signal: Signal) {
        self.lock().put(signal);
    }

    /// Moves everything that waits to the end of `taken`.
    pub(super) fn take(&self, taken: &mut VecDeque<Signal>) {
        let waiting = std::mem::take(&mut *self.lock());
        taken.extend(waiting.signals);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here calls out, so a panic elsewhere leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, signal: Signal) {
        if self.is_overflown {
            return;
        }
        if let Signal::Touched(path, touch) = &signal {
            if let Some(&index) = self.touches.get(path)
                && let Some(Signal::Touched(_, waiting)) = self.signals.get_mut(index)
            {
                if *touch != Touch::Metadata {
                    *waiting = *touch;
                }
                return;
            }
            self.touches.insert(path.clone(), self.signals.len());
        } else {
            self.touches.clear();
        }
        self.is_overflown = self.signals.len() >= SIGNALS_MAX;
        self.signals.push_back(if self.is_overflown {
            Signal::Lost("the engine is more events behind than the feed holds".to_owned())
        } else {
            signal
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn touched(text: &str, touch: Touch) -> Signal {
        Signal::Touched(path(text), touch)
    }

    fn through_queue(signals: impl IntoIterator<Item = Signal>) -> VecDeque<Signal> {
        let queue = Queue::default();
        for signal in signals {
            queue.put(signal);
        }
        let mut taken = VecDeque::new();
        queue.take(&mut taken);
        taken
    }

    #[test]
    fn touches_of_one_path_merge_and_content_outweighs_metadata() {
        let taken = through_queue([
            touched("a", Touch::Metadata),
            touched("a", Touch::Writing),
            touched("b", Touch::Metadata),
            touched("a", Touch::Settled),
            touched("a", Touch::Metadata),
        ]);

        let expected = [touched("a", Touch::Settled), touched("b", Touch::Metadata)];
        assert_eq!(taken, expected);
    }

    #[test]
    fn touches_do_not_merge_across_other_signals() {
        let signals =
            [touched("a", Touch::Writing), Signal::Fence(0), touched("a", Touch::Writing)];

        assert_eq!(through_queue(signals.clone()), signals);
    }

    #[test]
    fn a_full_queue_ends_in_a_loss() {
        let signals = (0..SIGNALS_MAX + 10).map(|_| Signal::Named(path("a"), Touch::Writing));

        let taken = through_queue(signals);

        assert_eq!(taken.len(), SIGNALS_MAX + 1);
        assert!(matches!(taken.back(), Some(Signal::Lost(_))));
    }
}
