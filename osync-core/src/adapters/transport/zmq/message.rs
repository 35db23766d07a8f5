//! Frames as ZeroMQ messages: `[routing id][header][payload]` at a ROUTER, `[header][payload]` at a
//! DEALER. The payload is always there and may be empty. Anything else is not a frame.

use bytes::Bytes;
use zmq::{DONTWAIT, Error, Message, SNDMORE, Socket};

use crate::ports::transport::{Frame, PeerId};

/// Up to here a copy costs less than giving away an allocation and having it freed by another thread.
/// ZeroMQ itself copies messages below 8 KiB once more, to send many with one call.
const COPY_BYTES_MAX: usize = 1024;

/// The property of a message that holds its sender's proven key.
const USER_ID: &str = "User-Id";

/// What became of a frame that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// ZeroMQ has it.
    Queued,
    /// The peer is not connected, or takes no more; the frame is gone.
    Unreachable,
}

/// What a socket had for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A frame, and from whom if the socket is a ROUTER.
    Frame(Option<PeerId>, Frame),
    /// A message that is no frame; it was dropped.
    Malformed,
    /// No message.
    Nothing,
}

/// Hands `frame` to ZeroMQ, for `to` if the socket is a ROUTER. Never waits.
///
/// Whether the peer can take it is decided by the first part; a refused part is consumed, so
/// the payload is made into a message last.
pub(super) fn send(socket: &Socket, to: Option<&PeerId>, frame: Frame) -> zmq::Result<Sent> {
    let send = || {
        if let Some(peer) = to {
            send_copy(socket, peer.as_bytes())?;
        }
        send_copy(socket, &frame.header)?;
        match socket.send(owned(frame.payload), DONTWAIT) {
            Err(Error::EINTR) => {
                // A signal, and the payload went with the refused call. One part too many makes the
                // receiver drop the message.
                send_copy(socket, b"")?;
                socket.send(Message::new(), DONTWAIT)?;
                Err(Error::EAGAIN)
            }
            sent => sent,
        }
    };
    match send() {
        Ok(()) => Ok(Sent::Queued),
        Err(Error::EAGAIN | Error::EHOSTUNREACH) => Ok(Sent::Unreachable),
        Err(error) => Err(error),
    }
}

/// Sends a part that is not the last.
fn send_copy(socket: &Socket, part: &[u8]) -> zmq::Result<()> {
    loop {
        match socket.send(part, DONTWAIT | SNDMORE) {
            Err(Error::EINTR) => {}
            sent => return sent,
        }
    }
}

/// `bytes` as a message.
///
/// A message can own a `Box<[u8]>`, and `Bytes` that nobody shares turns into one without a copy (if
/// its `Vec` had capacity to spare the allocator shrinks it, in place as a rule). Shared `Bytes` must be
/// copied: a message that refers to them needs a C callback, hence unsafe code. One copy straight into
/// ZeroMQ's own memory is the cheapest then.
fn owned(bytes: Bytes) -> Message {
    if bytes.len() <= COPY_BYTES_MAX || !bytes.is_unique() {
        Message::from(&bytes[..])
    } else {
        Message::from(Vec::from(bytes))
    }
}

/// Takes one message; from a ROUTER, with the key that the gate has put into it. Never waits.
pub(super) fn receive(socket: &Socket, is_router: bool) -> zmq::Result<Received> {
    let expected = if is_router { 3 } else { 2 };
    let mut parts: [Message; 3] = std::array::from_fn(|_| Message::new());
    let mut count = 0;
    loop {
        let mut part = Message::new();
        match socket.recv(&mut part, DONTWAIT) {
            Ok(()) => {}
            Err(Error::EINTR) => continue,
            Err(Error::EAGAIN) if count == 0 => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        }
        let has_more = part.get_more();
        if let Some(place) = parts.get_mut(count) {
            *place = part;
        }
        count += 1;
        if !has_more {
            break;
        }
    }
    if count != expected {
        return Ok(Received::Malformed);
    }
    let [first, second, mut third] = parts;
    let (peer, header, payload) = if is_router {
        // libzmq 4.3.4 loses what it knows of a connection from the first part, not from the last.
        let key = third.gets(USER_ID).and_then(|user| user.parse().ok());
        (Some(PeerId::new(&first).with_key(key)), second, third)
    } else {
        (None, first, second)
    };
    if header.len() > Frame::HEADER_BYTES_MAX || payload.len() > Frame::PAYLOAD_BYTES_MAX {
        return Ok(Received::Malformed);
    }
    let frame = Frame {
        // Copied, because a small message may keep all of a receive buffer alive.
        header: Bytes::copy_from_slice(&header),
        payload: lent(payload),
    };
    Ok(Received::Frame(peer, frame))
}

/// `message` as bytes, without a copy unless it is small.
fn lent(message: Message) -> Bytes {
    /// ZeroMQ's memory, kept until the last slice of it is dropped.
    struct Owner(Message);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    if message.len() <= COPY_BYTES_MAX {
        Bytes::copy_from_slice(&message)
    } else {
        Bytes::from_owner(Owner(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unshared_payload_is_sent_and_received_in_place() {
        let payload = Bytes::from(vec![7; 100_000]);
        let at = payload.as_ptr();

        let message = owned(payload);
        assert_eq!(message.as_ptr(), at);

        assert_eq!(lent(message).as_ptr(), at);
    }

    #[test]
    fn shared_and_static_payloads_are_copied_whole() {
        static LARGE: [u8; 50_000] = [3; 50_000];
        let shared = Bytes::from(vec![7; 100_000]);
        let slice = shared.slice(10..90_000);
        assert_eq!(&owned(slice)[..], &shared[10..90_000]);
        assert_eq!(&owned(Bytes::from_static(&LARGE))[..], LARGE);
    }
}
