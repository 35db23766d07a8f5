//! How long a source's storage keeps its readers waiting, and how much of a batch is then done at once.
//!
//! A warm local disk answers without waiting, and one thread per processor is best. Behind a network, or on
//! a cold disk, a thread mostly waits; then a batch of names is cut into slices that are worked on side by
//! side, each on a thread of its own for the length of that batch, and more readers are started: some file
//! systems, of those in user space most, look names of one directory up one after the other.
//!
//! Waiting is the time that passed without the thread running or waiting for a processor: a busy machine is
//! no reason for more threads. Where the kernel does not tell, everything stays with one thread.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

/// Slices of one batch.
const SLICES_MAX: usize = 32;
/// Slices of the batches of all readers.
const SLICES_ALL_MAX: usize = 64;
/// One more slice for every so much waiting for a name: about what work on a name costs a processor.
const WAIT_PER_SLICE: Duration = Duration::from_micros(25);
/// Waiting for a name that calls for more readers: they cost more than slices.
const WAIT_FOR_READERS: Duration = Duration::from_micros(200);
/// How many names make the average forget half of what it knew, about.
const NAMES_REMEMBERED: u64 = 256;

/// The average waiting for a name, learned from every batch; shared by all readers of one source.
#[derive(Debug, Default)]
pub struct Waiting {
    nanos_per_name: AtomicU64,
    /// Readers that are at work.
    busy: AtomicUsize,
    /// Nothing is learned.
    is_blind: bool,
}

impl Waiting {
    /// For storage that keeps nobody waiting: reads no clock, and everything stays with one thread.
    #[must_use]
    pub fn never() -> Self {
        Self { is_blind: true, ..Self::default() }
    }

    /// Whether the storage is so slow that more readers than processors are worth having.
    #[must_use]
    pub fn calls_for_readers(&self) -> bool {
        u128::from(self.nanos_per_name.load(Ordering::Relaxed)) > WAIT_FOR_READERS.as_nanos()
    }

    /// Does the `work` of a reader, whose slices leave room for those of the others.
    pub fn busy<R>(&self, work: impl FnOnce() -> R) -> R {
        self.busy.fetch_add(1, Ordering::Relaxed);
        let done = work();
        self.busy.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// Whether the storage is so slow that `names` names are worth more than one thread.
    #[must_use]
    pub fn calls_for_slices(&self, names: usize) -> bool {
        self.slices(names) > 1
    }

    /// Does `work` on `items`, in as many slices at once as the waiting so far calls for; the results are
    /// in the order of the slices.
    pub fn in_slices<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&[T]) -> R + Sync,
    ) -> Vec<R> {
        let slices = self.slices(items.len());
        let timed = |slice: &[T]| self.timed(|| work(slice), |_| slice.len());
        if slices == 1 {
            return vec![timed(items)];
        }
        thread::scope(|scope| {
            let begin = |slice| {
                let thread = Builder::new().name("osync-slice".to_owned());
                // Without a thread to be had it is done here.
                thread.spawn_scoped(scope, move || timed(slice)).map_err(|_| timed(slice))
            };
            let threads: Vec<_> = items.chunks(items.len().div_ceil(slices)).map(begin).collect();
            let end = |slice: Result<thread::ScopedJoinHandle<'_, R>, R>| match slice {
                Ok(thread) => {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                }
                Err(done) => done,
            };
            threads.into_iter().map(end).collect()
        })
    }

    /// Does `work` and learns from it how long one of the `names` it was about was waited for.
    pub fn timed<R>(&self, work: impl FnOnce() -> R, names: impl FnOnce(&R) -> usize) -> R {
        if self.is_blind {
            return work();
        }
        let (began, before) = (Instant::now(), not_waited());
        let done = work();
        let (elapsed, names) = (began.elapsed(), names(&done).max(1));
        // Whatever of so little was waiting calls for nothing, and the kernel is not asked again.
        if elapsed.as_nanos() < WAIT_PER_SLICE.as_nanos() * names as u128 {
            self.learn(Duration::ZERO, names);
        } else if let Some(before) = before
            && let Some(after) = not_waited()
        {
            self.learn(elapsed.saturating_sub(after.saturating_sub(before)), names);
        }
        done
    }

    fn learn(&self, waited: Duration, names: usize) {
        let names = u64::try_from(names).unwrap_or(u64::MAX);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let Some(sample) = nanos.checked_div(names) else { return };
        let weight = names.min(NAMES_REMEMBERED);
        let known = self.nanos_per_name.load(Ordering::Relaxed);
        // Two readers that learn at once may lose what one of them learned.
        let all = NAMES_REMEMBERED + weight;
        let average = known / all * NAMES_REMEMBERED + sample / all * weight;
        self.nanos_per_name.store(average, Ordering::Relaxed);
    }

    fn slices(&self, names: usize) -> usize {
        let nanos = u128::from(self.nanos_per_name.load(Ordering::Relaxed));
        let wanted = usize::try_from(nanos / WAIT_PER_SLICE.as_nanos()).unwrap_or(SLICES_MAX);
        let room = SLICES_ALL_MAX / self.busy.load(Ordering::Relaxed).max(1);
        wanted.min(SLICES_MAX).min(room).min(names).max(1)
    }
}

/// How long this thread has run or waited for a processor since it began, as far as the kernel tells.
fn not_waited() -> Option<Duration> {
    thread_local! {
        static STATISTICS: OnceCell<Option<File>> = const { OnceCell::new() };
    }
    STATISTICS.with(|statistics| {
        let file = statistics.get_or_init(|| File::open("/proc/thread-self/schedstat").ok());
        let mut buffer = [0; 64];
        let length = file.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let (running, queued) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Duration::from_nanos(running + queued))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_storage_is_asked_for_many_names_at_once() {
        let waiting = Waiting::default();
        let names: Vec<u32> = (0..64).collect();
        let ask = |slice: &[u32]| {
            thread::sleep(Duration::from_millis(slice.len() as u64));
            slice.to_vec()
        };

        assert_eq!(waiting.in_slices(&names, ask).len(), 1, "nothing is known yet");
        let began = Instant::now();
        let asked = waiting.in_slices(&names, ask);

        assert!(asked.len() > 4, "{} slices", asked.len());
        assert_eq!(asked.concat(), names, "in their order");
        assert!(began.elapsed() < Duration::from_millis(64), "{:?}", began.elapsed());
        assert!(!waiting.calls_for_slices(1), "one name is one slice");
    }

    #[test]
    fn a_busy_processor_is_not_slow_storage() {
        let names = [0_u32; 64];
        let is_told_apart = || {
            let waiting = Waiting::default();
            for _ in 0..8 {
                waiting.in_slices(&names, |slice| {
                    let until = Instant::now() + Duration::from_millis(4);
                    while Instant::now() < until {
                        std::hint::black_box(slice);
                    }
                });
            }
            !waiting.calls_for_slices(64)
        };

        // What a hypervisor takes for others counts for nothing here, and looks like waiting.
        assert!((0..20).any(|_| is_told_apart()));
    }
}
