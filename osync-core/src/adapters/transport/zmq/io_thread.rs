//! The thread that owns a link's sockets, and how the rest of the program reaches it.
//!
//! Commands come in through a bounded channel with a [`Waker`]; frames go out through the endpoint's
//! arrivals channel, behind an [`Inbox`]. A turn obeys some commands, takes some control messages, then
//! some data messages; it sleeps only if there were fewer than it would have taken. With the arrivals
//! channel full it takes nothing from its sockets, and waits for room there or for a command,
//! whichever is first.
//!
//! It sleeps on the sockets' descriptors (`ZMQ_FD`) rather than on the sockets: `zmq::poll` looks into each
//! socket four times a sleep, with a system call each time. A descriptor tells of news only once, and any
//! call on its socket may take the news away. So a socket that was told of or used is *due*: it is read
//! from until it has nothing more before the thread sleeps.
//!
//! Invariant: the thread never waits for arrivals alone, so a link's `send` always gets through to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError, bounded};
use zmq::{Error, PollItem, Socket};

use crate::adapters::transport::zmq::handshakes::{HandshakeLog, Handshakes};
use crate::adapters::transport::zmq::message::{self, Received, Sent};
use crate::adapters::transport::zmq::waker::Waker;
use crate::model::connection::Channel;
use crate::ports::transport::{Arrival, Frame, PeerId, TransportError};
use crate::protocol::complaints::Complaints;

/// Commands under way to the thread: a burst of small frames. The engine's window bounds their bytes.
const COMMANDS_MAX: usize = 256;
/// Commands obeyed, and messages taken from one socket, per turn.
const PER_TURN_MAX: usize = 64;
/// How often a thread that waits for room lets its sockets notice lost connections.
const FULL_TICK: Duration = Duration::from_millis(50);
/// How long the news that the transport failed waits for room in the arrivals channel.
const FAILED_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long sockets stay open after the last frame. A DEALER with IMMEDIATE drops what it has received and
/// nobody has read yet when its connection closes (1 to 10 farewells in 100 were lost), and linger ends
/// with libzmq's last pipe, whatever is left of a long message. A sink whose source has spoken since need
/// not wait: the source's sockets stay, and they read on.
const FAREWELL: Duration = Duration::from_millis(100);
/// At most one line about malformed messages in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// One end of the two channels: what differs between a source's thread and a sink's.
pub(super) trait End {
    /// What its link asks for.
    type Command: Send + 'static;

    /// Whether its sockets are ROUTERs.
    const IS_ROUTER: bool;

    /// Its socket for `channel`, if open.
    fn socket(&self, channel: Channel) -> Option<&Socket>;

    /// The failed handshakes of its sockets, if it watches them.
    fn handshakes(&self) -> &[Handshakes] {
        &[]
    }

    /// Whether frames from and to `peer` may pass.
    fn admits(&self, _peer: &PeerId) -> bool {
        true
    }

    /// Does what the link asks for. An error ends the thread.
    fn obey(&mut self, command: Self::Command, inbox: &mut Inbox) -> zmq::Result<()>;
}

/// A running thread. Dropping it lets the thread obey what it was told, close its sockets, and joins it.
pub(super) struct IoThread<C> {
    commands: Option<Sender<C>>,
    waker: Arc<Waker>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<C: Send + 'static> IoThread<C> {
    /// Starts a thread whose sockets `open` makes, on that thread; returns what else `open` tells.
    pub(super) fn start<E, T>(
        arrivals: Sender<Arrival>,
        open: impl FnOnce() -> Result<(E, T), TransportError> + Send + 'static,
    ) -> Result<(Self, T), TransportError>
    where
        E: End<Command = C>,
        T: Send + 'static,
    {
        let system = |verb| {
            move |error: std::io::Error| TransportError::System { verb, reason: error.to_string() }
        };
        let waker = Arc::new(Waker::new().map_err(system("make an eventfd"))?);
        let (sender, commands) = bounded(COMMANDS_MAX);
        let (opened, outcome) = bounded(1);
        let its_waker = Arc::clone(&waker);
        // The caller waits for the outcome, so it is taken.
        let body = move || match open() {
            Ok((end, told)) => {
                drop(opened.send(Ok(told)));
                serve(end, commands, &its_waker, Inbox::new(arrivals));
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = thread::Builder::new()
            .name("osync-zmq".to_owned())
            .spawn(body)
            .map_err(system("start a thread"))?;
        let io_thread = Self { commands: Some(sender), waker, thread: Some(thread) };
        match outcome.recv() {
            Ok(outcome) => Ok((io_thread, outcome?)),
            // The crate `zmq` panics on system errors that it has no name for (ENOTDIR of an ipc path).
            Err(_) => Err(TransportError::System {
                verb: "use the addresses",
                reason: "the ZeroMQ library gave up; look at paths and permissions".to_owned(),
            }),
        }
    }

    /// Gives the thread a command; waits while [`COMMANDS_MAX`] of them are under way.
    pub(super) fn tell(&self, command: C) -> Result<(), TransportError> {
        let commands = self.commands.as_ref().ok_or(TransportError::Closed)?;
        commands.send(command).map_err(|_| TransportError::Closed)?;
        self.waker.wake();
        Ok(())
    }
}

impl<C> Drop for IoThread<C> {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a ZeroMQ thread panicked");
        }
    }
}

