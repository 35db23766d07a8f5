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

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::frame::Frame;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::ports::monitor::Event;
use crate::protocol::sequence::{Arrived, Inbound, Outbound};
use crate::protocol::sink::data_client::DataClient;
use crate::protocol::sink::task::{Finished, Task, Ticket};
use crate::protocol::{HANDSHAKE_MAX, HEARTBEAT_INTERVAL, SILENCE_MAX, TERMINATION_MAX};
use crate::queue::window::{WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::wire::message::{Envelope, Message, Refusal};
use crate::wire::{decode, encode};

/// How often a sink says hello while nobody answers.
const HELLO_INTERVAL: Duration = Duration::from_millis(200);
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
    /// The sink holds everything that had happened when this was asked.
    InSync {
        /// Of the question.
        cookie: u64,
        /// Paths that could not be replicated.
        problems: u64,
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
    /// No session: hello is said at this time, once nothing of the last session is under way.
    Seeking { hello_at: Instant },
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
    Termination {
        transferring: Transferring,
        until: Instant,
    },
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
    last_refusal: Option<Refusal>,
    is_ending: bool,
}

impl SourceController {
    /// A sink called `id` that can hold `fidelity`.
    #[must_use]
    pub fn new(id: SinkId, fidelity: Fidelity, now: Instant) -> Self {
        Self {
            id,
            fidelity,
            phase: Phase::Seeking { hello_at: now },
            epoch: 0,
            unfinished: 0,
            retry: RETRY_MIN,
            heard_at: now,
            sent_at: now,
            questions: BTreeMap::new(),
            last_refusal: None,
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
                out.push(Output::Hopeless {
                    reason: error.to_string(),
                });
                return;
            }
            Err(error) => {
                self.give_up(
                    &format!("the source sent what it should not: {error}"),
                    now,
                    out,
                );
                return;
            }
        };
        let Envelope {
            session,
            sequence,
            message,
        } = envelope;
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
                self.phase = Phase::Registering {
                    session,
                    since: now,
                    is_proven: false,
                    early: Vec::new(),
                };
                out.push(Output::OpenData { session });
                self.say(Message::RegistrationRequest, now, out);
            }
            (
                Phase::Registering {
                    session: ours,
                    is_proven,
                    ..
                },
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

    /// The source could not be reached on `channel`.
    pub fn on_unreachable(&mut self, channel: Channel, now: Instant, out: &mut Vec<Output>) {
        match &self.phase {
            Phase::Transfer(_) => self.give_up("the connection is gone", now, out),
            Phase::Termination { .. } => self.end(out),
            // While seeking nobody need be there; hello is said again anyway.
            Phase::Seeking { .. } | Phase::Registering { .. } | Phase::Ended => {
                log::trace!("the source is not reachable on the {channel:?} channel");
            }
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
        if ticket.epoch != self.epoch {
            return;
        }
        if let Some(breach) = &finished.breach {
            self.give_up(
                &format!("the source broke the protocol: {breach}"),
                now,
                out,
            );
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
            let frame = encode::frame(
                &Envelope {
                    session,
                    sequence,
                    message,
                },
                Bytes::new(),
            );
            out.push(Output::Send {
                channel: Channel::Control,
                frame,
            });
            self.sent_at = now;
        }
        if let Some((sequence, message)) = transferring.data.on_finished(ticket) {
            let frame = encode::frame(
                &Envelope {
                    session,
                    sequence,
                    message,
                },
                Bytes::new(),
            );
            out.push(Output::Send {
                channel: Channel::Data,
                frame,
            });
        }
    }

    /// Asks the source to say when everything that has happened by now is here. Cookies are used once.
    pub fn ask_sync(&mut self, cookie: u64, now: Instant, out: &mut Vec<Output>) {
        self.questions.insert(cookie, false);
        self.ask_questions(now, out);
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        match &mut self.phase {
            Phase::Seeking { hello_at } => {
                if *hello_at <= now && self.unfinished == 0 {
                    *hello_at = now + HELLO_INTERVAL;
                    let hello = Message::Hello {
                        sink: self.id.clone(),
                        fidelity: self.fidelity,
                    };
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
        match &self.phase {
            Phase::Seeking { hello_at } => Some(if self.unfinished > 0 {
                now + HELLO_INTERVAL
            } else {
                *hello_at
            }),
            Phase::Registering { since, .. } => Some(*since + HANDSHAKE_MAX),
            Phase::Transfer(_) => {
                Some((self.sent_at + HEARTBEAT_INTERVAL).min(self.heard_at + SILENCE_MAX))
            }
            Phase::Termination { until, .. } => Some(*until),
            Phase::Ended => None,
        }
    }

    /// Ends by agreement; [`SourceController::is_ended`] tells when that is done.
    pub fn stop(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.is_ending = true;
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Transfer(transferring) => {
                self.phase = Phase::Termination {
                    transferring,
                    until: now + TERMINATION_MAX,
                };
                self.send_control(Message::TerminationRequest, now, out);
            }
            ending @ Phase::Termination { .. } => self.phase = ending,
            Phase::Seeking { .. } | Phase::Registering { .. } | Phase::Ended => self.end(out),
        }
    }

    /// Whether [`SourceController::stop`] was called, both ends agreed or time is over, and no task is under way.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.unfinished == 0
    }

    /// The sink's name.
    #[must_use]
    pub fn id(&self) -> &SinkId {
        &self.id
    }

    /// Tasks handed out and not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// Whether a session is in transfer.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Transfer(_))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a frame and the moment"
    )]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other message is out of place"
    )]
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
            match transferring
                .data
                .on_message(sequence, bytes, message, payload)
            {
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
            Message::InSync { cookie, problems } => {
                if self.questions.remove(&cookie).is_some() {
                    out.push(Output::InSync { cookie, problems });
                }
            }
            Message::TerminationRequest => {
                self.send_control(Message::TerminationAcknowledgement, now, out);
                self.on_terminated(now, out);
            }
            _ => self.give_up(
                "a message that does not belong on the command channel",
                now,
                out,
            ),
        }
    }

    /// The source has ended the session by agreement.
    fn on_terminated(&mut self, now: Instant, out: &mut Vec<Output>) {
        out.push(Output::Event(Event::Terminated {
            sink: self.id.clone(),
        }));
        if self.is_ending {
            self.end(out);
        } else {
            log::info!("the source has ended; waiting for it to come back");
            self.forget_session();
            self.phase = Phase::Seeking {
                hello_at: now + HELLO_INTERVAL,
            };
        }
    }

    fn begin_transfer(
        &mut self,
        session: SessionId,
        fidelity: Fidelity,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.epoch += 1;
        self.heard_at = now;
        self.retry = RETRY_MIN;
        self.last_refusal = None;
        self.phase = Phase::Transfer(Transferring {
            session,
            control_inbound: Inbound::default(),
            control_outbound: Outbound::default(),
            data: DataClient::new(self.epoch, fidelity.common(self.fidelity)),
        });
        out.push(Output::Event(Event::Registered {
            sink: self.id.clone(),
        }));
        self.ask_questions(now, out);
    }

    fn on_refused(&mut self, refusal: Refusal, text: &str, now: Instant, out: &mut Vec<Output>) {
        match (&self.phase, refusal) {
            (Phase::Termination { .. } | Phase::Ended, _) => self.end(out),
            (Phase::Seeking { .. }, Refusal::NoSuchSession) => {}
            (_, _) => {
                if self.last_refusal != Some(refusal) {
                    log::info!("the source refuses: {}", text.escape_debug());
                }
                self.last_refusal = Some(refusal);
                self.give_up(text, now, out);
            }
        }
    }

    /// Gives the session up and begins again after a while.
    fn give_up(&mut self, reason: &str, now: Instant, out: &mut Vec<Output>) {
        if let Phase::Transfer(_) = self.phase {
            log::info!("session ended: {}", reason.escape_debug());
            let reason = reason.escape_debug().to_string();
            out.push(Output::Event(Event::Disconnected {
                sink: self.id.clone(),
                reason,
            }));
        }
        if self.is_ending {
            return self.end(out);
        }
        self.forget_session();
        self.phase = Phase::Seeking {
            hello_at: now + self.retry,
        };
        self.retry = (self.retry * 2).min(RETRY_MAX);
        out.push(Output::Reset);
    }

    /// Results of tasks still under way are of no interest any more; questions are asked anew.
    fn forget_session(&mut self) {
        self.epoch += 1;
        self.questions
            .values_mut()
            .for_each(|is_asked| *is_asked = false);
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Ended) {
            out.push(Output::Event(Event::Terminated {
                sink: self.id.clone(),
            }));
        }
        self.phase = Phase::Ended;
    }

    fn ask_questions(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Transfer(_)) {
            return;
        }
        let open: Vec<u64> = self
            .questions
            .iter()
            .filter(|&(_, &is_asked)| !is_asked)
            .map(|(&cookie, _)| cookie)
            .collect();
        for cookie in open {
            self.questions.insert(cookie, true);
            self.send_control(Message::SyncRequest { cookie }, now, out);
        }
    }

    fn session_tag(&self) -> Option<u64> {
        match &self.phase {
            Phase::Registering { session, .. } => Some(session.tag()),
            Phase::Transfer(transferring) | Phase::Termination { transferring, .. } => {
                Some(transferring.session.tag())
            }
            Phase::Seeking { .. } | Phase::Ended => None,
        }
    }

    /// Sends a message of the handshake, which is not numbered.
    fn say(&mut self, message: Message, now: Instant, out: &mut Vec<Output>) {
        let envelope = Envelope {
            session: self.session_tag().unwrap_or(0),
            sequence: 0,
            message,
        };
        out.push(Output::Send {
            channel: Channel::Control,
            frame: encode::frame(&envelope, Bytes::new()),
        });
        self.sent_at = now;
    }

    fn send_control(&mut self, message: Message, now: Instant, out: &mut Vec<Output>) {
        let (Phase::Transfer(transferring) | Phase::Termination { transferring, .. }) =
            &mut self.phase
        else {
            return;
        };
        let envelope = Envelope {
            session: transferring.session.tag(),
            sequence: transferring.control_outbound.take(),
            message,
        };
        out.push(Output::Send {
            channel: Channel::Control,
            frame: encode::frame(&envelope, Bytes::new()),
        });
        self.sent_at = now;
    }
}
