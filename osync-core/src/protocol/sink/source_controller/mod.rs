//! `SourceController`: the machine of a sink.
//!
//! ```text
//! Seeking --HelloAcknowledgement--> Registering --RegistrationSuccessAcknowledgement--> Transfer
//!    ^                                   |                                                 |
//!    +------ refused, silence, gap, unreachable: reset, wait, once more -------------------+
//! ```
//!
//! Whatever goes wrong ends in the same place: both channels are closed, tasks under way are waited
//! for, and the sink says hello again. The source then compares.

mod session;
mod durable;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::frame::Frame;
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::ports::monitor::Event;
use crate::protocol::sequence::{Arrived, Inbound, Outbound};
use crate::protocol::sink::data_client::DataClient;
use crate::protocol::sink::source_controller::durable::Durable;
use crate::protocol::sink::source_controller::session::{HELLO_INTERVAL_MAX, HELLO_INTERVAL_MIN};
use crate::protocol::sink::task::{Finished, Task, Ticket};
use crate::protocol::{HANDSHAKE_MAX, HEARTBEAT_INTERVAL, SILENCE_MAX};
use crate::queue::window::{WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::wire::message::{Envelope, Message, Refusal};
use crate::wire::{decode, encode};

/// How long a sink says hello over one connection. Then the transport connects anew: whoever was refused
/// for its key would never be told that it is welcome now, and the source may have moved.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a sink waits after a session broke, the first time; then twice as long.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// How long at the most.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What a sink's machine wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a frame.
    Send {
        /// On which channel.
        channel: Channel,
        /// What.
        frame: Frame,
    },
    /// Connect the data channel under this session's id.
    OpenData {
        /// The session.
        session: SessionId,
    },
    /// Close both channels and open the command channel anew; files that were arriving are forgotten.
    Reset,
    /// Do something to the sink and report back with its ticket.
    Task(Task),
    /// Sync the sink and report back; one at a time.
    Sync {
        /// Since the beginning, or since it failed last, everything has been compared and is equal.
        is_settled: bool,
    },
    /// The sink holds everything that had happened when this was asked.
    InSync {
        /// Of the question.
        cookie: u64,
        /// How many paths could not be replicated.
        problems: u64,
        /// Some of them, each with the reason.
        named: Vec<(RelPath, String)>,
        /// It survives a power cut.
        is_durable: bool,
    },
    /// Tell the host.
    Event(Event),
    /// The two ends cannot work together: one line says why and what to do.
    Hopeless {
        /// The line.
        reason: String,
    },
}

#[derive(Debug)]
enum Phase {
    /// No session: hello is said at this time, once nothing of the last session is under way; if nobody
    /// answers, the channel is opened anew at the other.
    Seeking { hello_at: Instant, interval: Duration, anew_at: Instant },
    /// The source knows us; the data channel is being proven.
    Registering {
        session: SessionId,
        since: Instant,
        is_proven: bool,
        /// What the source has sent on the data channel while its last word on the command channel is
        /// still on its way.
        early: Vec<Frame>,
    },
    /// Both channels work.
    Transfer(Transferring),
    /// We asked to end.
    Termination { transferring: Transferring, until: Instant },
    /// It is over.
    Ended,
}

#[derive(Debug)]
struct Transferring {
    session: SessionId,
    control_inbound: Inbound,
    control_outbound: Outbound,
    data: DataClient,
}

/// The machine of a sink.
#[derive(Debug)]
pub struct SourceController {
    id: SinkId,
    fidelity: Fidelity,
    phase: Phase,
    epoch: u64,
    /// Tasks handed out and not finished, of any session.
    unfinished: u64,
    retry: Duration,
    heard_at: Instant,
    sent_at: Instant,
    /// Questions that wait for an answer; asked again in every session.
    questions: BTreeMap<u64, bool>,
    durable: Durable,
    /// How many paths were not replicated when the source spoke of them last, and some of them.
    problems: (u64, Vec<(RelPath, String)>),
    last_refusal: Option<Refusal>,
    /// Whether the log knows that nobody answers.
    is_silence_told: bool,
    is_ending: bool,
}