/// The way to the endpoint: keeps order, loses nothing and never waits.
pub(super) struct Inbox {
    arrivals: Sender<Arrival>,
    /// What found the channel full: one frame, and one notice per unreachable peer, at most.
    waiting: VecDeque<Arrival>,
    /// What a sink calls its source.
    source: PeerId,
    last_sent: Option<Instant>,
    /// Which channels' sockets are to be read from before the thread may sleep.
    due: [bool; 2],
}

impl Inbox {
    fn new(arrivals: Sender<Arrival>) -> Self {
        let (waiting, source) = (VecDeque::new(), PeerId::new(b"source"));
        Self { arrivals, waiting, source, last_sent: None, due: [true; 2] }
    }

    /// Takes note that the sockets were made anew or may have been used.
    pub(super) fn all_due(&mut self) {
        self.due = [true; 2];
    }

    /// Sends `frame`, `to` a sink or to the source, and gives notice if that cannot be. Parts longer
    /// than `part_bytes_max` would make the receiver cut the connection: they are refused here.
    pub(super) fn send(
        &mut self,
        socket: Option<&Socket>,
        channel: Channel,
        to: Option<&PeerId>,
        part_bytes_max: usize,
        frame: Frame,
    ) -> zmq::Result<()> {
        self.due[channel as usize] = true;
        let longest = frame.header.len().max(frame.payload.len());
        let sent = match socket {
            _ if longest > part_bytes_max => {
                log::error!("{longest} bytes are too many for the {channel:?} channel; dropped");
                Sent::Unreachable
            }
            Some(socket) => message::send(socket, to, frame)?,
            None => Sent::Unreachable,
        };
        if sent == Sent::Queued {
            self.last_sent = Some(Instant::now());
        } else {
            self.unreachable(channel, to.unwrap_or(&self.source).clone());
        }
        Ok(())
    }

    /// Gives notice that frames from and to `peer` do not pass.
    pub(super) fn unreachable(&mut self, channel: Channel, peer: PeerId) {
        let notice = Arrival::Unreachable { channel, peer };
        if !self.waiting.contains(&notice) {
            self.offer(notice);
        }
    }

    /// Gives the last frame [`FAREWELL`] to be read before the sockets are closed.
    fn say_farewell(&self) {
        if let Some(last_sent) = self.last_sent {
            thread::sleep(FAREWELL.saturating_sub(last_sent.elapsed()));
        }
    }

    fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn offer_frame(&mut self, channel: Channel, from: Option<PeerId>, frame: Frame) {
        if from.is_none() && channel == Channel::Control {
            self.last_sent = None;
        }
        let peer = from.unwrap_or_else(|| self.source.clone());
        self.offer(Arrival::Frame { channel, peer, frame });
    }

    fn offer(&mut self, arrival: Arrival) {
        if self.is_full() {
            self.waiting.push_back(arrival);
            return;
        }
        // Without an endpoint, arrivals are of no use to anybody; sends still are.
        if let Err(TrySendError::Full(arrival)) = self.arrivals.try_send(arrival) {
            self.waiting.push_back(arrival);
        }
    }
}

/// Runs `end` until its link is dropped.
fn serve<E: End>(end: E, commands: Receiver<E::Command>, waker: &Waker, inbox: Inbox) {
    let complaints = || Complaints::new(1, COMPLAINT_INTERVAL);
    let mut turns = Turns {
        end,
        commands,
        inbox,
        handshake_log: HandshakeLog::new(),
        malformed: complaints(),
        cut_off: complaints(),
    };
    let ended = turns.run(waker);
    turns.inbox.say_farewell();
    // Closes the sockets, and makes the link's sends fail, before the news is told.
    let arrivals = turns.inbox.arrivals.clone();
    drop(turns);
    if let Err(error) = ended {
        let reason = format!("ZeroMQ failed: {error}");
        log::error!("{reason}");
        arrivals.send_timeout(Arrival::Failed { reason }, FAILED_WAIT_MAX).ok();
    }
}

struct Turns<E: End> {
    end: E,
    commands: Receiver<E::Command>,
    inbox: Inbox,
    handshake_log: HandshakeLog,
    malformed: Complaints,
    cut_off: Complaints,
}

