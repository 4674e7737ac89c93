//! The stand-in for a runner, driven from a test.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A runner's root, and the listener and the workers that were started in it. They end with it.
pub(crate) struct StandIn {
    root: PathBuf,
    listener: Option<Listener>,
    /// The workers that were started, the latest last.
    workers: Vec<u32>,
}

struct Listener {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl StandIn {
    /// Lays out a runner's root in `dir`. Without a scope's URL, `.runner` has none.
    pub(crate) fn install(dir: &Path, name: &str, scope_url: Option<&str>, id: u64) -> Self {
        let url = scope_url.map(|url| ["--url", url]);
        Self::install_with(dir, name, id, url.iter().flatten())
    }

    /// Lays out the root of a just-in-time runner: `.runner` is as GitHub encodes it.
    pub(crate) fn install_jit(dir: &Path, name: &str, id: u64) -> Self {
        Self::install_with(dir, name, id, ["--jit"].iter())
    }

    fn install_with<'a>(
        dir: &Path,
        name: &str,
        id: u64,
        options: impl Iterator<Item = &'a &'a str>,
    ) -> Self {
        let status = Command::new(program())
            .arg("install")
            .arg(dir)
            .args(["--name", name, "--id", &id.to_string()])
            .args(options)
            .stdout(Stdio::null())
            .status()
            .expect("the stand-in runs");
        assert!(status.success(), "the stand-in is installed");
        Self {
            root: dir.canonicalize().expect("a root"),
            listener: None,
            workers: Vec::new(),
        }
    }

    /// Starts the listener, and waits until it listens. One that crashed can be started anew.
    pub(crate) fn listen(&mut self) {
        assert!(self.listener.is_none(), "it listens already");
        let mut process = Command::new(self.root.join("bin/Runner.Listener"))
            .arg("run")
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the listener starts");
        let commands = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        self.listener = Some(Listener {
            process,
            commands,
            answers,
        });
        self.answer("run");
    }

    /// Starts a job; returns its GUID.
    pub(crate) fn start(&mut self) -> String {
        let answer = self.tell("start");
        let (guid, pid) = answer.split_once(' ').expect("a GUID and a process id");
        self.workers.push(pid.parse().expect("a process id"));
        guid.to_owned()
    }

    /// Receives a job, whose worker is not started yet; returns its GUID. [`StandIn::start`] starts it.
    pub(crate) fn receive(&mut self) -> String {
        self.tell("receive")
    }

    /// Renews the job's lease.
    pub(crate) fn renew(&mut self) {
        self.tell("renew");
    }

    /// Ends the worker and the job.
    pub(crate) fn finish(&mut self) {
        self.tell("finish");
    }

    /// Ends the job; its worker stays.
    pub(crate) fn wedge(&mut self) {
        self.tell("wedge");
    }

    /// Kills the worker, of a job or wedged.
    pub(crate) fn kill_worker(&mut self) {
        self.tell("kill-worker");
    }

    /// The listener is gone, without a word in its log; its worker stays.
    pub(crate) fn crash(&mut self) {
        self.tell("crash");
        self.reap();
    }

    /// Shuts the listener down, and with it a job that runs.
    pub(crate) fn exit(&mut self) {
        self.tell("exit");
        self.reap();
    }

    /// Begins a new page of the log. This can take a second: pages are named after theirs.
    pub(crate) fn page(&mut self) {
        self.tell("page");
    }

    /// Writes a line into the log.
    pub(crate) fn raw(&mut self, line: &str) {
        self.tell(&format!("raw {line}"));
    }

    /// The runner's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The listener's log: its pages, the latest last.
    pub(crate) fn pages(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.root.join("_diag")).expect("its log");
        let mut pages: Vec<_> = files.map(|file| file.expect("a page").path()).collect();
        pages.sort();
        pages
    }

    /// The process id of the worker that was started last.
    pub(crate) fn worker(&self) -> u32 {
        *self.workers.last().expect("a job was started")
    }

    /// Whether that worker is there.
    pub(crate) fn worker_runs(&self) -> bool {
        self.runs(self.worker())
    }

    fn runs(&self, pid: u32) -> bool {
        let program = fs::read_link(format!("/proc/{pid}/exe")); // a zombie has none
        program.is_ok_and(|program| program == self.root.join("bin/Runner.Worker"))
    }

    fn tell(&mut self, command: &str) -> String {
        let listener = self.listener.as_mut().expect("it listens");
        writeln!(listener.commands, "{command}").expect("the listener hears");
        self.answer(command)
    }

    fn answer(&mut self, command: &str) -> String {
        let listener = self.listener.as_mut().expect("it listens");
        let mut answer = String::new();
        listener
            .answers
            .read_line(&mut answer)
            .expect("the listener answers");
        match answer.trim_end().strip_prefix("ok") {
            Some(done) => done.trim_start().to_owned(),
            None => panic!("{command}: {answer:?}"),
        }
    }

    fn reap(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            listener.process.wait().expect("the listener ends");
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            let _ = listener.process.kill();
            let _ = listener.process.wait();
        }
        for pid in self.workers.iter().filter(|&&pid| self.runs(pid)) {
            let kill = format!("kill -9 {pid}");
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    }
}

/// The example, which Cargo builds beside the tests.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this test's own path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps");
    let program = profile.join("examples/stand_in_runner");
    assert!(
        program.is_file(),
        "{} is missing: `cargo test` builds it, `cargo test --test beacon` does not; run \
         `cargo build --example stand_in_runner` first",
        program.display()
    );
    program
}
