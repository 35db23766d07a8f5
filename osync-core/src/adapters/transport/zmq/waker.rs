//! Wakes a thread that waits in `zmq::poll`, once per burst.
//!
//! ZeroMQ polls sockets and file descriptors, not crossbeam channels. So whoever puts something into
//! the thread's channel also makes an eventfd readable, which costs a system call, unless it already is:
//!
//! ```text
//! producer   put in; if not pending.swap(true) { write eventfd }
//! thread     poll says readable: read eventfd; pending = false; then drain the channel
//! ```
//!
//! Invariant: what is put in after the thread last found the channel empty makes the eventfd readable.
//! Draining before `pending = false` would break it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};
use zmq::PollItem;

/// See the module.
#[derive(Debug)]
pub(super) struct Waker {
    event: OwnedFd,
    is_pending: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            is_pending: AtomicBool::new(false),
        })
    }

    /// Ends the thread's present or next wait. Call after putting something into its channel.
    pub(super) fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::SeqCst) {
            // Fails only if the counter is full, and then the eventfd is readable all the same.
            rustix::io::write(&self.event, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// Makes the next wait wait again. Drain the channel afterwards, never before.
    pub(super) fn clear(&self) {
        // Fails only if nothing was written.
        rustix::io::read(&self.event, &mut [0; 8]).ok();
        self.is_pending.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// For `zmq::poll`, as long as the waker lives.
    pub(super) fn poll_item(&self) -> PollItem<'_> {
        PollItem::from_fd(self.event.as_raw_fd(), zmq::POLLIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wake_up_is_lost() {
        const ITEMS: u32 = 200_000;
        let waker = Waker::new().unwrap();
        let (sender, receiver) = crossbeam_channel::bounded(64);

        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..ITEMS {
                    sender.send(item).unwrap();
                    waker.wake();
                }
            });
            let mut expected = 0;
            while expected < ITEMS {
                assert_eq!(zmq::poll(&mut [waker.poll_item()], 10_000), Ok(1));
                waker.clear();
                for item in receiver.try_iter() {
                    assert_eq!(item, expected);
                    expected += 1;
                }
            }
        });
    }

    #[test]
    fn a_burst_wakes_once_and_idle_does_not_wake() {
        let waker = Waker::new().unwrap();
        (0..100).for_each(|_| waker.wake());

        assert_eq!(zmq::poll(&mut [waker.poll_item()], 0), Ok(1));
        waker.clear();

        assert_eq!(zmq::poll(&mut [waker.poll_item()], 0), Ok(0));
    }
}
