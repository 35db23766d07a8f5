//! The protocol as state machines, without I/O, clocks or threads.
//!
//! Messages and the time go in; messages and actions come out. Whoever drives a machine (the runtime,
//! or a simulation with a clock of its own) carries the outputs out and reports back.
//!
//! ```text
//!           SINK                                               SOURCE
//! SourceController  --- Hello ------------------------- c -->  SourceControlService
//!                   <-- HelloAcknowledgement(session) - c ---
//! DataClient        connects under the session id       d -->  DataService
//!                   --- RegistrationRequest ----------- c -->
//!                   <-- SynchronisationMessage ... ---- d ---  every 20 ms
//!                   <-- RegistrationRequestAcknowledg.. c ---
//!                   --- RegistrationSuccess ----------- c -->
//!                   <-- RegistrationSuccessAcknowledg.. c ---  transfer begins
//!
//!                   <-- Compare, Listing, Put, Chunk .. d ---
//!                   --- Answer, Applied --------------- c -->
//!                   --- Durable ----------------------- c -->
//!                   --- Credit ------------------------ d -->
//!                   <-> Heartbeat --------------------- c -->
//!
//!                   <-> TerminationRequest ------------ c -->  either side
//!                   <-> TerminationAcknowledgement ---- c -->
//! ```

pub(crate) mod complaints;
pub mod sequence;
pub mod sink;
pub mod source;

use std::time::Duration;

/// How long an end is silent before it says [`Heartbeat`].
///
/// [`Heartbeat`]: crate::wire::message::Message::Heartbeat
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(1_500);

/// How long a peer may be silent before the session is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long the handshake may take before it begins anew.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(3);

/// How long the agreed end may take before an end leaves without agreement.
pub const TERMINATION_MAX: Duration = Duration::from_secs(3);
