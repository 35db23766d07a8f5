//! What is durable, and who is told.

use std::time::Instant;

use crate::model::rel_path::RelPath;
use crate::protocol::sink::barrier::Barrier;
use crate::protocol::sink::source_controller::{Output, Phase, SourceController};
use crate::wire::message::Message;

/// Replies beside, only a message of so many bytes brings content: a piece of a large file.
const PIECE_BYTES_MIN: u64 = 4 * 1024;

/// The cookie of the question that a sink asks on its own behalf.
const OWN_QUESTION: u64 = 0;

/// A question that the source has answered; what it is about is not known to be durable yet.
#[derive(Debug)]
pub(super) struct Answered {
    cookie: u64,
    problems: u64,
    named: Vec<(RelPath, String)>,
    /// How many confirmations have to be durable.
    applied: u64,
}

/// What is durable, and who waits for that.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) barrier: Barrier,
    answered: Vec<Answered>,
    /// Since the beginning, or since syncing failed last, everything was found equal.
    is_settled: bool,
}

impl Durable {
    pub(super) fn new(is_wanted: bool, now: Instant) -> Self {
        Self { barrier: Barrier::new(is_wanted, now), answered: Vec::new(), is_settled: false }
    }
}

impl SourceController {
    /// Takes the result of [`Output::Sync`]: whether everything written before is durable now, or one line
    /// that says why it may be lost.
    pub fn on_synced(&mut self, result: Result<bool, String>, now: Instant, out: &mut Vec<Output>) {
        match result {
            Ok(is_durable) => {
                if let Some(applied) = self.durable.barrier.end(is_durable) {
                    self.send_control(Message::Durable { applied }, now, out);
                }
                self.answer_durable(out);
            }
            Err(reason) => {
                log::error!("what was written may be lost and is compared again: {reason}");
                self.durable.barrier.fail(now);
                // What may be lost is not believed until the source has said that everything is here.
                self.durable.is_settled = false;
                self.questions.insert(OWN_QUESTION, false);
                self.ask_anew();
                match self.phase {
                    Phase::Transfer(_) | Phase::Termination { .. } | Phase::Registering { .. } => {
                        self.give_up(&reason, now, out);
                    }
                    Phase::Seeking { .. } | Phase::Ended => {}
                }
            }
        }
    }

    /// The source says that everything is here.
    pub(super) fn on_in_sync(
        &mut self,
        cookie: u64,
        problems: u64,
        named: Vec<(RelPath, String)>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if problems == 0 && !std::mem::replace(&mut self.durable.is_settled, true) {
            // The sink is to know.
            self.durable.barrier.count(0, 0, now);
        }
        if self.questions.remove(&cookie).is_some() && cookie != OWN_QUESTION {
            let applied = self.durable.barrier.applied();
            self.durable.answered.push(Answered { cookie, problems, named, applied });
            self.answer_durable(out);
            self.sync_if_due(now, out);
        }
    }

    /// What was answered and is not known to be durable is asked anew, of another session: then that has been
    /// compared as well. It also sends again what it doubts, so that names of one thing may be apart for a moment.
    pub(super) fn ask_anew(&mut self) {
        let asked_anew = self.durable.answered.drain(..).map(|answered| (answered.cookie, false));
        self.questions.extend(asked_anew);
    }

    /// Answers the questions whose time has come. Problems that came up since are told too: what was there may be
    /// touched by what could not be done later.
    fn answer_durable(&mut self, out: &mut Vec<Output>) {
        let (barrier, is_durable) = (&self.durable.barrier, self.durable.barrier.is_wanted());
        let known = &self.problems;
        let settled =
            self.durable.answered.extract_if(.., |answer| barrier.is_settled(answer.applied));
        out.extend(settled.map(|Answered { cookie, problems, named, .. }| {
            let (problems, named) =
                if known.0 > problems { known.clone() } else { (problems, named) };
            Output::InSync { cookie, problems, named, is_durable }
        }));
    }

    /// A task has been done.
    pub(super) fn count_written(&mut self, replies: &[Message], bytes: u64, now: Instant) {
        let is_applied = |reply: &&Message| matches!(reply, Message::Applied { .. });
        let confirmations = replies.iter().filter(is_applied).count() as u64;
        if confirmations > 0 || replies.is_empty() && bytes >= PIECE_BYTES_MIN {
            self.durable.barrier.count(confirmations, bytes, now);
        }
    }

    /// When the sink is to be synced next, if ever.
    pub(super) fn sync_due(&self) -> Option<Instant> {
        let is_ending = matches!(self.phase, Phase::Termination { .. } | Phase::Ended);
        self.durable.barrier.due(is_ending || !self.durable.answered.is_empty())
    }

    pub(super) fn sync_if_due(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.sync_due().is_some_and(|due| due <= now) {
            self.durable.barrier.begin();
            out.push(Output::Sync { is_settled: self.durable.is_settled });
        }
    }
}
