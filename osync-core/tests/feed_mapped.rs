//! What the feed of mapped files sees that the kernel tells nobody.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "feed/listener.rs"]
mod listener;

use std::fs::{self, File};

use osync_core::adapters::feed::channel::ChannelFeed;
use osync_core::adapters::feed::mapped::MappedFeed;
use osync_core::model::change::Touch;
use osync_sys::mapping::SharedWritable;

use crate::listener::{Listener, entry};

const BYTES: usize = 8_192;

#[test]
fn stores_through_a_mapping_are_reported_though_no_time_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    let open = |path| {
        fs::write(directory.path().join(path), [0; BYTES]).unwrap();
        File::options().read(true).write(true).open(directory.path().join(path)).unwrap()
    };
    let file = open("root/sub/mapped");
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut mapping = SharedWritable::map(&file, BYTES).unwrap();
    let mut elsewhere = SharedWritable::map(open("elsewhere"), BYTES).unwrap();
    let (silent, _handle) = ChannelFeed::new();
    let mut listener = Listener::start_with(MappedFeed::new(Box::new(silent), &root).unwrap(), 64);
    let report = entry("sub/mapped", Touch::Settled);
    if osync_sys::mapping::next_shared_writable(File::open("/proc/self/maps").unwrap(), 0).is_err()
    {
        println!("SKIP: this kernel does not tell what is mapped");
        return;
    }

    // Once because nobody knows what was stored before, and then at each change.
    for value in 1..4 {
        let (others, _) = listener.until(|change| *change == report);
        assert!(others.iter().all(|change| *change == osync_core::model::change::Change::Ready));
        mapping.fill(value);
        elsewhere.fill(value);
        file.set_modified(modified).unwrap();
    }
    listener.until(|change| *change == report);
}
