//! The built program: started with arguments, its log read while it runs, ended in every way.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Long enough for anything that a loaded machine does in a second.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The promise: after a signal the program ends within this time.
const TERMINATION_MAX: Duration = Duration::from_secs(5);

/// One running osync; killed when dropped.
#[derive(Debug)]
pub(crate) struct Osync {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// The program with these arguments.
pub(crate) fn command(arguments: &[&OsStr]) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_osync")), arguments)
}

/// Another copy of the program with these arguments.
pub(crate) fn command_of(program: &Path, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    // What it keeps from run to run is none of this machine's.
    let state = concat!(env!("CARGO_TARGET_TMPDIR"), "/state");
    command.args(arguments).env_remove("RUST_LOG").env("XDG_STATE_HOME", state);
    command.stdin(Stdio::null());
    command
}

/// Arguments of any kind of string as a slice of `&OsStr`.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        &[$(std::ffi::OsStr::new(&$argument)),*]
    };
}
pub(crate) use arguments;

impl Osync {
    pub(crate) fn start(arguments: &[&OsStr]) -> Self {
        Self::spawn(&mut command(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let reader = spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    /// Runs osync until it ends by itself.
    pub(crate) fn run(arguments: &[&OsStr]) -> (ExitStatus, String) {
        Self::start(arguments).wait_exit(2 * SOON)
    }

    /// The first line of the log so far that holds `text`.
    pub(crate) fn line(&self, text: &str) -> Option<String> {
        let log = self.log.lock().unwrap();
        log.iter().find(|line| line.contains(text)).cloned()
    }

    pub(crate) fn wait_line(&self, text: &str) -> String {
        let complain = || format!("a line with {text:?} in\n{}", self.log());
        wait::for_value(SOON, || self.line(text), complain)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// As `kill -9`: no chance to tidy anything.
    pub(crate) fn kill(mut self) {
        assert!(self.is_running(), "died by itself:\n{}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the program ends by itself, and returns all it has written.
    pub(crate) fn wait_exit(mut self, limit: Duration) -> (ExitStatus, String) {
        let log = Arc::clone(&self.log);
        let complain = || format!("the end of\n{}", log.lock().unwrap().join("\n"));
        let status = wait::for_value(limit, || self.child.try_wait().unwrap(), complain);
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Asks the program to end by SIGTERM and asserts that it does as promised.
    pub(crate) fn terminate(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait_exit(TERMINATION_MAX);
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Osync {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of osync {}:\n{}", self.child.id(), self.log());
        }
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A thread of the test's.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(work).unwrap()
}

/// Where a source's two channels are.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) control: String,
    pub(crate) data: String,
}

impl Addresses {
    /// Two on this machine that are free now: for a sink that runs before its source, or outlives it.
    pub(crate) fn free() -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [control, data] =
            listeners.map(|listener| format!("tcp://{}", listener.local_addr().unwrap()));
        Self { control, data }
    }

    /// Where this source says that it serves.
    pub(crate) fn of(source: &Osync) -> Self {
        let line = source.wait_line("serving ");
        let (_, details) = line.rsplit_once(" on ").unwrap();
        let (control, data) = details.split_once(" and ").unwrap();
        Self { control: control.to_owned(), data: data.to_owned() }
    }

    pub(crate) fn start_source(&self, directory: &Path) -> Osync {
        Osync::start(arguments![
            "source",
            directory,
            "--control",
            self.control,
            "--data",
            self.data
        ])
    }

    pub(crate) fn start_sink(&self, directory: &Path) -> Osync {
        Osync::start(arguments!["sink", directory, "--control", self.control, "--data", self.data])
    }

    pub(crate) fn start_sink_once(&self, directory: &Path) -> Osync {
        let (control, data) = (&self.control, &self.data);
        Osync::start(arguments!["sink", directory, "--once", "--control", control, "--data", data])
    }
}

/// A source on ports of its own choice, and where they are.
pub(crate) fn start_source(directory: &Path) -> (Osync, Addresses) {
    let any = "tcp://127.0.0.1:*".to_owned();
    let source = Addresses { control: any.clone(), data: any }.start_source(directory);
    let addresses = Addresses::of(&source);
    (source, addresses)
}
