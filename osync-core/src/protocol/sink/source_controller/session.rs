//! How a session begins and how it ends.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::connection::Channel;
use crate::model::fidelity::Fidelity;
use crate::model::rel_path::RelPath;
use crate::model::session_id::SessionId;
use crate::model::sink_id::SinkId;
use crate::ports::monitor::Event;
use crate::protocol::TERMINATION_MAX;
use crate::protocol::sequence::{Inbound, Outbound};
use crate::protocol::sink::data_client::DataClient;
use crate::protocol::sink::source_controller::{
    ANSWER_MAX, Output, Phase, RETRY_MAX, RETRY_MIN, SourceController, Transferring,
};
use crate::wire::encode;
use crate::wire::message::{Envelope, Message, Refusal};

/// When a sink says hello again the first time, if nobody answers: the first hello may be lost while the connection is
/// still being made. Then twice as long.
pub(super) const HELLO_INTERVAL_MIN: Duration = Duration::from_millis(5);
/// How long at the most.
pub(super) const HELLO_INTERVAL_MAX: Duration = Duration::from_millis(200);

impl Phase {
    /// Looks for the source from `hello_at` on.
    pub(super) fn seeking(hello_at: Instant) -> Self {
        Self::Seeking { hello_at, interval: HELLO_INTERVAL_MIN, anew_at: hello_at + ANSWER_MAX }
    }
}

impl SourceController {
    /// Whether a session is in transfer.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Transfer(_))
    }

    pub(super) fn begin_transfer(
        &mut self,
        session: SessionId,
        fidelity: Fidelity,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        self.epoch += 1;
        self.durable.barrier.begin_session();
        self.heard_at = now;
        self.retry = RETRY_MIN;
        self.last_refusal = None;
        self.is_silence_told = false;
        self.phase = Phase::Transfer(Transferring {
            session,
            control_inbound: Inbound::default(),
            control_outbound: Outbound::default(),
            data: DataClient::new(self.epoch, fidelity.common(self.fidelity)),
        });
        out.push(Output::Event(Event::Registered { sink: self.id.clone() }));
        self.ask_anew();
        self.ask_questions(now, out);
    }

    pub(super) fn on_refused(
        &mut self,
        refusal: Refusal,
        text: &str,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        match (&self.phase, refusal) {
            (Phase::Termination { .. } | Phase::Ended, _) => self.end(out),
            (Phase::Seeking { .. }, Refusal::NoSuchSession) => {}
            (_, _) => {
                if self.last_refusal != Some(refusal) {
                    let (id, text) = (&self.id, text.escape_debug());
                    match refusal {
                        Refusal::NameInUse => log::warn!(
                            "the name {id} is in use at the source: {text}; trying again and again"
                        ),
                        Refusal::TooManySinks => {
                            log::warn!(
                                "the source takes no more sinks: {text}; trying again and again"
                            );
                        }
                        Refusal::NoSuchSession | Refusal::Ending => {
                            log::info!("the source refuses: {text}");
                        }
                    }
                }
                self.last_refusal = Some(refusal);
                self.give_up(text, now, out);
            }
        }
    }

    /// The source has ended the session by agreement.
    pub(super) fn on_terminated(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.is_ending {
            self.end(out);
        } else {
            log::info!("the source has ended; waiting for it to come back");
            out.push(Output::Event(Event::Terminated { sink: self.id.clone() }));
            self.forget_session();
            self.seek(now + HELLO_INTERVAL_MAX);
        }
    }

    /// Gives the session up and begins again after a while.
    pub(super) fn give_up(&mut self, reason: &str, now: Instant, out: &mut Vec<Output>) {
        if let Phase::Transfer(_) = self.phase {
            log::debug!("session ended: {}", reason.escape_debug());
            let reason = reason.escape_debug().to_string();
            out.push(Output::Event(Event::Disconnected { sink: self.id.clone(), reason }));
        }
        if self.is_ending {
            return self.end(out);
        }
        self.forget_session();
        self.seek(now + self.retry);
        self.retry = (self.retry * 2).min(RETRY_MAX);
        out.push(Output::Reset);
    }

    fn seek(&mut self, hello_at: Instant) {
        self.phase = Phase::seeking(hello_at);
    }

    pub(super) fn complain_of_silence(&mut self) {
        if !std::mem::replace(&mut self.is_silence_told, true) {
            let reasons = "it does not run, cannot be reached, or does not let this sink's key in";
            log::warn!("the source does not answer: {reasons}; trying again and again");
        }
    }

    /// Results of tasks still under way are of no interest any more; questions are asked anew.
    pub(super) fn forget_session(&mut self) {
        self.epoch += 1;
        self.questions.values_mut().for_each(|is_asked| *is_asked = false);
    }

    pub(super) fn end(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Ended) {
            out.push(Output::Event(Event::Terminated { sink: self.id.clone() }));
        }
        self.phase = Phase::Ended;
    }

    pub(super) fn ask_questions(&mut self, now: Instant, out: &mut Vec<Output>) {
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

    /// Ends by agreement; [`SourceController::is_ended`] tells when that is done.
    pub fn stop(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.is_ending = true;
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Transfer(transferring) => {
                self.phase = Phase::Termination { transferring, until: now + TERMINATION_MAX };
                self.send_control(Message::TerminationRequest, now, out);
            }
            ending @ Phase::Termination { .. } => self.phase = ending,
            Phase::Seeking { .. } | Phase::Registering { .. } | Phase::Ended => self.end(out),
        }
    }

    /// Whether [`SourceController::stop`] was called, both ends agreed or time is over, no task is under way, and
    /// what was written is durable, if it can be.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.unfinished == 0 && self.durable.barrier.is_idle()
    }

    /// Sends a message of the handshake, which is not numbered.
    pub(super) fn say(&mut self, message: Message, now: Instant, out: &mut Vec<Output>) {
        let envelope = Envelope { session: self.session_tag().unwrap_or(0), sequence: 0, message };
        out.push(Output::Send {
            channel: Channel::Control,
            frame: encode::frame(&envelope, Bytes::new()),
        });
        self.sent_at = now;
    }

    pub(super) fn send_control(&mut self, message: Message, now: Instant, out: &mut Vec<Output>) {
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

    pub(super) fn session_tag(&self) -> Option<u64> {
        match &self.phase {
            Phase::Registering { session, .. } => Some(session.tag()),
            Phase::Transfer(transferring) | Phase::Termination { transferring, .. } => {
                Some(transferring.session.tag())
            }
            Phase::Seeking { .. } | Phase::Ended => None,
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

    /// The sink's name.
    #[must_use]
    pub fn id(&self) -> &SinkId {
        &self.id
    }

    /// How many paths were not replicated when the source spoke of them last, and some of them.
    #[must_use]
    pub fn problems(&self) -> &(u64, Vec<(RelPath, String)>) {
        &self.problems
    }

    /// Tasks handed out and not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }
}
