//! A host with stand-in runners and its real beacon, and guards elsewhere: they share one SQLite file. GitHub says
//! `busy: false` throughout, and shows no job.

use crate::stand_in::StandIn;
pub(crate) use scale_in_guard::{Decision, Guard, Hold, HoldCode, Permit, fence::State};
use scale_in_guard::{
    Policy, Registration, Runner, Scope, Signal,
    beat::Beat,
    clock::{Clock, SystemClock},
    evidence::Claim,
    fence::Fence,
    github::GitHub,
    sources::Repositories,
    store::{Key, Kind, Store},
    stores::SqliteStore,
    testing::FakeGitHub,
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) const SCOPE: &str = "repo:acme/atlas";
pub(crate) const URL: &str = "https://github.com/acme/atlas";
pub(crate) const NAME: &str = "atlas-1";

/// Whatever is waited for has come by then, on any machine; else it never comes.
const BOUND: Duration = Duration::from_secs(90);

/// Short windows, and a long silence: what a beacon left unfinished holds for as long as a test takes.
const POLICY: [(&str, &str); 7] = [
    ("grace", "500ms"),
    ("min_age", "0s"),
    ("job_pending", "0s"),
    ("beacon_ttl", "2s"),
    ("settle", "2500ms"),
    ("lease_overrun", "1h"),
    ("permit_ttl", "1m"),
];

pub(crate) struct World {
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
    pub(crate) folder: TempDir,
    policy: String,
}

