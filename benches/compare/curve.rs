//! A bare stream over ZeroMQ with CURVE: what the encryption alone allows.
//!
//! ```text
//! ROUTER (server) --[id][header][chunk]--> DEALER     one context each, as two processes have
//! ```
//!
//! Chunks are as long as osync's and about as many are under way. Nothing is read from or written to a file.

use std::thread;

use zmq::{Context, CurveKeyPair, Message, SNDMORE, Socket};

/// The longest chunk that osync sends of a large file.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks in a pipe each way: with those in the buffers of the kernel about osync's largest window.
const PIPE_MESSAGES_MAX: i32 = 4;
/// About as long as osync's.
const HEADER: [u8; 32] = [7; 32];

/// Moves `bytes` from one thread to another over loopback TCP.
pub(crate) fn stream(bytes: usize) {
    let keys = [(); 2].map(|()| CurveKeyPair::new().expect("keys"));
    let [server, client] = &keys;
    let contexts = [(); 2].map(|()| Context::new());
    let router = socket(&contexts[0], zmq::ROUTER);
    router.set_router_mandatory(true).expect("an option");
    router.set_curve_server(true).expect("an option");
    router.set_curve_secretkey(&server.secret_key).expect("a key");
    router.bind("tcp://127.0.0.1:*").expect("a port");
    let address = router.get_last_endpoint().expect("an address").expect("an address");

    let dealer = socket(&contexts[1], zmq::DEALER);
    dealer.set_curve_serverkey(&server.public_key).expect("a key");
    dealer.set_curve_publickey(&client.public_key).expect("a key");
    dealer.set_curve_secretkey(&client.secret_key).expect("a key");
    dealer.connect(&address).expect("connects");
    thread::scope(|scope| {
        scope.spawn(move || send(&router, bytes));
        receive(&dealer, bytes);
    });
}

fn socket(context: &Context, kind: zmq::SocketType) -> Socket {
    let socket = context.socket(kind).expect("a socket");
    socket.set_sndhwm(PIPE_MESSAGES_MAX).expect("an option");
    socket.set_rcvhwm(PIPE_MESSAGES_MAX).expect("an option");
    socket
}

fn send(router: &Socket, bytes: usize) {
    let peer = router.recv_bytes(0).expect("a peer");
    router.recv_bytes(0).expect("its greeting");
    let chunk: Vec<u8> = (0_u8..=255).cycle().take(CHUNK_BYTES).collect();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK_BYTES);
        router.send(&peer[..], SNDMORE).expect("sent");
        router.send(&HEADER[..], SNDMORE).expect("sent");
        router.send(Message::from(&chunk[..length]), 0).expect("sent");
        left -= length;
    }
    // The other end has everything before the context goes.
    router.recv_bytes(0).expect("a peer");
    router.recv_bytes(0).expect("its farewell");
}

fn receive(dealer: &Socket, bytes: usize) {
    dealer.send("ready", 0).expect("sent");
    let mut received = 0;
    while received < bytes {
        dealer.recv_bytes(0).expect("a header");
        let mut chunk = Message::new();
        dealer.recv(&mut chunk, 0).expect("a chunk");
        received += chunk.len();
    }
    dealer.send("done", 0).expect("sent");
}
