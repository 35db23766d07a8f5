//! Many directories made, moved and removed at once, followed by hints alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::testing::conformance::change_feed::Fixture;
use crate::testing::conformance::change_feed::deeds::Deeds;
use crate::testing::conformance::change_feed::mirror::Mirror;
use crate::testing::conformance::change_feed::watcher::Watcher;

/// Threads that change the tree.
const THREADS: u64 = 2;

/// Follows `deeds` random changes, from `seed`, by hints alone; returns how often reports were lost.
///
/// Whoever looks again where the hints say so must know the tree when a fence sent after the last change
/// is back, and must hear of a new file in every directory then: none may have gone deaf.
pub fn churn_converges(fixture: &dyn Fixture, seed: u64, deeds: usize) -> usize {
    let deed = Deeds::new(fixture);
    for (index, name) in ["a", "b/c", "d/a/b"].into_iter().enumerate() {
        deed.make_directories(name);
        deed.write(&format!("{name}/{index}"));
    }
    let mut watcher = Watcher::start(fixture);
    let mut mirror = Mirror::new(deed.root());

    let at_work = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            at_work.fetch_add(1, Ordering::SeqCst);
            let at_work = &at_work;
            scope.spawn(move || {
                let mut dice = Dice(seed * THREADS + thread);
                for _ in 0..deeds {
                    // Most hit a path that is not there; that is what random paths are like.
                    drop(random_deed(deed, &mut dice, thread));
                    if dice.below(20) == 0 {
                        // Gives the feed a chance to be level at times.
                        std::thread::sleep(Duration::from_micros(dice.below(500)));
                    }
                }
                at_work.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while at_work.load(Ordering::SeqCst) > 0 {
            match watcher.try_next() {
                Some(change) => mirror.follow(&change),
                None => std::thread::yield_now(),
            }
        }
    });
    watcher.fence_with(|change| mirror.follow(&change));
    assert_eq!(mirror.difference(), None, "seed {seed}");

    let directories: Vec<_> = mirror.directories().cloned().collect();
    for directory in &directories {
        let name = String::from_utf8_lossy(directory.as_bytes());
        let name = format!("{name}/last");
        deed.write(name.trim_start_matches('/'));
    }
    watcher.fence_with(|change| mirror.follow(&change));
    assert_eq!(mirror.difference(), None, "seed {seed}: a directory is deaf");
    watcher.stop();
    mirror.losses
}

fn random_deed(deed: Deeds<'_>, dice: &mut Dice, thread: u64) -> std::io::Result<()> {
    let directory = dice.directory();
    let other = dice.directory();
    let file = format!("{directory}/{}", dice.below(3));
    let parked = format!("{thread}-{}", dice.below(4));
    match dice.below(20) {
        0..=3 => deed.try_make_directories(&directory),
        4..=6 => deed.try_write(&file, directory.as_bytes()),
        7 => deed.try_append(&file),
        8 => deed.try_set_mode(&file, 0o600 + u32::from(dice.below(2) == 0) * 0o44),
        9 => deed.try_set_mode(&directory, 0o700 + u32::from(dice.below(2) == 0) * 0o55),
        10..=13 => deed.try_rename(&directory, &other),
        14 => deed.try_rename(&file, &format!("{other}/{}", dice.below(3))),
        15 => deed.try_remove(&directory),
        16 => deed.try_remove(&file),
        17 => deed.try_move_out(&directory, &parked),
        18 => deed.try_move_in(&parked, &directory),
        _ => {
            let below = format!("{directory}/{other}");
            deed.try_make_directories(&below)?;
            deed.try_write(&format!("{below}/0"), b"")
        }
    }
}

/// Random numbers from a seed: `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    /// A path of one to three of four names: few enough to meet again and again.
    fn directory(&mut self) -> String {
        let depth = 1 + self.below(3);
        let names: Vec<_> = (0..depth)
            .map(|_| ["a", "b", "c", "d"][usize::try_from(self.below(4)).unwrap_or_default()])
            .collect();
        names.join("/")
    }
}
