//! The osync program: parses, checks the directories, starts the endpoint asked for, follows it.
//!
//! ```text
//! args --> main --> Mirror | SourceEndpoint | SinkEndpoint --> follow --> exit code
//!                          '---- events, reports ----> render
//! ```

mod args;
mod confinement;
mod directories;
mod discovery;
mod follow;
mod horizons;
mod keys;
mod render;

use std::error::Error;
use std::hint::black_box;
use std::iter;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use osync_core::adapters::filters::FilteredSource;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::adapters::relay::RelaySink;
use osync_core::adapters::transport::zmq::ZmqTransport;
use osync_core::model::connection::ConnectionDetails;
use osync_core::ports::change_feed::ChangeFeed;
use osync_core::ports::source::Source;
use osync_core::{Mirror, SinkEndpoint, SourceEndpoint};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::{Channels, Command, Kept, RelayArguments, SinkKeys, SourceArguments};
use crate::follow::{Endpoint, follow};
use crate::horizons::Horizons;
use crate::render::{Renderer, printable};

/// Ended with problems: some paths are not replicated.
const EXIT_PROBLEMS: u8 = 1;
/// Could not run.
const EXIT_FAILED: u8 = 2;
/// The size of blocks, in bytes, that the allocator keeps, and up to twice as much free memory: more than the
/// largest window, so that payloads do not have their pages made anew each time.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

