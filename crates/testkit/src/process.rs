use std::ffi::OsString;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// Lines of each stream printed when a test fails, and characters of each.
const TAIL: usize = 30;
const WIDTH: usize = 500;

/// The program `name` as built into the target directory that holds the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let path = test
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|it| it == "deps"))
        .and_then(Path::parent)
        .expect("a test lies in deps/ of its profile's directory")
        .join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build --release --workspace --bins",
        path.display()
    );
    path
}

/// Whether `program` is on the `PATH`; for a test that must say what is missing.
pub fn stands(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A Node.js command with the packages of `tests/node`, running `script` of that folder.
pub fn node(script: &str) -> Command {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/node");
    assert!(dir.join("node_modules").is_dir(), "tests/node has no packages: run tests/run once");
    let mut command = Command::new("node");
    command.current_dir(&dir).arg(dir.join(script));
    command
}

/// Whether the long variants were asked for (`tests/run --soak`).
pub fn soak() -> bool {
    std::env::var_os("GATEWRIGHT_TESTS_SOAK").is_some()
}

/// The seed of a random test, from `GATEWRIGHT_TESTS_SEED` or else by chance; printed, so that a run can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var_os("GATEWRIGHT_TESTS_SEED");
    let given = given.and_then(|seed| seed.to_str()?.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
    println!("GATEWRIGHT_TESTS_SEED={seed}");
    seed
}

/// A running program; ends with its value.
///
/// Standard output and error go to `<name>.out` and `<name>.err` in the directory given at the start.
pub struct Process {
    name: String,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`, nothing of this process's environment but `PATH` and what the command sets itself.
    pub fn spawn(name: &str, command: Command, dir: &Path) -> Self {
        Self::spawn_on(name, command, dir, Stdio::null())
    }

    /// As [`spawn`](Self::spawn), with something at standard input.
    pub fn spawn_on(name: &str, command: Command, dir: &Path, stdin: impl Into<Stdio>) -> Self {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect();
        let child = run(command, &environment, [&out, &err], false, stdin.into());
        let command = command_of(&child.1);
        Self {
            name: name.to_owned(),
            program: command.0,
            arguments: command.1,
            environment,
            directory: command.2,
            child: child.0,
            out,
            err,
            exit: None,
        }
    }

    /// Starts it again as it was started, once it has ended; what it writes is added to what is there.
    pub fn restart(&mut self) {
        assert!(self.ended().is_some(), "{} still runs", self.name);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        (self.child, _) =
            run(command, &self.environment, [&self.out, &self.err], true, Stdio::null());
        self.exit = None;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `SIGTERM`.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends `SIGKILL`.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Sends `SIGSTOP`: it stands still until [`resume`](Self::resume), its connections open.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Sends `SIGCONT`.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// How much processor time it has used since its start.
    pub fn processor_time(&self) -> Duration {
        let stat = read(&PathBuf::from(format!("/proc/{}/stat", self.pid())));
        // After the name, which may hold anything, in parentheses: user and system time are the 12th and 13th.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux that matters here.
        Duration::from_millis(ticks * 10)
    }

    /// The exit status, when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("it is our child");
        }
        self.exit
    }

    /// Waits for its end.
    pub async fn exit(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(&what, deadline, async || self.ended()).await
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// The largest resident memory it ever had, in bytes (`VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// The resident memory it has now, in bytes (`VmRSS`).
    pub fn memory(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    fn proc_status(&self, field: &str) -> u64 {
        let status = read(&PathBuf::from(format!("/proc/{}/status", self.pid())));
        let line =
            status.lines().find_map(|line| line.strip_prefix(field)).expect("a live process");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
            kill_process(pid, signal).expect("an own child can be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
                let lines: Vec<_> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(TAIL)..].iter();
                let tail: Vec<_> = tail.map(|it| it.get(..WIDTH).unwrap_or(it)).collect();
                eprintln!(
                    "--- {} {stream} ({} lines)\n{}",
                    self.name,
                    lines.len(),
                    tail.join("\n")
                );
            }
        }
    }
}

/// Starts `command` with nothing in its environment but `PATH` and `environment`; hands the command back, too.
fn run(
    mut command: Command,
    environment: &[(OsString, OsString)],
    streams: [&Path; 2],
    append: bool,
    stdin: Stdio,
) -> (Child, Command) {
    let [out, err] = streams.map(|path| {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(append).truncate(!append);
        options.open(path).expect("the directory is writable")
    });
    let child = command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(stdin)
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    (child, command)
}

/// What makes a command: program, arguments, directory.
fn command_of(command: &Command) -> (OsString, Vec<OsString>, Option<PathBuf>) {
    (
        command.get_program().to_owned(),
        command.get_args().map(ToOwned::to_owned).collect(),
        command.get_current_dir().map(Path::to_path_buf),
    )
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
