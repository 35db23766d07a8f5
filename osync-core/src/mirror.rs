//! `Mirror`: both ends in one process.

use std::sync::Arc;
use std::time::Duration;

use crate::adapters::transport::in_process::InProcessTransport;
use crate::error::Error;
use crate::model::connection::ConnectionDetails;
use crate::model::report::{QueueReport, TransferReport};
use crate::options::{SinkOptions, SourceOptions};
use crate::ports::change_feed::ChangeFeed;
use crate::ports::monitor::{Event, Monitor, Problem};
use crate::ports::sink::Sink;
use crate::ports::source::Source;
use crate::sink_endpoint::{InSync, SinkEndpoint};
use crate::source_endpoint::SourceEndpoint;

/// A source and a sink in one process, joined by channels instead of a network.
#[derive(Debug)]
pub struct Mirror {
    sink: SinkEndpoint,
    source: SourceEndpoint,
}

impl Mirror {
    /// Begins to replicate `source` to `sink`; returns at once.
    ///
    /// `monitor` is called from the threads of both ends.
    ///
    /// # Errors
    /// As [`SourceEndpoint::start`] and [`SinkEndpoint::start`].
    pub fn start(
        source: Arc<dyn Source>,
        feed: Box<dyn ChangeFeed>,
        sink: Arc<dyn Sink>,
        source_options: SourceOptions,
        sink_options: SinkOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, Error> {
        let transport = InProcessTransport::new();
        let details = ConnectionDetails { control: "control".to_owned(), data: "data".to_owned() };
        // Both ends see a session begin and end; the host wants to hear of it once.
        let problems_only = Arc::clone(&monitor);
        let source_monitor = move |event: &Event| {
            let is_of_session = matches!(
                event,
                Event::Registered { .. }
                    | Event::Disconnected { .. }
                    | Event::InSync { .. }
                    | Event::Terminated { .. }
            );
            if !is_of_session {
                problems_only.event(event);
            }
        };
        let source = SourceEndpoint::start(
            source,
            feed,
            &transport,
            &details,
            source_options,
            Arc::new(source_monitor),
        )?;
        let sink = SinkEndpoint::start(sink, &transport, &details, sink_options, monitor)?;
        Ok(Self { sink, source })
    }

    /// As [`SinkEndpoint::wait_in_sync`].
    ///
    /// # Errors
    /// As [`SinkEndpoint::wait_in_sync`].
    pub fn wait_in_sync(&self, timeout: Option<Duration>) -> Result<Option<InSync>, Error> {
        self.sink.wait_in_sync(timeout)
    }

    /// What is still to be done.
    #[must_use]
    pub fn queue_report(&self) -> QueueReport {
        self.source.reports().into_iter().map(|(_, report)| report).next().unwrap_or_default()
    }

    /// As [`SourceEndpoint::audit`].
    pub fn audit(&self) {
        self.source.audit();
    }

    /// The first `limit` paths that are not replicated at present, or only inexactly.
    #[must_use]
    pub fn problems(&self, limit: usize) -> Vec<Problem> {
        self.source.problems(limit).into_iter().flat_map(|(_, problems)| problems).collect()
    }

    /// What has been applied since the start.
    #[must_use]
    pub fn transfer_report(&self) -> TransferReport {
        let sent = self.source.transfer_report();
        TransferReport {
            wire_bytes: sent.wire_bytes,
            problems: sent.problems,
            inexact: sent.inexact,
            ..self.sink.transfer_report()
        }
    }

    /// Begins to end both by agreement; returns at once.
    pub fn stop(&self) {
        self.sink.stop();
        self.source.stop();
    }

    /// Whether either end has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.sink.is_finished() || self.source.is_finished()
    }

    /// Waits for the end of both.
    ///
    /// # Errors
    /// As [`SourceEndpoint::join`] and [`SinkEndpoint::join`].
    pub fn join(self) -> Result<(), Error> {
        self.stop();
        self.source.join()?;
        self.sink.join()
    }
}
