//! `Gate`: the thread that libzmq asks whether a key may connect (ZeroMQ RFC 27, ZAP).
//!
//! It runs before anything is bound. Whoever proves no key, or one that is not listed, is refused; with
//! no gate libzmq would let every key in.
//!
//! Between two questions it rereads the list, so that a change is seen within [`REREAD_INTERVAL`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zmq::{Context, Error, Socket};

use crate::adapters::transport::zmq::keys::allow_list::AllowList;
use crate::adapters::transport::zmq::waker::Waker;
use crate::model::key::PublicKey;
use crate::ports::transport::TransportError;
use crate::protocol::complaints::Complaints;

/// Where libzmq asks, in every context.
const ADDRESS: &str = "inproc://zeromq.zap.01";
/// How often the list is read again.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);
/// Refusals told in [`COMPLAINT_INTERVAL`].
const COMPLAINTS_MAX: u32 = 8;
/// See [`COMPLAINTS_MAX`].
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// A key that is refused again and again is told of once in this time.
const SAME_KEY_INTERVAL: Duration = Duration::from_mins(1);
/// Refused keys that are remembered for it.
const KEYS_REMEMBERED_MAX: usize = 64;

/// A running gate; dropping it ends and joins its thread.
pub(in crate::adapters::transport::zmq) struct Gate {
    waker: Arc<Waker>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Gate {
    /// Opens the gate of `context`; it is there when this returns.
    pub(in crate::adapters::transport::zmq) fn open(
        context: &Context,
        list: Arc<AllowList>,
    ) -> Result<Self, TransportError> {
        let system = |reason: String| TransportError::System { verb: "ask for keys", reason };
        let socket = context
            .socket(zmq::REP)
            .and_then(|socket| {
                socket.set_linger(0).and_then(|()| socket.bind(ADDRESS)).map(|()| socket)
            })
            .map_err(|error| system(error.to_string()))?;
        let waker = Arc::new(Waker::new().map_err(|error| system(error.to_string()))?);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut keeper = Keeper {
            socket,
            list,
            waker: Arc::clone(&waker),
            is_over: Arc::clone(&is_over),
            complaints: Complaints::new(COMPLAINTS_MAX, COMPLAINT_INTERVAL),
            told: BTreeMap::new(),
        };
        let body = move || {
            if let Err(error) = keeper.serve() {
                // Without an answer libzmq lets nobody in.
                log::error!("no sink can connect any more: asking for keys failed: {error}");
            }
        };
        let thread = thread::Builder::new().name("osync-gate".to_owned()).spawn(body);
        let thread = thread.map_err(|error| system(error.to_string()))?;
        Ok(Self { waker, is_over, thread: Some(thread) })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that asks for keys panicked");
        }
    }
}

struct Keeper {
    socket: Socket,
    list: Arc<AllowList>,
    waker: Arc<Waker>,
    is_over: Arc<AtomicBool>,
    complaints: Complaints,
    /// Refused keys, and when that was told.
    told: BTreeMap<PublicKey, Instant>,
}

