//! The programs that are compared, and how each copies a tree once.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::curve;
use crate::measure::{Meter, Usage};
use crate::tree::Closeness;

/// Nothing here takes longer, unless it is broken.
pub(crate) const RUN_MAX: Duration = Duration::from_mins(10);
/// How long a daemon may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);

/// What copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `osync mirror --once`.
    OsyncMirror,
    /// `osync source` and `osync sink --once`, over ZeroMQ on loopback TCP.
    Osync,
    /// The same with keys.
    OsyncKeys,
    /// The same until everything is durable.
    OsyncDurable,
    /// `cp -a`.
    Cp,
    /// `tar c | tar x`.
    Tar,
    /// `rsync -a` between two directories.
    Rsync,
    /// The same, with each file synced.
    RsyncFsync,
    /// `rsync -a` to a daemon on loopback TCP.
    RsyncDaemon,
    /// `unison` between two directories.
    Unison,
    /// `lsyncd` with its shortest delay, between two directories.
    Lsyncd,
    /// Two `syncthing` on loopback TCP.
    Syncthing,
    /// Plain reads and writes of whole files over one loopback TCP connection.
    TcpCopy,
    /// As many bytes as the first file has, over ZeroMQ with CURVE, from and to memory.
    CurveStream,
}

impl Tool {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OsyncMirror => "osync mirror",
            Self::Osync => "osync source + sink",
            Self::OsyncKeys => "osync source + sink, with keys",
            Self::OsyncDurable => "osync source + sink, durable",
            Self::Cp => "cp -a",
            Self::Tar => "tar pipe",
            Self::Rsync => "rsync, local",
            Self::RsyncFsync => "rsync --fsync, local",
            Self::RsyncDaemon => "rsync, daemon",
            Self::Unison => "unison",
            Self::Lsyncd => "lsyncd",
            Self::Syncthing => "syncthing",
            Self::TcpCopy => "plain TCP copy",
            Self::CurveStream => "bare CURVE stream",
        }
    }

    /// Whether it can be run here.
    pub(crate) fn is_installed(self) -> bool {
        let program = match self {
            Self::OsyncMirror | Self::Osync | Self::OsyncKeys | Self::OsyncDurable => {
                return osync().is_file();
            }
            Self::TcpCopy | Self::CurveStream => return true,
            Self::Cp => "cp",
            Self::Tar => "tar",
            Self::Rsync | Self::RsyncFsync | Self::RsyncDaemon => "rsync",
            Self::Unison => "unison",
            Self::Lsyncd => "lsyncd",
            Self::Syncthing => "syncthing",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    }

    /// What it keeps.
    pub(crate) fn closeness(self) -> Closeness {
        match self {
            Self::CurveStream => Closeness::None,
            Self::OsyncMirror | Self::Osync | Self::OsyncKeys | Self::OsyncDurable | Self::Cp => {
                Closeness::Full
            }
            Self::Tar
            | Self::Rsync
            | Self::RsyncFsync
            | Self::RsyncDaemon
            | Self::Unison
            | Self::Lsyncd
            | Self::Syncthing
            | Self::TcpCopy => Closeness::Seconds,
        }
    }

    /// Copies `source` to `target` once; `work` is a directory for what the tool needs beside.
    pub(crate) fn copy(self, source: &Path, target: &Path, work: &Path) -> Usage {
        let mut meter = Meter::start();
        match self {
            Self::OsyncMirror => {
                let mut mirror = quiet(osync());
                mirror.arg("mirror").args([source, target]).args([
                    "--once",
                    "--durability",
                    "none",
                ]);
                finish(mirror);
                meter.done();
            }
            Self::Osync => osync_once(source, target, "none", &mut meter),
            Self::OsyncDurable => osync_once(source, target, "batch", &mut meter),
            Self::OsyncKeys => {
                let [ours, theirs] = ["source", "sink"].map(|end| keygen(&work.join(end)));
                let addresses = addresses();
                meter.begin();
                let mut source = osync_source(source, &addresses);
                source.arg("--key").arg(ours.join("osync.key"));
                source.arg("--allow").arg(theirs.join("osync.pub"));
                let mut source = start(source);
                let mut sink = osync_sink(target, &addresses, "none");
                sink.arg("--key").arg(theirs.join("osync.key"));
                sink.arg("--source-key").arg(ours.join("osync.pub"));
                sink.arg("--once");
                finish(sink);
                meter.done();
                terminate(&mut source);
            }
            Self::Cp => {
                let mut cp = quiet("cp");
                cp.arg("-a").args([source, target]);
                finish(cp);
                meter.done();
            }
            Self::Tar => {
                fs::create_dir_all(target).expect("a target");
                let mut out = quiet("tar");
                out.arg("-C").arg(source).args(["-cf", "-", "."]).stdout(Stdio::piped());
                let mut out = start(out);
                let mut into = quiet("tar");
                into.arg("-C").arg(target).args(["-xpf", "-"]);
                into.stdin(out.stdout.take().expect("piped"));
                finish(into);
                assert!(out.wait().expect("tar ends").success());
                meter.done();
            }
            Self::Rsync | Self::RsyncFsync => {
                let mut rsync = quiet("rsync");
                rsync.args(["-a", "--delete", "--modify-window=-1"]);
                if self == Self::RsyncFsync {
                    rsync.arg("--fsync");
                }
                rsync.arg(inside(source)).arg(target);
                finish(rsync);
                meter.done();
            }
            Self::RsyncDaemon => {
                let daemon = RsyncDaemon::start(target, work);
                meter.begin();
                daemon.push(source);
                meter.done();
                daemon.end();
            }
            Self::Unison => {
                let mut unison = quiet("unison");
                unison.env("UNISON", work.join("unison")).args([source, target]);
                unison.args(["-batch", "-silent", "-times", "-owner", "-group", "-numericids"]);
                unison.args(["-perms", "-1", "-confirmbigdel=false", "-log=false"]);
                finish(unison);
                meter.done();
            }
            Self::TcpCopy => {
                tcp_copy(source, target);
                meter.done();
            }
            Self::CurveStream => {
                let file = fs::read_dir(source).expect("a source").next().expect("a file");
                let bytes = file.and_then(|file| file.metadata()).expect("a file").len();
                meter.begin();
                curve::stream(usize::try_from(bytes).expect("fits into memory"));
                meter.done();
                fs::create_dir(target).expect("a target");
            }
            Self::Lsyncd | Self::Syncthing => unreachable!("they never end by themselves"),
        }
        meter.usage()
    }
}

