//! Transports with the keys that the command line names, and making keys.

use std::path::Path;
use std::sync::Arc;

use osync_core::adapters::transport::zmq::ZmqTransport;
use osync_core::adapters::transport::zmq::keys::{AllowList, KeyError, KeyPair, read_public};
use osync_core::model::key::PublicKey;

use crate::args::{SinkKeys, SourceKeys};
use crate::follow::on_hangup;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes a pair of keys in `directory`; says where they are and what they are for.
pub(crate) fn generate(directory: &Path) -> Result<()> {
    let pair = KeyPair::generate()?;
    let (secret, public) = pair.save(directory)?;
    println!("secret key: {} (stays here: --key)", secret.display());
    println!("public key: {} (goes to the other end: --allow, --source-key)", public.display());
    println!("{}", pair.public());
    Ok(())
}

/// A source's transport and its key. The list that it admits is read again on SIGHUP.
pub(crate) fn source_transport(
    arguments: &SourceKeys,
) -> Result<(ZmqTransport, Option<PublicKey>)> {
    match (&arguments.key, &arguments.allow) {
        (Some(key), Some(allow)) => {
            let own = KeyPair::load(key)?;
            log::info!("public key of this source: {}", own.public());
            let public = own.public();
            let list = Arc::new(AllowList::open(allow));
            let transport = ZmqTransport::with_keys(own)?.admitting(Arc::clone(&list))?;
            on_hangup(move || list.reread())?;
            Ok((transport, Some(public)))
        }
        _ if arguments.insecure => {
            log::warn!(
                "no keys and --insecure: whoever reaches this source can read everything in it"
            );
            Ok((ZmqTransport::new().insecure(), None))
        }
        _ => {
            log::info!("no keys: sinks of this machine only, unencrypted");
            Ok((ZmqTransport::new(), None))
        }
    }
}

/// A sink's transport, and the key that it trusts.
pub(crate) fn sink_transport(arguments: &SinkKeys) -> Result<(ZmqTransport, Option<PublicKey>)> {
    let (Some(key), Some(source)) = (&arguments.key, &arguments.source_key) else {
        log::info!("no keys: the connection is neither encrypted nor authenticated");
        return Ok((ZmqTransport::new(), None));
    };
    let own = KeyPair::load(key)?;
    log::info!("public key of this sink: {}", own.public());
    let trusted = source_key(source)?;
    Ok((ZmqTransport::with_keys(own)?.trusting(trusted), Some(trusted)))
}

/// The key that is written out, or in the file of this name.
fn source_key(text: &str) -> std::result::Result<PublicKey, KeyError> {
    text.parse().or_else(|_| read_public(Path::new(text)))
}
