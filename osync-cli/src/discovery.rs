//! Sources found by name in the local network: DNS-SD over multicast DNS.
//!
//! ```text
//! NAME._osync._tcp.local.  SRV  host and port of the command channel
//!                          TXT  data=PORT version=2 key=FINGERPRINT (with keys)
//! ```
//!
//! What is heard is only a hint where to connect: anybody in the network can say anything. With keys a
//! liar gets no further than the handshake, and one with another fingerprint is not even tried.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use osync_core::adapters::transport::zmq::Finder;
use osync_core::model::connection::ConnectionDetails;
use osync_core::model::key::PublicKey;
use osync_core::wire::VERSION;

use crate::follow::is_asked_to_end;
use crate::render::printable;

const SERVICE: &str = "_osync._tcp.local.";
/// A label of DNS.
const NAME_BYTES_MAX: usize = 63;
/// Addresses of one source that are tried, one after the other.
const ADDRESSES_MAX: usize = 16;
/// Sources that `discover` lists.
const SOURCES_MAX: usize = 1_000;
/// How often a signal is looked for while nothing is found.
const TICK: Duration = Duration::from_millis(100);
/// Who has heard nothing for so long asks anew, as somebody who knows nothing yet; at first, and at the most.
const SILENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_mins(1)];
/// How long the farewell of an announcement may take.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A name that can be announced.
pub(crate) fn instance(text: &str) -> std::result::Result<String, String> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    if fits && !text.chars().any(|c| c.is_control() || c == '.') {
        Ok(text.to_owned())
    } else {
        Err(format!("a name has 1 to {NAME_BYTES_MAX} bytes without dots and control characters"))
    }
}

/// An announcement; withdrawn when dropped.
pub(crate) struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Ok(done) = self.daemon.unregister(&self.name) {
            done.recv_timeout(FAREWELL_MAX).ok();
        }
        self.daemon.shutdown().ok();
    }
}

/// Speaks and listens on every interface but the loop.
///
/// What is heard there names addresses that nobody else can use, and whoever has heard it once asks no more:
/// a source whose announcement came by the loop first would not be found. Processes of one host hear each
/// other on all the others.
fn daemon() -> Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    Ok(daemon)
}

/// Asks who is there, from now on.
fn browse() -> Result<(ServiceDaemon, Receiver<ServiceEvent>)> {
    let daemon = daemon()?;
    let events = daemon.browse(SERVICE)?;
    Ok((daemon, events))
}

/// Announces a source that serves at `details` with `key`.
pub(crate) fn announce(
    name: &str,
    details: &ConnectionDetails,
    key: Option<PublicKey>,
) -> Result<Announcement> {
    let unusable =
        || format!("cannot announce {details}: give --control tcp://ADDRESS:PORT of the network");
    let (address, control) = parts(&details.control).ok_or_else(unusable)?;
    let (_, data) = parts(&details.data).ok_or_else(unusable)?;
    if address.is_loopback() {
        return Err(unusable().into());
    }
    let mut properties = vec![("data", data.to_string()), ("version", VERSION.to_string())];
    properties.extend(key.map(|key| ("key", key.fingerprint())));
    // A host of our own, so that the addresses of this source alone are meant.
    let system = rustix::system::uname();
    let host: String =
        system.nodename().to_string_lossy().replace('.', "-").chars().take(40).collect();
    let host = format!("osync-{host}-{control}.local.");
    let info = if address.is_unspecified() {
        ServiceInfo::new(SERVICE, name, &host, (), control, &properties[..])?.enable_addr_auto()
    } else {
        ServiceInfo::new(SERVICE, name, &host, address, control, &properties[..])?
    };
    let full_name = info.get_fullname().to_owned();
    let daemon = daemon()?;
    daemon.register(info)?;
    log::info!("announced as {name}");
    Ok(Announcement { daemon, name: full_name })
}

/// Host and port of `tcp://host:port`, if the host is a literal address.
fn parts(address: &str) -> Option<(IpAddr, u16)> {
    let (host, port) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.parse().ok()?, port.parse().ok()?))
}

/// One source as it announces itself.
#[derive(Clone)]
struct Found {
    name: String,
    /// At least one.
    places: Vec<ConnectionDetails>,
    version: String,
    fingerprint: String,
}

impl Found {
    /// What can be made of an announcement; `None` if something is missing or makes no sense.
    fn read(service: &ResolvedService) -> Option<Self> {
        let name = service.fullname.strip_suffix(SERVICE)?.strip_suffix('.')?;
        let data: u16 = service.get_property_val_str("data")?.parse().ok()?;
        let text = |key| service.get_property_val_str(key).map(printable).unwrap_or_default();
        let mut addresses: Vec<IpAddr> =
            service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
        // Link-local addresses mean nothing without their interface.
        addresses.retain(|address| match address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        });
        addresses.sort();
        addresses.truncate(ADDRESSES_MAX);
        let place = |address: &IpAddr| {
            let at = |port| match address {
                IpAddr::V4(address) => format!("tcp://{address}:{port}"),
                IpAddr::V6(address) => format!("tcp://[{address}]:{port}"),
            };
            ConnectionDetails { control: at(service.port), data: at(data) }
        };
        let places: Vec<_> = addresses.iter().map(place).collect();
        (!places.is_empty()).then(|| Self {
            name: printable(name),
            places,
            version: text("version"),
            fingerprint: text("key"),
        })
    }
}

