//! Tools that stay and follow changes: started, brought in sync, ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::tool::{
    RUN_MAX, RsyncDaemon, Tool, addresses, finish, free_port, osync_sink, osync_source, quiet,
    start, terminate,
};

/// A running tool that keeps a target equal to a source.
#[derive(Debug)]
pub(crate) struct Session {
    children: Vec<Child>,
    rsync: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Session {
    /// Starts `tool`; it copies what is there and then follows.
    pub(crate) fn start(tool: Tool, source: &Path, target: &Path, work: &Path) -> Self {
        fs::create_dir_all(target).expect("a target");
        let mut rsync = None;
        let children = match tool {
            Tool::Osync => {
                let addresses = addresses();
                vec![
                    start(osync_source(source, &addresses)),
                    start(osync_sink(target, &addresses, "none")),
                ]
            }
            Tool::Lsyncd => {
                let mut lsyncd = quiet("lsyncd");
                lsyncd.args(["-nodaemon", "-delay", "0", "-rsync"]).args([source, target]);
                vec![start(lsyncd)]
            }
            Tool::Unison => {
                let mut unison = quiet("unison");
                unison.env("UNISON", work.join("unison")).args([source, target]);
                unison.args(["-batch", "-silent", "-times", "-repeat", "1", "-log=false"]);
                vec![start(unison)]
            }
            Tool::Syncthing => syncthing(source, target, work),
            Tool::RsyncDaemon => {
                let daemon = RsyncDaemon::start(target, work);
                let ends = Arc::new(AtomicBool::new(false));
                let (source, is_over) = (source.to_path_buf(), Arc::clone(&ends));
                let again = move || {
                    while !is_over.load(Ordering::Relaxed) {
                        daemon.push(&source);
                    }
                    daemon.end();
                };
                let looping = thread::Builder::new().name("rsync-again".to_owned());
                rsync = Some((ends, looping.spawn(again).expect("a thread")));
                Vec::new()
            }
            Tool::OsyncMirror
            | Tool::Cp
            | Tool::Tar
            | Tool::Rsync
            | Tool::RsyncFsync
            | Tool::TcpCopy
            | Tool::OsyncKeys
            | Tool::OsyncDurable
            | Tool::CurveStream => {
                unreachable!("compared in another way")
            }
        };
        Self { children, rsync }
    }

    /// Ends it.
    pub(crate) fn end(mut self) {
        if let Some((ends, thread)) = self.rsync.take() {
            ends.store(true, Ordering::Relaxed);
            thread.join().expect("rsync goes well");
        }
        self.children.iter_mut().for_each(terminate);
    }
}

/// Waits until `is_done`, looking every `interval`.
pub(crate) fn wait_until(interval: Duration, what: &str, mut is_done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_done() {
        assert!(began.elapsed() < RUN_MAX, "{what} takes too long");
        thread::sleep(interval);
    }
}

/// Two of them, each with a home of its own, that know each other's address and nobody else.
fn syncthing(source: &Path, target: &Path, work: &Path) -> Vec<Child> {
    let homes = [work.join("syncthing-source"), work.join("syncthing-sink")];
    let ports = [(); 4].map(|()| free_port());
    let ids = homes.each_ref().map(generate);
    for (at, home) in homes.iter().enumerate() {
        let (folder, kind) = if at == 0 { (source, "sendonly") } else { (target, "receiveonly") };
        fs::create_dir_all(folder.join(".stfolder")).expect("a marker");
        let device = |which: usize| {
            let (id, port) = (&ids[which], ports[which]);
            format!(
                "<device id=\"{id}\" name=\"d{which}\" compression=\"metadata\">\
                 <address>tcp://127.0.0.1:{port}</address></device>"
            )
        };
        let devices = device(0) + &device(1);
        let text = format!(
            "<configuration version=\"36\"><folder id=\"pool\" label=\"pool\" path=\"{}\" type=\"{kind}\" \
             rescanIntervalS=\"3600\" fsWatcherEnabled=\"true\" fsWatcherDelayS=\"1\">\
             <device id=\"{}\"></device><device id=\"{}\"></device></folder>{devices}\
             <gui enabled=\"true\"><address>127.0.0.1:{}</address><apikey>compare</apikey></gui>\
             <options><listenAddress>tcp://127.0.0.1:{}</listenAddress>\
             <globalAnnounceEnabled>false</globalAnnounceEnabled>\
             <localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false</relaysEnabled>\
             <natEnabled>false</natEnabled><startBrowser>false</startBrowser>\
             <urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH>\
             <crashReportingEnabled>false</crashReportingEnabled>\
             <reconnectionIntervalS>1</reconnectionIntervalS></options></configuration>",
            folder.display(),
            ids[0],
            ids[1],
            ports[2 + at],
            ports[at],
        );
        fs::write(home.join("config.xml"), text).expect("a configuration");
    }
    homes.iter().map(|home| start(syncthing_in(home, &["serve", "--no-browser"]))).collect()
}

/// Makes a key in `home`; returns its device id.
fn generate(home: &PathBuf) -> String {
    finish(syncthing_in(home, &["generate", "--skip-port-probing", "--no-default-folder"]));
    let output = Command::new("syncthing").arg("--home").arg(home).arg("--device-id").output();
    String::from_utf8_lossy(&output.expect("a device id").stdout).trim().to_owned()
}

fn syncthing_in(home: &Path, arguments: &[&str]) -> Command {
    let mut command = quiet("syncthing");
    command.args(&arguments[..1]).arg("--home").arg(home).args(&arguments[1..]);
    command
}
