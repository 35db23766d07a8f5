//! The way between two ends: what comes back over it is counted, and it can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::program::{Addresses, spawn};

/// A port that leads to another, whose listener may come and go, until the test's process ends.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) address: String,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    connections: AtomicU64,
    returned_bytes: AtomicU64,
    /// Both sides of what is connected, or was.
    streams: Mutex<Vec<TcpStream>>,
}

impl Wire {
    pub(crate) fn to(target: &str) -> Self {
        let target = target.strip_prefix("tcp://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let traffic = Arc::<Traffic>::default();
        let wire = Self { address, traffic: Arc::clone(&traffic) };
        spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                traffic.connections.fetch_add(1, Ordering::Relaxed);
                // Nobody listens now: who connected will try again.
                let Ok(far) = TcpStream::connect(&target) else { continue };
                let (near_in, far_in) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let both = [&near, &far].map(|stream| stream.try_clone().unwrap());
                traffic.streams.lock().unwrap().extend(both);
                let returned = Arc::clone(&traffic);
                spawn(move || copy(near_in, far, |_| {}));
                spawn(move || {
                    copy(far_in, near, |bytes| {
                        returned.returned_bytes.fetch_add(bytes, Ordering::Relaxed);
                    });
                });
            }
        });
        wire
    }

    /// Connections made to it so far.
    pub(crate) fn connections(&self) -> u64 {
        self.traffic.connections.load(Ordering::Relaxed)
    }

    /// Bytes that came back through it so far.
    pub(crate) fn returned_bytes(&self) -> u64 {
        self.traffic.returned_bytes.load(Ordering::Relaxed)
    }

    /// Ends all connections, in the middle of whatever they carry.
    pub(crate) fn cut(&self) {
        for stream in self.traffic.streams.lock().unwrap().drain(..) {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Both channels of a source.
#[derive(Debug)]
pub(crate) struct Cable {
    wires: [Wire; 2],
    addresses: Addresses,
}

impl Cable {
    pub(crate) fn to(source: &Addresses) -> Self {
        let wires = [&source.control, &source.data].map(|address| Wire::to(address));
        let [control, data] = wires.each_ref().map(|wire| wire.address.clone());
        Self { wires, addresses: Addresses { control, data } }
    }

    /// Where a sink finds the source at the other end.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(crate) fn cut(&self) {
        self.wires.iter().for_each(Wire::cut);
    }
}

/// Carries bytes until one side ends, then ends the other.
fn copy(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64)) {
    let mut bytes = [0; 16_384];
    to.set_nodelay(true).unwrap();
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        count(length as u64);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // Both fail only if it is closed already.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