fn main() -> ExitCode {
    match args::parse().map_err(Into::into).and_then(run) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_PROBLEMS),
        Err(error) => {
            eprintln!("osync: {}", printable(&chain(&*error)));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Asks for as many descriptors as this user may have: strangers hold some until their handshake times out.
fn raise_descriptor_limit() {
    let limits = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
    if let Err(error) = raised {
        log::debug!("the limit of descriptors stays at {:?}: {error}", limits.current);
    }
}

/// Does what the command says; returns how many paths are not replicated at the end.
fn run(command: Command) -> Result<u64, Box<dyn Error>> {
    follow::handle_signals()?;
    raise_descriptor_limit();
    keep_freed_memory();
    match command {
        Command::Mirror { source, target, once, source_arguments, sink_arguments, kept } => {
            let source = directories::existing(&source)?;
            let target = directories::apart(&source, &target)?;
            if let Some(trash) = &sink_arguments.trash {
                directories::outside(&source, trash)?;
            }
            let target = directories::made(&target)?;
            let renderer = Arc::new(Renderer::install());
            log::info!("mirroring {} into {}", source.display(), target.display());
            let (entries, feed) = opened(&source, &source_arguments, &kept)?;
            let state = source_arguments.state.as_deref();
            let horizons = Horizons::of(state, &source, renderer.clone());
            let mirror = Mirror::start(
                entries,
                feed,
                Arc::new(kept.of_sink(sink_arguments.open(&target)?)),
                source_arguments.options().with_horizons(horizons.known()),
                sink_arguments.options(),
                Arc::new(horizons),
            )?;
            follow(Endpoint::Mirror(mirror), once, &renderer)
        }
        Command::Source { source, channels, keys, source_arguments, kept } => {
            let source = directories::existing(&source)?;
            let renderer = Arc::new(Renderer::install());
            let (entries, feed) = opened(&source, &source_arguments, &kept)?;
            let (transport, public) = keys::source_transport(&keys)?;
            let state = source_arguments.state.as_deref();
            let horizons = Horizons::of(state, &source, renderer.clone());
            let endpoint = SourceEndpoint::start(
                entries,
                feed,
                &transport,
                &channels.into(),
                source_arguments.options().with_horizons(horizons.known()),
                Arc::new(horizons),
            )?;
            log::info!("serving {} on {}", source.display(), endpoint.details());
            let announce = |name| discovery::announce(name, &endpoint.details(), public);
            let _announcement = keys.announce.as_deref().map(announce).transpose()?;
            follow(Endpoint::Source(endpoint), false, &renderer)
        }
        Command::Sink {
            target,
            channels,
            from,
            name,
            once,
            keys,
            sink_arguments,
            kept,
            confined,
        } => {
            let target = directories::made(&target)?;
            let name = name.map_or_else(|| directories::sink_name(&target), Ok)?;
            confined.apply(&target, &keys, sink_arguments.trash.as_deref(), None)?;
            let renderer = Arc::new(Renderer::install());
            confined.tell(&target);
            let Some((transport, details)) = upstream(&keys, channels, from)? else { return Ok(0) };
            log::info!("keeping {} equal to the source at {details}, as {name}", target.display());
            let endpoint = SinkEndpoint::start(
                Arc::new(kept.of_sink(sink_arguments.open(&target)?)),
                &transport,
                &details,
                sink_arguments.options().with_name(name),
                renderer.clone(),
            )?;
            follow(Endpoint::Sink(endpoint), once, &renderer)
        }
        Command::Relay(arguments) => relay(*arguments),
        Command::Discover { seconds } => {
            discovery::list(Duration::from_secs(seconds))?;
            Ok(0)
        }
        Command::Keygen { directory } => {
            keys::generate(&directory)?;
            Ok(0)
        }
    }
}

/// A sink whose directory is served by a source in the same process.
fn relay(arguments: RelayArguments) -> Result<u64, Box<dyn Error>> {
    let RelayArguments {
        target,
        channels,
        from,
        name,
        serving,
        keys,
        sink_arguments,
        kept,
        confined,
    } = arguments;
    let target = directories::made(&target)?;
    let name = name.map_or_else(|| directories::sink_name(&target), Ok)?;
    confined.apply(&target, &keys, sink_arguments.trash.as_deref(), Some(&serving))?;
    let renderer = Arc::new(Renderer::install());
    confined.tell(&target);
    let (sink, feed) = RelaySink::new(Arc::new(kept.of_sink(sink_arguments.open(&target)?)));
    let horizons = Horizons::of(serving.state.as_deref(), &target, renderer.clone());
    let serving_keys = serving.keys(&keys);
    let (downstream, public) = keys::source_transport(&serving_keys)?;
    let source = SourceEndpoint::start(
        Arc::new(kept.of_source(DirectorySource::open(&target)?)),
        Box::new(feed),
        &downstream,
        &serving.details(),
        serving.options().with_horizons(horizons.known()),
        Arc::new(horizons),
    )?;
    log::info!("serving {} on {}", target.display(), source.details());
    let announce = |name| discovery::announce(name, &source.details(), public);
    let _announcement = serving_keys.announce.as_deref().map(announce).transpose()?;
    let Some((transport, details)) = upstream(&keys, channels, from)? else { return Ok(0) };
    log::info!("keeping {} equal to the source at {details}, as {name}", target.display());
    let sink = SinkEndpoint::start(
        Arc::new(sink),
        &transport,
        &details,
        sink_arguments.options().with_name(name),
        renderer.clone(),
    )?;
    follow(Endpoint::Relay(sink, source), false, &renderer)
}

/// Has the allocator keep up to [`KEPT_BYTES`] twice over in every arena instead of giving each payload's
/// pages back to the kernel and having them cleared for the next.
///
/// The C library takes the largest block it has mapped and unmapped for the size of blocks to keep; it does
/// so for libzmq's messages too. Other allocators take no notice.
fn keep_freed_memory() {
    drop(black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

/// How a sink reaches its source, and where that is; `None` if osync was asked to end before it was found.
fn upstream(
    keys: &SinkKeys,
    channels: Channels,
    from: Option<String>,
) -> Result<Option<(ZmqTransport, ConnectionDetails)>, Box<dyn Error>> {
    let (transport, trusted) = keys::sink_transport(keys)?;
    let Some(instance) = from else { return Ok(Some((transport, channels.into()))) };
    let found = discovery::find(&instance, trusted)?;
    Ok(found.map(|found| (transport.finding(found.finder), found.details)))
}

/// A source, and who tells of its changes.
type Watched = (Arc<dyn Source>, Box<dyn ChangeFeed>);

/// The directory `root` and its changes, less what is to be left out.
fn opened(
    root: &Path,
    arguments: &SourceArguments,
    kept: &Kept,
) -> Result<Watched, Box<dyn Error>> {
    let source: Arc<dyn Source> = Arc::new(kept.of_source(DirectorySource::open(root)?));
    let filter = arguments.filter(&source)?;
    let feed = arguments.feed(root, filter.clone())?;
    Ok(match filter {
        None => (source, feed),
        Some(filter) => (Arc::new(FilteredSource::new(source, filter)), feed),
    })
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
