//! A sink's end: a DEALER for control, and one more for data per session.

use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use zmq::Socket;

use crate::adapters::transport::zmq::Finder;
use crate::adapters::transport::zmq::io_thread::{End, Inbox, IoThread};
use crate::adapters::transport::zmq::socket::{
    CONNECTION_MAX, CONTROL_PART_BYTES_MAX, CREDIT_PART_BYTES_MAX, FIRST_RECONNECT_MS,
    RECONNECT_MS, Sockets, await_connection,
};
use crate::model::connection::{Channel, ConnectionDetails};
use crate::model::session_id::SessionId;
use crate::ports::transport::{Arrival, Frame, SinkLink, TransportError};

/// A [`SinkLink`] over ZeroMQ.
pub(super) struct ZmqSink {
    thread: IoThread<Command>,
}

impl ZmqSink {
    /// Opens the command channel.
    pub(super) fn connect(
        sockets: Sockets,
        details: ConnectionDetails,
        finder: Option<Finder>,
        arrivals: Sender<Arrival>,
    ) -> Result<Self, TransportError> {
        let (thread, ()) = IoThread::start(arrivals, move || {
            let end = SinkEnd {
                control: sockets.control_dealer(&details.control, FIRST_RECONNECT_MS)?,
                speaks_at: Instant::now() + CONNECTION_MAX,
                data: None,
                sockets,
                details,
                finder,
            };
            Ok((end, ()))
        })?;
        Ok(Self { thread })
    }

    /// Has the thread do something that can fail, and waits for it.
    fn ask(&self, command: impl FnOnce(Outcome) -> Command) -> Result<(), TransportError> {
        let (done, outcome) = bounded(1);
        self.thread.tell(command(done))?;
        outcome.recv().map_err(|_| TransportError::Closed)?
    }
}

impl SinkLink for ZmqSink {
    fn open_data(&mut self, session: &SessionId) -> Result<(), TransportError> {
        let session = *session;
        self.ask(|done| Command::OpenData { session, done })
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.ask(|done| Command::Reset { done })
    }

    fn send(&mut self, channel: Channel, frame: Frame) -> Result<(), TransportError> {
        self.thread.tell(Command::Send { channel, frame })
    }
}

type Outcome = Sender<Result<(), TransportError>>;

enum Command {
    Send { channel: Channel, frame: Frame },
    OpenData { session: SessionId, done: Outcome },
    Reset { done: Outcome },
}

struct SinkEnd {
    control: Socket,
    /// From when on nothing waits for the command channel to be connected.
    speaks_at: Instant,
    data: Option<Socket>,
    sockets: Sockets,
    details: ConnectionDetails,
    finder: Option<Finder>,
}

impl SinkEnd {
    fn open_data(&mut self, session: &SessionId) -> Result<(), TransportError> {
        self.data = None;
        let data = self.sockets.data_dealer(&self.details.data, session)?;
        // The source proves it as soon as it is asked to: then that is not in vain.
        await_connection(&data, Instant::now() + CONNECTION_MAX);
        self.data = Some(data);
        Ok(())
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.data = None;
        if let Some(found) = self.finder.as_ref().and_then(|finder| finder())
            && found != self.details
        {
            log::info!("the source is at {found} now");
            self.details = found;
        }
        self.control = self.sockets.control_dealer(&self.details.control, RECONNECT_MS)?;
        self.speaks_at = Instant::now() + CONNECTION_MAX;
        Ok(())
    }
}

impl End for SinkEnd {
    type Command = Command;

    const IS_ROUTER: bool = false;

    fn socket(&self, channel: Channel) -> Option<&Socket> {
        match channel {
            Channel::Control => Some(&self.control),
            Channel::Data => self.data.as_ref(),
        }
    }

    fn obey(&mut self, command: Command, inbox: &mut Inbox) -> zmq::Result<()> {
        match command {
            Command::Send { channel, frame } => {
                let part_bytes_max = match channel {
                    Channel::Control => {
                        await_connection(&self.control, self.speaks_at);
                        CONTROL_PART_BYTES_MAX
                    }
                    Channel::Data => CREDIT_PART_BYTES_MAX,
                };
                return inbox.send(self.socket(channel), channel, None, part_bytes_max, frame);
            }
            // Nobody waits any more only if the link's thread panicked.
            Command::OpenData { session, done } => drop(done.send(self.open_data(&session))),
            Command::Reset { done } => drop(done.send(self.reset())),
        }
        inbox.all_due();
        Ok(())
    }
}
