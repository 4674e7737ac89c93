//! A stand-in for GitHub's self-hosted runner: for the tests of the beacon, and to play with by hand. It lays out a
//! runner's root, writes a runner's log, and has a worker process while a job runs. It talks to nobody.
//!
//! ```text
//! cargo run --example stand_in_runner -- install /tmp/atlas-1 --name atlas-1 --url https://github.com/acme/atlas --id 7
//! /tmp/atlas-1/run.sh                         # then type commands, one per line; each is answered when it is done
//! tail -F /tmp/atlas-1/_diag/Runner_*.log     # in another shell
//! ```
//!
//! - `start [GUID] [NAME]`: a job arrives and its worker runs. `receive [GUID] [NAME]`: as far as its first renewal,
//!   without a worker; `start` then goes on.
//! - `renew`: now, and not only every 60 s. `finish`: the worker ends, and its job.
//! - `wedge`: the job's end is logged, its worker stays, also when the listener goes.
//! - `kill-worker`: the worker dies, and its job fails; or else those that are wedged die.
//! - `crash`: the listener is gone without a word, its worker stays. A worker that stays does so for an hour.
//! - `page`: a new page of the log. `raw TEXT`: a line of your own in the log.
//! - `exit`, or the end of its input: a graceful shutdown, which cancels a job that runs.
//!
//! It is what it is installed as: `bin/Runner.Listener run` listens, `bin/Runner.Worker spawnclient 10 13` works. A
//! worker also dies with a listener that is killed. `install` without `--url` leaves the URL out of `.runner`, and
//! with `--jit` it writes the file as GitHub encodes it for a just-in-time runner: other keys, every value a string.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::{
    env,
    error::Error,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// From one renewal to the next.
const RENEWAL: TimeDelta = TimeDelta::seconds(60);

/// How long a renewed lease is valid.
const LEASE: TimeDelta = TimeDelta::seconds(600);

/// How often the listener looks after its worker and its lease.
const LOOK: Duration = Duration::from_millis(200);

/// How long a worker stays that outlives its job or its listener.
const STAY: Duration = Duration::from_secs(3_600);

/// The exit codes of a worker: 100 and the result of its job.
const SUCCEEDED: u8 = 100;
const CANCELED: u8 = 103;

const USAGE: &str = "install DIR --name NAME [--url URL] [--id N] [--jit]";