/// The program built beside this one.
fn osync() -> PathBuf {
    std::env::current_exe().expect("a path of our own").with_file_name("osync")
}

/// Two free loopback addresses.
pub(crate) fn addresses() -> [String; 2] {
    [(); 2].map(|()| format!("tcp://127.0.0.1:{}", free_port()))
}

/// A port that nobody listens on. Two are taken at once by asking twice.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// `osync source`, ready to start.
pub(crate) fn osync_source(source: &Path, [control, data]: &[String; 2]) -> Command {
    let mut command = quiet(osync());
    command.arg("source").arg(source).args(["--control", control, "--data", data]);
    command
}

/// `osync sink`, ready to start.
pub(crate) fn osync_sink(
    target: &Path,
    [control, data]: &[String; 2],
    durability: &str,
) -> Command {
    let mut command = quiet(osync());
    command.arg("sink").arg(target).args(["--control", control, "--data", data]);
    command.args(["--durability", durability]);
    command
}

/// Copies `source` to `target` with both ends.
fn osync_once(source: &Path, target: &Path, durability: &str, meter: &mut Meter) {
    let addresses = addresses();
    let mut source = start(osync_source(source, &addresses));
    let mut sink = osync_sink(target, &addresses, durability);
    sink.arg("--once");
    finish(sink);
    meter.done();
    terminate(&mut source);
}

/// A pair of keys in `directory`.
fn keygen(directory: &Path) -> PathBuf {
    let mut keygen = quiet(osync());
    keygen.arg("keygen").arg(directory);
    finish(keygen);
    directory.to_owned()
}

/// A command whose output nobody reads.
pub(crate) fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts `command`.
pub(crate) fn start(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs `command` to its good end.
pub(crate) fn finish(mut command: Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// Asks `child` to end, and waits for it.
pub(crate) fn terminate(child: &mut Child) {
    let mut kill = quiet("kill");
    kill.arg("-TERM").arg(child.id().to_string());
    finish(kill);
    child.wait().expect("it ends");
}

/// `directory`, as rsync names what is in it.
fn inside(directory: &Path) -> PathBuf {
    directory.join("")
}

/// `rsync --daemon` on loopback, with one module that is the target.
#[derive(Debug)]
pub(crate) struct RsyncDaemon {
    child: Child,
    port: u16,
}

impl RsyncDaemon {
    /// Starts one that writes to `target`, and waits until it listens.
    pub(crate) fn start(target: &Path, work: &Path) -> Self {
        fs::create_dir_all(target).expect("a target");
        let port = free_port();
        let config = work.join("rsyncd.conf");
        // Without a root of its own a daemon takes the leading slash from the targets of links.
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let chroot = if is_root { "yes" } else { "no" };
        let text = format!(
            "use chroot = {chroot}\nuid = 0\ngid = 0\nmunge symlinks = no\n[target]\npath = {}\nread only = no\n",
            target.display()
        );
        fs::write(&config, text).expect("a configuration");
        let mut daemon = quiet("rsync");
        daemon.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
        daemon.arg(format!("--port={port}")).arg(format!("--config={}", config.display()));
        let child = start(daemon);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < LISTEN_MAX, "rsync does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Self { child, port }
    }

    /// Brings the target to the state of `source`, by the delta algorithm where files differ.
    pub(crate) fn push(&self, source: &Path) {
        let mut rsync = quiet("rsync");
        // Without the last a change within the second of the one before passes for none.
        rsync.args(["-a", "--delete", "--no-whole-file", "--modify-window=-1"]).arg(inside(source));
        rsync.arg(format!("rsync://127.0.0.1:{}/target/", self.port));
        finish(rsync);
    }

    /// Ends it.
    pub(crate) fn end(mut self) {
        terminate(&mut self.child);
    }
}

/// Copies the files of `source`, one directory deep, by plain reads and writes of 256 KiB over one connection.
fn tcp_copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).expect("a target");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut files: Vec<_> = fs::read_dir(source)
        .expect("a source")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort_unstable();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            for path in &files {
                let length = fs::metadata(path).expect("a file").len();
                let to = target.join(path.file_name().expect("a name"));
                let mut file = fs::File::create(to).expect("a file");
                let mut rest = std::io::Read::take(&mut stream, length);
                pump(&mut rest, &mut file);
                let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
                file.set_modified(modified.expect("a time")).expect("a time");
            }
        });
        let mut stream = TcpStream::connect(address).expect("a connection");
        for path in &files {
            pump(&mut fs::File::open(path).expect("a file"), &mut stream);
        }
    });
}

fn pump(from: &mut impl std::io::Read, to: &mut impl Write) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = from.read(&mut buffer).expect("a read");
        if count == 0 {
            return;
        }
        to.write_all(&buffer[..count]).expect("a write");
    }
}