/// Listens for `duration` and prints every source, sorted by name.
pub(crate) fn list(duration: Duration) -> Result<()> {
    let (daemon, events) = browse()?;
    let end = Instant::now() + duration;
    let mut sources = BTreeMap::new();
    while let Ok(event) = events.recv_deadline(end) {
        if is_asked_to_end() {
            break;
        }
        if let ServiceEvent::ServiceResolved(service) = event {
            if sources.len() < SOURCES_MAX
                && let Some(found) = Found::read(&service)
            {
                sources.insert(service.fullname.clone(), found);
            }
        } else if let ServiceEvent::ServiceRemoved(_, name) = event {
            sources.remove(&name);
        }
    }
    for source in sources.values() {
        let Found { name, places, version, fingerprint } = source;
        let key = if fingerprint.is_empty() { "no key" } else { fingerprint };
        for ConnectionDetails { control, data } in places {
            println!("{name}\t{control}\t{data}\tversion {version}\t{key}");
        }
    }
    daemon.shutdown().ok();
    Ok(())
}

/// A source that was found, and who knows where it is from then on.
pub(crate) struct Whereabouts {
    pub(crate) details: ConnectionDetails,
    pub(crate) finder: Finder,
}

/// Waits until the source `name` is found; `None` if a signal comes first. Only announcements of `trusted`
/// count, where there is one.
pub(crate) fn find(name: &str, trusted: Option<PublicKey>) -> Result<Option<Whereabouts>> {
    log::info!("looking for a source announced as {name}");
    let (mut daemon, mut events) = browse()?;
    let places = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&places);
    let (name, fingerprint) = (name.to_owned(), trusted.map(|key| key.fingerprint()));
    let listener = thread::Builder::new().name("osync-discovery".to_owned());
    listener.spawn(move || {
        let [mut silence, silence_max] = SILENCE;
        while listen(&events, silence, &name, fingerprint.as_deref(), &heard) {
            // An answer that was lost, or came by the loop before that was shut, is never asked for again.
            match browse() {
                Ok(anew) => {
                    daemon.shutdown().ok();
                    (daemon, events) = anew;
                }
                Err(error) => log::debug!("cannot ask anew who is there: {error}"),
            }
            silence = (silence * 2).min(silence_max);
        }
        // Until here its threads go on listening.
        drop(daemon);
    })?;
    let tries = AtomicUsize::new(0);
    let finder: Finder = Arc::new(move || {
        let places: std::sync::MutexGuard<'_, Vec<ConnectionDetails>> =
            places.lock().unwrap_or_else(PoisonError::into_inner);
        // One after the other: which of its addresses lead there only trying shows.
        let next = tries.fetch_add(1, Ordering::Relaxed);
        places.get(next % places.len().max(1)).cloned()
    });
    while !is_asked_to_end() {
        if let Some(details) = finder() {
            return Ok(Some(Whereabouts { details, finder }));
        }
        thread::sleep(TICK);
    }
    Ok(None)
}

/// Keeps `places` what the source `name` announced last, as long as the process lives, or until it has not
/// been heard of for `silence`: returns whether that is so.
fn listen(
    events: &Receiver<ServiceEvent>,
    silence: Duration,
    name: &str,
    fingerprint: Option<&str>,
    places: &Mutex<Vec<ConnectionDetails>>,
) -> bool {
    let mut is_told = false;
    let end = Instant::now() + silence;
    let is_found = || !places.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    loop {
        let event = if is_found() {
            events.recv().map_err(|_| false)
        } else {
            events.recv_deadline(end).map_err(|_| true)
        };
        let event = match event {
            Ok(event) => event,
            Err(is_silent) => {
                // At once if the daemon has ended by itself.
                thread::sleep(end.saturating_duration_since(Instant::now()));
                return is_silent;
            }
        };
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let Some(found) = Found::read(&service).filter(|found| found.name == name) else {
            continue;
        };
        if fingerprint.is_some_and(|fingerprint| fingerprint != found.fingerprint) {
            if !std::mem::replace(&mut is_told, true) {
                let other = &found.fingerprint;
                log::warn!(
                    "somebody else announces {name} with the key {other}; not connecting to it"
                );
            }
            continue;
        }
        *places.lock().unwrap_or_else(PoisonError::into_inner) = found.places;
    }
}