fn main() -> Outcome<ExitCode> {
    let program = env::current_exe()?;
    let name = program
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    match (name.strip_suffix(env::consts::EXE_SUFFIX), first) {
        (Some("Runner.Worker"), Some("spawnclient")) => work(),
        (Some("Runner.Listener"), Some("run")) => {
            let bin = program.parent().ok_or("no bin")?;
            listen(bin, bin.parent().ok_or("no root")?)
        }
        (_, Some("install")) => {
            install(&program, arguments.into_iter().skip(1))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(USAGE.into()),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a runner stamps its lines with its host's clock"
)]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

fn stamp(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M:%SZ")
}

/// Works until it is told how to end, or until nobody is left to tell it. Told to stay, it stays.
fn work() -> Outcome<ExitCode> {
    answer("ready")?;
    if let Some(word) = io::stdin().lines().next() {
        match word?.parse::<u8>() {
            Ok(code) => return Ok(code.into()),
            Err(_) => thread::sleep(STAY),
        }
    }
    Ok(CANCELED.into())
}

fn listen(bin: &Path, root: &Path) -> Outcome<ExitCode> {
    let mut listener = Listener::start(bin, root)?;
    let (typed, commands) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if typed.send(line).is_err() {
                break;
            }
        }
    });
    answer("ok listening")?;
    loop {
        let command = commands.recv_timeout(LOOK);
        listener.look_after_job()?;
        match command.as_deref().map(str::trim) {
            Ok("exit") => {
                listener.shut_down()?;
                answer("ok")?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok("crash") => {
                if let Some(worker) = listener.job.and_then(|job| job.worker) {
                    worker.stay();
                }
                answer("ok")?;
                return Ok(ExitCode::FAILURE);
            }
            Ok(command) => match listener.obey(command) {
                Ok(done) => answer(format!("ok {done}").trim_end())?,
                Err(error) => answer(&format!("error {error}"))?,
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                listener.shut_down()?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

fn answer(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

struct Listener {
    worker: PathBuf,
    log: Log,
    job: Option<Job>,
    /// Workers that outlived their jobs.
    wedged: Vec<Worker>,
}

struct Job {
    guid: String,
    name: String,
    renewed_at: DateTime<Utc>,
    worker: Option<Worker>,
}

impl Listener {
    fn start(bin: &Path, root: &Path) -> Outcome<Self> {
        let mut log = Log::open(root.join("_diag"))?;
        log.info("Listener", "Version: 2.336.0")?;
        log.info("Listener", "Culture: ")?;
        log.info("BrokerMessageListener", "Attempt to create session.")?;
        log.info("BrokerMessageListener", "Session created.")?;
        log.info("Terminal", "WRITE LINE: Current runner version: '2.336.0'")?;
        log.terminal("Listening for Jobs")?;
        Ok(Self {
            worker: bin.join(format!("Runner.Worker{}", env::consts::EXE_SUFFIX)),
            log,
            job: None,
            wedged: Vec::new(),
        })
    }

    /// Does as told, and says what it did.
    fn obey(&mut self, command: &str) -> Outcome<String> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "start" => {
                let job = match self.job.take_if(|job| job.worker.is_none()) {
                    Some(received) if rest.is_empty() || rest == received.guid => received,
                    Some(received) => {
                        self.job = Some(received);
                        return Err("another job was received".into());
                    }
                    None => self.receive(rest)?,
                };
                let job = self.job.insert(job);
                let worker = Worker::spawn(&self.worker)?;
                let done = format!("{} {}", job.guid, worker.process.id());
                self.log.info(
                    "ProcessInvokerWrapper",
                    &format!(
                        "Process started with process id {}, waiting for process exit.",
                        worker.process.id()
                    ),
                )?;
                job.worker = Some(worker);
                self.log.dispatcher(&format!(
                    "Send job request message to worker for job {}.",
                    job.guid
                ))?;
                Ok(done)
            }
            "receive" => {
                let job = self.receive(rest)?;
                Ok(self.job.insert(job).guid.clone())
            }
            "renew" => {
                let job = self.job.as_mut().ok_or("no job")?;
                self.log.renew(job)?;
                Ok(job.guid.clone())
            }
            "finish" => {
                let job = self.job.take().ok_or("no job")?;
                self.end(job, SUCCEEDED)
            }
            "wedge" => {
                let worker = |job: &mut Job| job.worker.take();
                let worker = self.job.as_mut().and_then(worker).ok_or("no worker")?;
                let job = self.job.take().ok_or("no job")?;
                let pid = worker.process.id();
                self.wedged.push(worker.stay());
                self.log.over(&job, "Succeeded")?;
                Ok(format!("{} {pid}", job.guid))
            }
            "kill-worker" => {
                if let Some(mut job) = self.job.take_if(|job| job.worker.is_some()) {
                    if let Some(worker) = &mut job.worker {
                        worker.kill()?;
                    }
                    return self.end(job, SUCCEEDED);
                }
                if self.wedged.is_empty() {
                    return Err("no worker".into());
                }
                for mut worker in self.wedged.drain(..) {
                    worker.kill()?;
                }
                Ok(String::new())
            }
            "page" => self.log.page(),
            "raw" => {
                self.log.write("", rest)?;
                Ok(String::new())
            }
            _ => Err("there are: start, receive, renew, finish, wedge, kill-worker, crash, page, raw, exit".into()),
        }
    }

    /// A job arrives, and its lease is renewed for the first time; a worker is started only then.
    fn receive(&mut self, which: &str) -> Outcome<Job> {
        if self.job.is_some() {
            return Err("there is a job already".into());
        }
        let (first, rest) = which.split_once(' ').unwrap_or((which, ""));
        let (guid, name) = if is_guid(first) {
            (first.to_owned(), rest)
        } else {
            (random_guid(), which)
        };
        let mut job = Job {
            guid,
            name: if name.is_empty() { "build" } else { name }.to_owned(),
            renewed_at: now(),
            worker: None,
        };
        let (guid, log) = (&job.guid, &mut self.log);
        log.dispatcher(&format!(
            "Job request 0 for plan {} job {guid} received.",
            random_guid()
        ))?;
        log.status("Busy")?;
        log.terminal(&format!("Running job: {}", job.name))?;
        log.dispatcher(&format!("Start renew job request 0 for job {guid}."))?;
        log.renew(&mut job)?;
        Ok(job)
    }

    /// A job ends with its worker, which is told how to exit where it still can be.
    fn end(&mut self, mut job: Job, mut code: u8) -> Outcome<String> {
        if let Some(mut worker) = job.worker.take() {
            worker.tell(&code.to_string());
            let status = worker.process.wait()?;
            code = exit_code(status);
            let (pid, took) = (worker.process.id(), now() - worker.began_at);
            self.log.info(
                "ProcessInvokerWrapper",
                &format!(
                    "Finished process {pid} with exit code {code}, and elapsed time {:02}:{:02}:{:02}.{:07}.",
                    took.num_hours(),
                    took.num_minutes() % 60,
                    took.num_seconds() % 60,
                    took.subsec_nanos() / 100,
                ),
            )?;
            self.log.dispatcher(&format!(
                "Worker finished for job {}. Code: {code}",
                job.guid
            ))?;
        }
        self.log.over(&job, result_of(code))?;
        Ok(job.guid)
    }

    /// Renews in time, and notices a worker that ended by itself.
    fn look_after_job(&mut self) -> Outcome<()> {
        let mut ended = false;
        if let Some(job) = &mut self.job {
            if let Some(worker) = &mut job.worker {
                ended = worker.process.try_wait()?.is_some();
            }
            if !ended && now() - job.renewed_at >= RENEWAL {
                self.log.renew(job)?;
            }
        }
        if let Some(job) = self.job.take_if(|_| ended) {
            self.end(job, SUCCEEDED)?;
        }
        for worker in &mut self.wedged {
            worker.process.try_wait()?; // or it would be a zombie
        }
        Ok(())
    }

    fn shut_down(&mut self) -> Outcome<()> {
        self.log
            .info("HostContext", "Runner will be shutdown for UserCancelled")?;
        self.log.dispatcher(
            "Shutting down JobDispatcher. Make sure all WorkerDispatcher has finished.",
        )?;
        if let Some(job) = self.job.take() {
            let ensured = format!(
                "Ensure WorkerDispatcher for job {} run to finish, cancel any running job.",
                job.guid
            );
            self.log.dispatcher(&ensured)?;
            self.end(job, CANCELED)?;
        }
        self.log.info("Runner", "Deleting Runner Session...")?;
        self.log.info(
            "Listener",
            "Runner execution has finished with return code 0",
        )?;
        Ok(())
    }
}

struct Worker {
    process: Child,
    began_at: DateTime<Utc>,
}

impl Worker {
    /// Starts one, and waits until it runs: for a moment after it was spawned, a process has no command line and
    /// bears its parent's name.
    fn spawn(program: &Path) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(["spawnclient", "10", "13"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // one that stays must hold nobody else's pipe open
            .spawn()?;
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut String::new())?;
        }
        Ok(Self {
            process,
            began_at: now(),
        })
    }

    /// Tells it something. One that is gone already does not hear it.
    fn tell(&mut self, word: &str) {
        if let Some(stdin) = &mut self.process.stdin {
            let _ = writeln!(stdin, "{word}");
        }
    }

    fn stay(mut self) -> Self {
        self.tell("stay");
        self
    }

    fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

/// As .NET has it: a process that a signal ended exits with 128 and the signal's number.
fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

/// What the dispatcher makes of a worker's exit code.
fn result_of(code: u8) -> &'static str {
    match code {
        100 => "Succeeded",
        101 => "SucceededWithIssues",
        103 => "Canceled",
        104 => "Skipped",
        105 => "Abandoned",
        _ => "Failed",
    }
}

fn is_guid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn random_guid() -> String {
    let (a, b) = (
        RandomState::new().hash_one(0),
        RandomState::new().hash_one(1),
    );
    format!(
        "{:08x}-{:04x}-5{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0xfff,
        b & 0xffff_ffff_ffff
    )
}

/// The listener's log: pages of lines.
struct Log {
    directory: PathBuf,
    name: String,
    page: File,
}

impl Log {
    fn open(directory: PathBuf) -> io::Result<Self> {
        let name = Self::name(now());
        let page = Self::append(&directory, &name)?;
        Ok(Self {
            directory,
            name,
            page,
        })
    }

    fn name(at: DateTime<Utc>) -> String {
        at.format("Runner_%Y%m%d-%H%M%S-utc.log").to_string()
    }

    fn append(directory: &Path, name: &str) -> io::Result<File> {
        fs::create_dir_all(directory)?;
        let mut options = File::options();
        options.create(true).append(true).open(directory.join(name))
    }

    /// Begins a new page, as soon as the second is over that the last one is named after.
    fn page(&mut self) -> Outcome<String> {
        let name = loop {
            let name = Self::name(now());
            if name != self.name {
                break name;
            }
            thread::sleep(Duration::from_millis(20));
        };
        self.page = Self::append(&self.directory, &name)?;
        self.name.clone_from(&name);
        Ok(name)
    }

    /// Writes a line as the runner does: its header, and then, apart from it, its message.
    fn write(&mut self, header: &str, message: &str) -> io::Result<()> {
        self.page.write_all(header.as_bytes())?;
        self.page.flush()?;
        self.page.write_all(format!("{message}\n").as_bytes())?;
        self.page.flush()
    }

    fn write_at(&mut self, at: DateTime<Utc>, source: &str, message: &str) -> io::Result<()> {
        self.write(&format!("[{} INFO {source}] ", stamp(at)), message)
    }

    fn info(&mut self, source: &str, message: &str) -> io::Result<()> {
        self.write_at(now(), source, message)
    }

    fn dispatcher(&mut self, message: &str) -> io::Result<()> {
        self.info("JobDispatcher", message)
    }

    fn terminal(&mut self, text: &str) -> io::Result<()> {
        let at = now();
        self.write_at(
            at,
            "Terminal",
            &format!("WRITE LINE: {}: {text}", stamp(at)),
        )
    }

    fn status(&mut self, state: &str) -> io::Result<()> {
        self.info(
            "BrokerMessageListener",
            &format!("Received job status event. JobState: {state}"),
        )
    }

    fn renew(&mut self, job: &mut Job) -> io::Result<()> {
        let at = now();
        job.renewed_at = at;
        self.write_at(
            at,
            "JobDispatcher",
            &format!(
                "Successfully renew job {}, job is valid till {}",
                job.guid,
                (at + LEASE).format("%m/%d/%Y %H:%M:%S")
            ),
        )
    }

    /// A job is over, whatever became of its worker.
    fn over(&mut self, job: &Job, result: &str) -> io::Result<()> {
        let Job { guid, name, .. } = job;
        self.dispatcher(&format!(
            "finish job request for job {guid} with result: {result}"
        ))?;
        self.terminal(&format!("Job {name} completed with result: {result}"))?;
        self.dispatcher(&format!("Stop renew job request for job {guid}."))?;
        self.dispatcher(&format!(
            "job renew has been cancelled, stop renew job {guid}."
        ))?;
        self.status("Online")
    }
}

/// Lays out a runner's root.
fn install(program: &Path, mut arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let root = PathBuf::from(arguments.next().ok_or(USAGE)?);
    let (mut name, mut url, mut id, mut jit) = (None, None, 1_u64, false);
    while let Some(option) = arguments.next() {
        match &*option {
            "--name" => name = arguments.next(),
            "--url" => url = arguments.next(),
            "--id" => id = arguments.next().ok_or(USAGE)?.parse()?,
            "--jit" => jit = true,
            _ => return Err(USAGE.into()),
        }
    }
    let name = name.ok_or(USAGE)?;
    let bin = root.join("bin");
    fs::create_dir_all(&bin)?;
    for role in ["Runner.Listener", "Runner.Worker"] {
        fs::copy(
            program,
            bin.join(format!("{role}{}", env::consts::EXE_SUFFIX)),
        )?;
    }
    fs::write(root.join(".runner"), settings(&name, url, id, jit))?;
    let run = root.join("run.sh");
    fs::write(
        &run,
        "#!/bin/sh\nexec \"$(dirname \"$0\")/bin/Runner.Listener\" run \"$@\"\n",
    )?;
    #[cfg(unix)]
    fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    println!("{}", run.display());
    Ok(())
}

/// The `.runner` file: as the runner saves it, with a byte-order mark, or as GitHub encodes it for
/// a just-in-time runner, which saves it as it comes.
fn settings(name: &str, url: Option<String>, id: u64, jit: bool) -> String {
    let mut settings = vec![
        ("agentId", json!(id)),
        ("agentName", json!(name)),
        ("poolId", json!(1)),
        ("poolName", json!("Default")),
        (
            "serverUrl",
            json!("https://pipelines.actions.githubusercontent.com/stand-in/"),
        ),
    ];
    settings.extend(url.map(|url| ("gitHubUrl", json!(url))));
    settings.push(("workFolder", json!("_work")));
    settings.push(("useV2Flow", json!(true)));
    if jit {
        settings.push(("ephemeral", json!(true)));
        let pascal = |(key, value): (&str, Value)| {
            let mut rest = key.chars();
            let first = rest.next().map(|first| first.to_ascii_uppercase());
            let key: String = first.into_iter().chain(rest).collect();
            let text = value.as_str().map_or(value.to_string(), str::to_owned);
            format!("\"{key}\":{}", json!(text))
        };
        let settings: Vec<_> = settings.into_iter().map(pascal).collect();
        return format!("{{{}}}", settings.join(","));
    }
    let line = |(key, value)| format!("  \"{key}\": {value}");
    let settings: Vec<_> = settings.into_iter().map(line).collect();
    format!("\u{feff}{{\n{}\n}}", settings.join(",\n"))
}