/// Looks again and again until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn codes(decision: &Decision) -> Vec<HoldCode> {
    decision.reasons().map(|reason| reason.code()).collect()
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with([], SystemClock).await
    }

    /// With these keys of the policy besides, or instead; GitHub tells the time by this clock.
    pub(crate) async fn with<const N: usize>(
        keys: [(&'static str, &'static str); N],
        clock: impl Clock + 'static,
    ) -> Self {
        let github = FakeGitHub::start(clock).await.expect("a port");
        let scope: Scope = SCOPE.parse().expect("a scope");
        github.add_scope(&scope);
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("store")).expect("the store's folder");
        Self {
            github,
            scope,
            folder,
            policy: policy(keys),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("store/guard.sqlite")
    }

    pub(crate) fn store(&self) -> SqliteStore {
        SqliteStore::open(self.database()).expect("the store")
    }

    pub(crate) fn policy(&self) -> Policy {
        toml::from_str(&self.policy).expect("a policy")
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        let path = self.path("policy.toml");
        fs::write(&path, &self.policy).expect("the policy");
        path
    }

    /// A runner that is registered, and whose flag says idle whatever it does. It does not listen yet.
    pub(crate) fn runner(&self, name: &str) -> StandIn {
        let id = self.register(name);
        StandIn::install(&self.path(name), name, Some(URL), id)
    }

    pub(crate) fn register(&self, name: &str) -> u64 {
        self.github.lie_busy(&self.scope, name, Some(false));
        self.github.register(&self.scope, name).0
    }

    /// The one runner, which listens, and its beacon, which has said that it has no job.
    pub(crate) async fn idle(&self) -> (StandIn, Program, Guard) {
        let mut runner = self.runner(NAME);
        runner.listen();
        let (beacon, guard) = (self.beacon([runner.root()]), self.guard());
        drop(self.vacant(&guard, NAME).await);
        (runner, beacon, guard)
    }

    /// The beacon's command line, which tells what it does.
    pub(crate) fn beacon_command<'a>(&self, roots: impl IntoIterator<Item = &'a Path>) -> Command {
        let mut command = program();
        command
            .env("SCALE_IN_GUARD_LOG", "info")
            .args(["beacon", "--interval", "1s", "--store"])
            .arg(format!("sqlite:{}", self.database().display()))
            .arg("--policy")
            .arg(self.policy_file());
        for root in roots {
            command.arg("--runner-root").arg(root);
        }
        command
    }

    pub(crate) fn beacon<'a>(&self, roots: impl IntoIterator<Item = &'a Path>) -> Program {
        Program::start(&mut self.beacon_command(roots), &self.path("beacon"))
    }

    pub(crate) fn guard(&self) -> Guard {
        self.guard_at(SystemClock)
    }

    /// A guard that tells the time by this clock, and so does its store.
    pub(crate) fn guard_at(&self, clock: impl Clock + Clone + 'static) -> Guard {
        let client = GitHub::builder(self.github.token().to_owned());
        let client = client.api_url(self.github.url()).build().expect("a client");
        Guard::builder()
            .policy(self.policy())
            .github(client, Repositories::of_each_runner())
            .store(self.store().with_clock(clock.clone()))
            .clock(clock)
            .build()
            .expect("a guard")
    }

    pub(crate) fn whom(&self, name: &str) -> Runner {
        Runner::new(name, SCOPE).expect("a runner")
    }

    /// `check` or `retire` of this runner, to which more can be added.
    pub(crate) fn command(&self, subcommand: &str, name: &str) -> Command {
        self.command_under(&self.policy_file(), subcommand, name)
    }

    /// The same, under another policy.
    pub(crate) fn command_under(&self, policy: &Path, subcommand: &str, name: &str) -> Command {
        let mut command = program();
        command
            .env("GITHUB_API_URL", self.github.url())
            .env("GITHUB_TOKEN", self.github.token())
            .args([subcommand, "--scope", SCOPE, "--runner", name, "--store"])
            .arg(format!("sqlite:{}", self.database().display()))
            .arg("--policy")
            .arg(policy);
        command
    }

    /// Asks once. Whatever comes out, GitHub said idle.
    pub(crate) async fn ask(&self, guard: &Guard, name: &str) -> Decision {
        let decision = guard.can_terminate(&self.whom(name)).await;
        let says_busy = |signal: &Signal| {
            matches!(
                signal,
                Signal::Registration(Registration::Registered { busy: true, .. })
            )
        };
        let assessment = decision.assessment();
        assert!(!assessment.evidence.iter().any(|e| says_busy(&e.signal)));
        assert_ne!(assessment.claims.jobs, Claim::Occupied);
        decision
    }

    /// Asks until it is held for this.
    pub(crate) async fn held_for(&self, guard: &Guard, name: &str, code: HoldCode) -> Hold {
        let mut last = Vec::new();
        let end = Instant::now() + BOUND;
        while Instant::now() < end {
            let decision = self.ask(guard, name).await;
            last = codes(&decision);
            match decision {
                Decision::Hold(hold) if last.contains(&code) => return hold,
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("{name} is never held for {code}, at last for {last:?}")
    }

    /// Asks several times: it is held each time, and each time for this.
    pub(crate) async fn stays_held_for(&self, guard: &Guard, name: &str, code: HoldCode) {
        for _ in 0..5 {
            let decision = self.ask(guard, name).await;
            let codes = codes(&decision);
            assert!(codes.contains(&code), "{}", decision.explain());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks until it may go by the word of its live beacon.
    pub(crate) async fn vacant(&self, guard: &Guard, name: &str) -> Permit {
        let mut last = Vec::new();
        let end = Instant::now() + BOUND;
        while Instant::now() < end {
            let decision = self.ask(guard, name).await;
            last = codes(&decision);
            match decision {
                Decision::Terminate(permit) if says_vacant(&permit) => return permit,
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("{name} may never go, held at last for {last:?}")
    }

    pub(crate) async fn beat(&self, name: &str) -> Option<Beat> {
        self.record(Kind::Heartbeat, name).await
    }

    pub(crate) async fn beat_that(&self, name: &str, is: impl Fn(&Beat) -> bool) -> Beat {
        eventually("such a heartbeat", async || {
            self.beat(name).await.filter(|beat| is(beat))
        })
        .await
    }

    pub(crate) async fn fence(&self, name: &str) -> Fence {
        self.record(Kind::Fence, name).await.unwrap_or_default()
    }

    pub(crate) async fn fence_that(&self, name: &str, is: impl Fn(&State) -> bool) -> Fence {
        eventually("such a fence", async || {
            let fence = self.fence(name).await;
            is(fence.state()).then_some(fence)
        })
        .await
    }

    async fn record<T: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<T> {
        let name = name.parse().expect("a name");
        let key = Key::of_runner("*".into(), self.scope.clone(), kind, name);
        // Another process may be beginning the file anew.
        let read = eventually("a read", async || {
            let store = SqliteStore::open(self.database()).ok()?;
            store.read(std::slice::from_ref(&key)).await.ok()
        });
        let record = read.await.into_iter().next().flatten()?;
        Some(serde_json::from_str(&record.value).expect("a record"))
    }
}

pub(crate) fn is_taken(state: &State) -> bool {
    matches!(state, State::Taken { .. })
}

pub(crate) fn says_vacant(permit: &Permit) -> bool {
    permit.assessment().claims.lease == Claim::Vacant
}

pub(crate) fn policy<const N: usize>(keys: [(&'static str, &'static str); N]) -> String {
    let keys: BTreeMap<_, _> = POLICY.into_iter().chain(keys).collect();
    let lines = keys
        .iter()
        .map(|(key, value)| format!("{key} = \"{value}\"\n"));
    lines.collect()
}

/// The program, with nothing around it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"));
    command.env_clear();
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("it runs");
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a process a signal, such as `TERM`.
pub(crate) fn signal(name: &str, pid: u32) {
    let kill = format!("kill -{name} {pid}");
    let status = Command::new("/bin/sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success(), "{kill}");
}

/// A program of ours that runs on. It ends with this.
pub(crate) struct Program {
    process: Child,
    told: PathBuf,
}

impl Program {
    /// Starts it; what it tells goes to a file of this name.
    pub(crate) fn start(command: &mut Command, told: &Path) -> Self {
        Self::start_into(command, told, Path::new("/dev/null"))
    }

    /// The same; what it prints goes to a file, too.
    pub(crate) fn start_into(command: &mut Command, told: &Path, out: &Path) -> Self {
        let printed = File::create(out).expect("a file");
        let said = File::create(told).expect("a file");
        let process = command
            .stdin(Stdio::null())
            .stdout(printed)
            .stderr(said)
            .spawn();
        Self {
            process: process.expect("it starts"),
            told: told.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it told so far.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(&self.told).expect("what it told")
    }

    pub(crate) async fn tells(&self, what: &str) {
        eventually(what, async || self.told().contains(what).then_some(())).await;
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("its status")
    }

    /// Waits until it has ended; returns its code.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let ended = eventually("its end", async || self.ended()).await;
        ended.code()
    }

    /// It is gone without a word.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it is killed");
        self.process.wait().expect("it ends");
    }

    /// Tells it to end; returns its code, and what it told.
    pub(crate) async fn terminate(mut self) -> (Option<i32>, String) {
        signal("TERM", self.pid());
        (self.end().await, self.told())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
