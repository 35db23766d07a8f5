//! The in-process transport does what every transport must.

use std::sync::atomic::{AtomicU32, Ordering};

use osync_core::adapters::transport::in_process::InProcessTransport;
use osync_core::model::connection::ConnectionDetails;
use osync_core::ports::transport::Transport;
use osync_core::testing::conformance::transport::Fixture;

#[derive(Default)]
struct InProcess {
    transport: InProcessTransport,
    handed_out: AtomicU32,
}

impl Fixture for InProcess {
    fn transport(&self) -> Box<dyn Transport> {
        Box::new(self.transport.clone())
    }

    fn details(&self) -> ConnectionDetails {
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        ConnectionDetails { control: format!("control {number}"), data: format!("data {number}") }
    }
}

osync_core::transport_conformance!(InProcess::default());