/// Whether the link still exists.
#[derive(PartialEq, Eq)]
enum Link {
    Alive { has_more: bool },
    Dropped,
}

impl<E: End> Turns<E> {
    fn run(&mut self, waker: &Waker) -> zmq::Result<()> {
        loop {
            for handshakes in self.end.handshakes() {
                self.handshake_log.tell(handshakes)?;
            }
            let has_commands = match self.obey_some()? {
                Link::Alive { has_more } => has_more,
                Link::Dropped => return Ok(()),
            };
            if self.inbox.is_full() {
                if self.wait_for_room()? == Link::Dropped {
                    return Ok(());
                }
                continue;
            }
            let has_messages = self.receive_some()?;
            if !(has_commands || has_messages || self.inbox.is_full()) {
                self.sleep(waker)?;
            }
        }
    }

    fn obey_some(&mut self) -> zmq::Result<Link> {
        for _ in 0..PER_TURN_MAX {
            match self.commands.try_recv() {
                Ok(command) => self.end.obey(command, &mut self.inbox)?,
                Err(TryRecvError::Empty) => return Ok(Link::Alive { has_more: false }),
                Err(TryRecvError::Disconnected) => return Ok(Link::Dropped),
            }
        }
        Ok(Link::Alive { has_more: true })
    }

    /// Takes control before data, a bounded number of each; says whether there may be more.
    fn receive_some(&mut self) -> zmq::Result<bool> {
        let mut has_more = false;
        for channel in [Channel::Control, Channel::Data] {
            let mut taken = 0;
            while self.inbox.due[channel as usize] && taken < PER_TURN_MAX {
                let Some(socket) = self.end.socket(channel) else { break };
                match message::receive(socket, E::IS_ROUTER)? {
                    Received::Nothing => {
                        self.inbox.due[channel as usize] = false;
                        break;
                    }
                    Received::Malformed => self.malformed.say(Instant::now(), || {
                        format!("dropped a malformed message on the {channel:?} channel")
                    }),
                    Received::Frame(Some(peer), _) if !self.end.admits(&peer) => {
                        self.cut_off(channel, peer);
                    }
                    Received::Frame(from, frame) => self.inbox.offer_frame(channel, from, frame),
                }
                if self.inbox.is_full() {
                    return Ok(true);
                }
                taken += 1;
            }
            has_more |= taken == PER_TURN_MAX;
        }
        Ok(has_more)
    }

    /// Ends what a peer has whose key was let in once and is no longer.
    fn cut_off(&mut self, channel: Channel, peer: PeerId) {
        let key = peer.key().map(|key| key.to_string()).unwrap_or_default();
        self.cut_off
            .say(Instant::now(), || format!("cut off a sink: its key {key} is no longer allowed"));
        self.inbox.unreachable(channel, peer);
    }

    /// Waits until the arrivals channel has taken one of those that wait, or a command came.
    fn wait_for_room(&mut self) -> zmq::Result<Link> {
        let mut select = Select::new();
        let room = select.send(&self.inbox.arrivals);
        select.recv(&self.commands);
        let command = match select.select_timeout(FULL_TICK) {
            Ok(ready) if ready.index() == room => {
                let first = self.inbox.waiting.pop_front();
                let first = first.expect("room is waited for only while something waits");
                ready.send(&self.inbox.arrivals, first).ok();
                return Ok(Link::Alive { has_more: true });
            }
            Ok(ready) => match ready.recv(&self.commands) {
                Ok(command) => Some(command),
                Err(_) => return Ok(Link::Dropped),
            },
            Err(_) => None,
        };
        if let Some(command) = command {
            self.end.obey(command, &mut self.inbox)?;
        } else {
            // A socket that is not read from learns of lost connections in here only.
            self.inbox.all_due();
            for channel in [Channel::Control, Channel::Data] {
                if let Some(socket) = self.end.socket(channel) {
                    socket.get_events()?;
                }
            }
        }
        Ok(Link::Alive { has_more: true })
    }

    /// Waits for news of a socket or for a command. No socket is due.
    fn sleep(&mut self, waker: &Waker) -> zmq::Result<()> {
        let mut items = Vec::with_capacity(5);
        items.push(waker.poll_item());
        for channel in [Channel::Control, Channel::Data] {
            if let Some(socket) = self.end.socket(channel) {
                items.push(PollItem::from_fd(socket.get_fd()?, zmq::POLLIN));
            }
        }
        items.extend(self.end.handshakes().iter().map(Handshakes::poll_item));
        match zmq::poll(&mut items, -1) {
            Ok(_) => {}
            Err(Error::EINTR) => return Ok(()),
            Err(error) => return Err(error),
        }
        if items[0].is_readable() {
            waker.clear();
        }
        for (item, due) in items[1..].iter().zip(&mut self.inbox.due) {
            *due |= item.is_readable();
        }
        Ok(())
    }
}
