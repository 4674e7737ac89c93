//! The processes: beacons, which are the built program, and guards, which are an example.

use crate::truth::{Referee, Way};
use fastrand::Rng;
use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A process of ours. It ends with this.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Whether it runs still.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().expect("its status").is_none()
    }
}

/// What guards and beacons are started with.
pub(crate) struct Setting {
    pub(crate) store: String,
    pub(crate) policy: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Setting {
    fn told(&self, name: &str) -> Stdio {
        let told = self.folder.join(format!("{name}.told"));
        File::create(told).expect("a file").into()
    }

    pub(crate) fn beacon(&self, number: usize, roots: &[PathBuf]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"));
        command
            .env_clear()
            .args(["beacon", "--interval", "2s", "--store", &self.store])
            .arg("--policy")
            .arg(&self.policy);
        for root in roots {
            command.arg("--runner-root").arg(root);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.told(&format!("beacon-{number}")));
        Process(command.spawn().expect("a beacon"))
    }

    /// A guard that asks about one runner after another, with a pause in between, until it is over.
    pub(crate) fn guard(
        &self,
        number: usize,
        way: Way,
        referee: &Referee,
        pause: Duration,
        is_over: &Arc<AtomicBool>,
        rng: Rng,
    ) -> Process {
        let mut process = Command::new(program())
            .env_clear()
            .arg(&self.store)
            .arg(&self.policy)
            .args([&referee.github.url(), referee.github.token()])
            .args([&referee.scope.to_string(), way.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(self.told(&format!("guard-{number}")))
            .spawn()
            .expect("a guard");
        let served = Served {
            said: BufReader::new(process.stdout.take().expect("its output")),
            answers: process.stdin.take().expect("its input"),
            way,
            referee: referee.clone(),
            pause,
            is_over: is_over.clone(),
            rng,
        };
        thread::spawn(move || served.serve());
        Process(process)
    }
}

/// A guard that the referee listens to.
struct Served {
    said: BufReader<ChildStdout>,
    answers: ChildStdin,
    way: Way,
    referee: Referee,
    pause: Duration,
    is_over: Arc<AtomicBool>,
    rng: Rng,
}

impl Served {
    fn serve(mut self) {
        while let Some(line) = self.hear() {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            let answer = match word() {
                "next" => {
                    thread::sleep(self.pause);
                    match self.referee.next(&mut self.rng) {
                        Some((name, id)) if !self.is_over.load(Ordering::SeqCst) => {
                            format!("{name} {id}")
                        }
                        _ => "end".to_owned(),
                    }
                }
                "go" => {
                    let (name, rest) = (word(), word());
                    let epoch = rest.split(' ').next().unwrap_or_default();
                    let epoch = epoch.parse().expect("an epoch");
                    self.referee.go(self.way, name, epoch);
                    "done".to_owned()
                }
                _ => {
                    let (name, said) = (word(), word());
                    self.referee.heard(name, said);
                    continue;
                }
            };
            if writeln!(self.answers, "{answer}").is_err() {
                return;
            }
        }
    }

    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

/// The example, which Cargo builds beside the tests.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this test's own path");
    let profile: Option<&Path> = test.ancestors().nth(2);
    let program = profile
        .expect("target/<profile>/deps")
        .join("examples/referee_guard");
    assert!(
        program.is_file(),
        "{} is missing: `cargo test` builds it, `cargo test --test referee` does not; run `cargo build --features \
         cli --example referee_guard` first",
        program.display()
    );
    program
}