impl SourceController {
    /// A sink called `id` that can hold `fidelity` and is synced, if it `is_synced`, to be durable.
    #[must_use]
    pub fn new(id: SinkId, fidelity: Fidelity, is_synced: bool, now: Instant) -> Self {
        Self {
            id,
            fidelity,
            phase: Phase::seeking(now),
            epoch: 0,
            unfinished: 0,
            retry: RETRY_MIN,
            heard_at: now,
            sent_at: now,
            questions: BTreeMap::new(),
            durable: Durable::new(is_synced, now),
            problems: (0, Vec::new()),
            last_refusal: None,
            is_silence_told: false,
            is_ending: false,
        }
    }

    /// Takes a frame from the source.
    pub fn on_frame(
        &mut self,
        channel: Channel,
        frame: Frame,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let bytes = frame.len_bytes() as u64;
        let envelope = match decode::envelope(&frame) {
            Ok(envelope) => envelope,
            Err(error @ decode::DecodeError::Version { .. }) => {
                out.push(Output::Hopeless { reason: error.to_string() });
                return;
            }
            Err(error) => {
                self.give_up(&format!("the source sent what it should not: {error}"), now, out);
                return;
            }
        };
        let Envelope { session, sequence, message } = envelope;
        if let Message::Refused { refusal, text } = &message {
            if session == 0 || Some(session) == self.session_tag() {
                self.on_refused(*refusal, text, now, out);
            }
            return;
        }
        if let Phase::Registering { session: ours, early, .. } = &mut self.phase
            && (channel, ours.tag()) == (Channel::Data, session)
            && sequence > 0
        {
            // Beyond what the window allows frames are dropped; the gap ends the session.
            let held_bytes: usize = early.iter().map(Frame::len_bytes).sum();
            if (early.len() as u64) < WINDOW_MESSAGES_MAX && held_bytes as u64 <= WINDOW_BYTES_MAX {
                early.push(frame);
            }
            return;
        }
        match (&mut self.phase, channel, message) {
            (
                Phase::Seeking { .. },
                Channel::Control,
                Message::HelloAcknowledgement { session },
            ) if self.unfinished == 0 => {
                self.heard_at = now;
                let early = Vec::new();
                self.phase = Phase::Registering { session, since: now, is_proven: false, early };
                out.push(Output::OpenData { session });
                self.say(Message::RegistrationRequest, now, out);
            }
            (
                Phase::Registering { session: ours, is_proven, .. },
                Channel::Data,
                Message::SynchronisationMessage,
            ) if ours.tag() == session => {
                if !std::mem::replace(is_proven, true) {
                    self.say(Message::RegistrationSuccess, now, out);
                }
            }
            (
                Phase::Registering { session: ours, early, .. },
                Channel::Control,
                Message::RegistrationSuccessAcknowledgement { fidelity },
            ) if ours.tag() == session => {
                let (session, early) = (*ours, std::mem::take(early));
                self.begin_transfer(session, fidelity, now, out);
                for frame in early {
                    self.on_frame(Channel::Data, frame, now, out);
                }
            }
            (
                Phase::Termination { transferring, .. },
                Channel::Control,
                Message::TerminationAcknowledgement,
            ) if transferring.session.tag() == session => self.on_terminated(now, out),
            (
                Phase::Transfer(transferring) | Phase::Termination { transferring, .. },
                channel,
                message,
            ) if transferring.session.tag() == session && sequence > 0 => {
                self.heard_at = now;
                self.on_numbered(channel, sequence, bytes, message, frame.payload, now, out);
            }
            // Left over from an earlier session, or said twice.
            (_, _, _) => {}
        }
    }

    /// Takes the result of a task.
    pub fn on_finished(
        &mut self,
        ticket: Ticket,
        finished: Finished,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.unfinished -= 1;
        self.count_written(&finished.replies, ticket.bytes, now);
        if ticket.epoch != self.epoch {
            return;
        }
        if let Some(breach) = &finished.breach {
            self.give_up(&format!("the source broke the protocol: {breach}"), now, out);
            return;
        }
        let (Phase::Transfer(transferring) | Phase::Termination { transferring, .. }) =
            &mut self.phase
        else {
            return;
        };
        let session = transferring.session.tag();
        for message in finished.replies {
            let sequence = transferring.control_outbound.take();
            let frame = encode::frame(&Envelope { session, sequence, message }, Bytes::new());
            out.push(Output::Send { channel: Channel::Control, frame });
            self.sent_at = now;
        }
        if let Some((sequence, message)) = transferring.data.on_finished(ticket) {
            let frame = encode::frame(&Envelope { session, sequence, message }, Bytes::new());
            out.push(Output::Send { channel: Channel::Data, frame });
        }
    }