impl Keeper {
    fn serve(&mut self) -> zmq::Result<()> {
        let mut reread_at = Instant::now() + REREAD_INTERVAL;
        while !self.is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= reread_at {
                self.list.reread();
                reread_at = now + REREAD_INTERVAL;
            }
            let wait = reread_at.saturating_duration_since(now).as_millis();
            // One more, so as not to wake a moment early and again.
            let wait = i64::try_from(wait).unwrap_or(i64::MAX).saturating_add(1);
            let mut items = [self.waker.poll_item(), self.socket.as_poll_item(zmq::POLLIN)];
            match zmq::poll(&mut items, wait) {
                Ok(_) | Err(Error::EINTR) => {}
                Err(error) => return Err(error),
            }
            let is_asked = items[1].is_readable();
            if is_asked {
                self.answer()?;
            }
        }
        Ok(())
    }

    fn answer(&mut self) -> zmq::Result<()> {
        let question = loop {
            match self.socket.recv_multipart(0) {
                Err(Error::EINTR) => {}
                question => break question?,
            }
        };
        let request_id = question.get(1).cloned().unwrap_or_default();
        let address = question.get(3).cloned().unwrap_or_default();
        let key = proven_key(&question);
        let admitted = key.filter(|key| self.list.allows(key));
        if admitted.is_none() {
            self.complain(&String::from_utf8_lossy(&address), key);
        }
        let (code, text) = if admitted.is_some() { ("200", "OK") } else { ("400", "not listed") };
        // libzmq puts it into every message of the connection.
        let user_id = admitted.map(|key| key.to_string()).unwrap_or_default();
        let answer: [&[u8]; 6] =
            [b"1.0", &request_id, code.as_bytes(), text.as_bytes(), user_id.as_bytes(), b""];
        loop {
            match self.socket.send_multipart(answer, 0) {
                Err(Error::EINTR) => {}
                sent => return sent,
            }
        }
    }

    fn complain(&mut self, address: &str, key: Option<PublicKey>) {
        let Some(key) = key else {
            return self
                .complaints
                .say(Instant::now(), || format!("refused {address}: it offers no key"));
        };
        let now = Instant::now();
        self.told.retain(|_, told| now.duration_since(*told) < SAME_KEY_INTERVAL);
        if self.told.len() >= KEYS_REMEMBERED_MAX {
            self.told.clear();
        }
        if self.told.insert(key, now).is_none() {
            let list = self.list.path().display();
            self.complaints.say(Instant::now(), || {
                format!("refused {address}: its key {key} is not in {list}")
            });
        }
    }
}

/// The key of a question: `1.0, request, domain, address, identity, "CURVE", key`. Any other mechanism
/// proves none.
fn proven_key(question: &[Vec<u8>]) -> Option<PublicKey> {
    match question {
        [version, _, _, _, _, mechanism, key] if version == b"1.0" && mechanism == b"CURVE" => {
            Some(PublicKey::from_bytes(key.as_slice().try_into().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the gate says to a question with this mechanism and these credentials.
    fn ask(context: &Context, mechanism: &str, credentials: &[&[u8]]) -> Vec<Vec<u8>> {
        let socket = context.socket(zmq::REQ).unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        socket.connect(ADDRESS).unwrap();
        let head: [&[u8]; 6] = [b"1.0", b"7", b"osync", b"192.0.2.1", b"", mechanism.as_bytes()];
        socket.send_multipart(head.iter().chain(credentials), 0).unwrap();
        socket.recv_multipart(0).unwrap()
    }

    #[test]
    fn only_a_listed_key_by_curve_passes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        std::fs::write(&file, PublicKey::from_bytes([1; 32]).to_string()).unwrap();
        let context = Context::new();
        let gate = Gate::open(&context, Arc::new(AllowList::open(&file))).unwrap();

        let answer = ask(&context, "CURVE", &[&[1; 32]]);
        assert_eq!(answer[..3], [b"1.0".to_vec(), b"7".to_vec(), b"200".to_vec()]);
        assert_eq!(answer[4], PublicKey::from_bytes([1; 32]).to_string().into_bytes());
        for (mechanism, credentials) in [
            ("CURVE", &[&[2; 32][..]][..]),
            ("CURVE", &[&[1; 31]]),
            ("CURVE", &[]),
            ("CURVE", &[&[1; 32], &[1; 32]]),
            ("NULL", &[]),
            ("PLAIN", &[b"user", b"password"]),
            ("PLAIN", &[&[1; 32]]),
        ] {
            let answer = ask(&context, mechanism, credentials);
            assert_eq!((&answer[2][..], &answer[4][..]), (&b"400"[..], &b""[..]), "{mechanism}");
        }
        drop(gate);
    }
}