    /// Asks the source to say when everything that has happened by now is here. Cookies are used once, from 1 on.
    pub fn ask_sync(&mut self, cookie: u64, now: Instant, out: &mut Vec<Output>) {
        self.questions.insert(cookie, false);
        self.ask_questions(now, out);
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.sync_if_due(now, out);
        match &mut self.phase {
            Phase::Seeking { anew_at, interval, .. } if *anew_at <= now => {
                *anew_at = now + ANSWER_MAX;
                *interval = HELLO_INTERVAL_MIN;
                self.complain_of_silence();
                out.push(Output::Reset);
            }
            Phase::Seeking { hello_at, interval, .. } => {
                if *hello_at <= now && self.unfinished == 0 {
                    *hello_at = now + *interval;
                    *interval = (*interval * 2).min(HELLO_INTERVAL_MAX);
                    let hello = Message::Hello { sink: self.id.clone(), fidelity: self.fidelity };
                    self.say(hello, now, out);
                }
            }
            Phase::Registering { since, .. } => {
                if now.saturating_duration_since(*since) >= HANDSHAKE_MAX {
                    self.give_up("the handshake took too long", now, out);
                }
            }
            Phase::Transfer(_) => {
                if now.saturating_duration_since(self.heard_at) >= SILENCE_MAX {
                    self.give_up("nothing was heard of the source for too long", now, out);
                } else if now.saturating_duration_since(self.sent_at) >= HEARTBEAT_INTERVAL {
                    self.send_control(Message::Heartbeat, now, out);
                }
            }
            Phase::Termination { until, .. } => {
                if now >= *until {
                    self.end(out);
                }
            }
            Phase::Ended => {}
        }
    }

    /// When [`SourceController::on_tick`] should be called at the latest; `None`: never.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let of_phase = match &self.phase {
            Phase::Seeking { hello_at, anew_at, .. } => {
                let is_busy = self.unfinished > 0;
                let hello_at = if is_busy { now + HELLO_INTERVAL_MAX } else { *hello_at };
                Some(hello_at.min(*anew_at))
            }
            Phase::Registering { since, .. } => Some(*since + HANDSHAKE_MAX),
            Phase::Transfer(_) => {
                Some((self.sent_at + HEARTBEAT_INTERVAL).min(self.heard_at + SILENCE_MAX))
            }
            Phase::Termination { until, .. } => Some(*until),
            Phase::Ended => None,
        };
        of_phase.into_iter().chain(self.sync_due()).min()
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a frame and the moment")]
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other message is out of place")]
    fn on_numbered(
        &mut self,
        channel: Channel,
        sequence: u64,
        bytes: u64,
        message: Message,
        payload: Bytes,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let (Phase::Transfer(transferring) | Phase::Termination { transferring, .. }) =
            &mut self.phase
        else {
            return;
        };
        if channel == Channel::Data {
            match transferring.data.on_message(sequence, bytes, message, payload) {
                Ok(Some(task)) => {
                    self.unfinished += 1;
                    out.push(Output::Task(task));
                }
                Ok(None) => {}
                Err(reason) => self.give_up(reason, now, out),
            }
            return;
        }
        match transferring.control_inbound.arrived(sequence) {
            Arrived::InOrder => {}
            Arrived::Repeated => return,
            Arrived::AfterGap => return self.give_up("messages are missing", now, out),
        }
        match message {
            Message::Heartbeat => {}
            Message::Problems { count, named } => self.problems = (count, named),
            Message::InSync { cookie, problems, named } => {
                self.problems = (problems, named.clone());
                self.on_in_sync(cookie, problems, named, now, out);
            }
            Message::TerminationRequest => {
                self.send_control(Message::TerminationAcknowledgement, now, out);
                self.on_terminated(now, out);
            }
            _ => self.give_up("a message that does not belong on the command channel", now, out),
        }
    }
}
