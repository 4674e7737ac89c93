//! The referee: it alone knows who has a job, terminates whom a guard tells it to, and counts.

use crate::host::now;
use chrono::TimeDelta;
use fastrand::Rng;
use scale_in_guard::{
    Scope,
    testing::{FakeGitHub, fake_github::JobId},
    time::Instant,
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::Notify;

/// How a guard lets runners go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Deregistered, settled and looked at again: no job may be killed.
    Retire,
    /// At once: a job may be killed that was dispatched less than W ago.
    Redeem,
}

impl Way {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retire => "retire",
            Self::Redeem => "redeem",
        }
    }
}

/// A runner as it really is.
struct Runner {
    id: u64,
    job: Option<(JobId, Instant)>,
    /// When its jobs were dispatched, and when they ended.
    past: Vec<(Instant, Instant)>,
    /// The last that a guard said of it.
    said: String,
    /// Whether a guard found that it had deregistered it while it had a job.
    was_occupied: bool,
    is_gone: bool,
    terminated: Arc<Notify>,
}

/// A job that was killed.
#[derive(Debug)]
pub(crate) struct Kill {
    pub(crate) runner: String,
    way: Way,
    /// Whether a job could still be dispatched to it.
    was_registered: bool,
    /// How long ago the job was dispatched.
    age: TimeDelta,
}

#[derive(Default)]
struct Truth {
    runners: BTreeMap<String, Runner>,
    /// Those that are there.
    fleet: Vec<String>,
    /// Whom a guard asked about last.
    last: Option<String>,
    goes: HashSet<(String, u64)>,
    counts: Counts,
}

/// What the referee counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) runners: usize,
    pub(crate) jobs: usize,
    pub(crate) asks: usize,
    /// The answers, by their first word.
    answers: BTreeMap<String, usize>,
    pub(crate) retired: usize,
    pub(crate) redeemed: usize,
    pub(crate) kills: Vec<Kill>,
    /// Goes for a runner that was terminated already, or for which there was one of the same epoch.
    pub(crate) second_goes: Vec<String>,
    /// How long before a DELETE, which GitHub may have refused, a job was dispatched that ran then.
    pub(crate) deleted_under: Vec<TimeDelta>,
    /// Who is still there at the end, and what was last said of it.
    pub(crate) stranded: Vec<String>,
    /// The same of those that a guard deregistered while they had a job.
    pub(crate) departing: Vec<String>,
}

impl Counts {
    /// The kills that a guard answers for, where W is the window that the documentation states.
    pub(crate) fn forbidden(&self, window: TimeDelta) -> Vec<&Kill> {
        let is_allowed =
            |kill: &&Kill| kill.way == Way::Redeem && kill.was_registered && kill.age < window;
        self.kills.iter().filter(|kill| !is_allowed(kill)).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ages: &mut dyn Iterator<Item = TimeDelta>| {
            let oldest = ages.max().unwrap_or_default();
            format!("{:.1} s", oldest.num_milliseconds() as f64 / 1000.0)
        };
        let kills = |way| self.kills.iter().filter(move |kill| kill.way == way);
        writeln!(f, "runners                  {}", self.runners)?;
        writeln!(f, "jobs                     {}", self.jobs)?;
        writeln!(f, "asks                     {}", self.asks)?;
        for (answer, count) in &self.answers {
            writeln!(f, "  {answer:<30} {count}")?;
        }
        writeln!(
            f,
            "retired                  {}, jobs killed {}",
            self.retired,
            kills(Way::Retire).count()
        )?;
        writeln!(
            f,
            "redeemed                 {}, jobs killed {}, dispatched {} ago at the most",
            self.redeemed,
            kills(Way::Redeem).count(),
            seconds(&mut kills(Way::Redeem).map(|kill| kill.age))
        )?;
        writeln!(
            f,
            "DELETE under a job       {}, dispatched {} ago at the most",
            self.deleted_under.len(),
            seconds(&mut self.deleted_under.iter().copied())
        )?;
        writeln!(f, "second goes              {}", self.second_goes.len())?;
        write!(
            f,
            "still there              {}, and {} that departed",
            self.stranded.len(),
            self.departing.len()
        )
    }
}

/// The referee. Clones are one.
#[derive(Clone)]
pub(crate) struct Referee {
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
    truth: Arc<Mutex<Truth>>,
}

impl Referee {
    pub(crate) fn new(github: FakeGitHub, scope: Scope) -> Self {
        Self {
            github,
            scope,
            truth: Arc::default(),
        }
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().expect("nobody panicked")
    }

    /// A runner comes up. Returns its number, and what tells that it was terminated.
    pub(crate) fn launch(&self, name: &str) -> (u64, Arc<Notify>) {
        let id = self.github.register(&self.scope, name).0;
        let terminated = Arc::new(Notify::new());
        let mut truth = self.truth();
        let runner = Runner {
            id,
            job: None,
            past: Vec::new(),
            said: String::new(),
            was_occupied: false,
            is_gone: false,
            terminated: terminated.clone(),
        };
        truth.runners.insert(name.to_owned(), runner);
        truth.fleet.push(name.to_owned());
        truth.counts.runners += 1;
        (id, terminated)
    }

    /// A job comes, as long as the runner is there and registered.
    pub(crate) fn dispatch(&self, name: &str) -> bool {
        let mut truth = self.truth();
        let Truth {
            runners, counts, ..
        } = &mut *truth;
        let runner = runners.get_mut(name).expect("it was launched");
        if runner.is_gone {
            return false;
        }
        let Some(job) = self.github.dispatch(&self.scope, name, "acme/atlas") else {
            return false;
        };
        runner.job = Some((job, now()));
        counts.jobs += 1;
        true
    }

    pub(crate) fn job_ends(&self, name: &str) {
        let mut truth = self.truth();
        let runner = truth.runners.get_mut(name).expect("it was launched");
        if let Some((job, since)) = runner.job.take() {
            self.github.finish_job(job);
            runner.past.push((since, now()));
        }
    }

    /// The next runner that a guard is to ask about: any, and now and then the same as the one before, so that two
    /// guards meet.
    pub(crate) fn next(&self, rng: &mut Rng) -> Option<(String, u64)> {
        let mut truth = self.truth();
        let again = truth.last.take().filter(|_| rng.f64() < 0.3);
        let again = again.filter(|name| truth.runners.get(name).is_some_and(|it| !it.is_gone));
        let name = match again {
            Some(name) => name,
            None => rng.choice(&truth.fleet)?.clone(),
        };
        truth.last = Some(name.clone());
        truth.counts.asks += 1;
        let id = truth.runners.get(&name)?.id;
        Some((name, id))
    }

    /// A guard calls terminate.
    pub(crate) fn go(&self, way: Way, name: &str, epoch: u64) {
        let mut truth = self.truth();
        let Truth {
            runners,
            fleet,
            goes,
            counts,
            ..
        } = &mut *truth;
        match way {
            Way::Retire => counts.retired += 1,
            Way::Redeem => counts.redeemed += 1,
        }
        let runner = runners.get_mut(name).expect("it was launched");
        let is_first = goes.insert((name.to_owned(), epoch));
        if runner.is_gone || !is_first {
            counts.second_goes.push(format!("{name} in epoch {epoch}"));
            return;
        }
        let at = now();
        if let Some((_, since)) = runner.job.take() {
            runner.past.push((since, at));
            counts.kills.push(Kill {
                runner: name.to_owned(),
                way,
                was_registered: self.github.is_registered(&self.scope, name),
                age: at - since,
            });
        }
        runner.is_gone = true;
        fleet.retain(|there| there != name);
        let _ = self.github.kill(&self.scope, name);
        self.github.deregister(&self.scope, name);
        runner.terminated.notify_one();
    }

    /// What a guard said of a runner.
    pub(crate) fn heard(&self, name: &str, said: &str) {
        let mut truth = self.truth();
        let word = said.split(' ').next().unwrap_or_default().to_owned();
        *truth.counts.answers.entry(word.clone()).or_default() += 1;
        if let Some(runner) = truth.runners.get_mut(name) {
            runner.said = said.to_owned();
            runner.was_occupied |= word == "deregistered_while_occupied";
        }
    }

    /// How many runners are there still, and how many of them a guard deregistered while they had a job.
    pub(crate) fn left(&self) -> (usize, usize) {
        let truth = self.truth();
        let had_a_job = |name: &&String| truth.runners[*name].was_occupied;
        (
            truth.fleet.len(),
            truth.fleet.iter().filter(had_a_job).count(),
        )
    }

    /// What it all came to.
    pub(crate) fn counts(&self) -> Counts {
        let deletes = self.github.requests().into_iter().filter_map(|request| {
            let id = request.path.rsplit('/').next()?.parse::<u64>().ok()?;
            (request.method == "DELETE").then_some((id, request.at))
        });
        let mut truth = self.truth();
        let Truth {
            runners,
            fleet,
            counts,
            ..
        } = &mut *truth;
        let past: BTreeMap<u64, &[(Instant, Instant)]> =
            runners.values().map(|it| (it.id, &*it.past)).collect();
        let mut counts = std::mem::take(counts);
        counts.deleted_under = deletes
            .filter_map(|(id, at)| {
                let mut jobs = past.get(&id)?.iter();
                let &(since, _) = jobs.find(|&&(since, end)| since <= at && at < end)?;
                Some(at - since)
            })
            .collect();
        for name in fleet {
            let left = match runners[name].was_occupied {
                true => &mut counts.departing,
                false => &mut counts.stranded,
            };
            left.push(format!("{name}: {}", runners[name].said));
        }
        counts
    }
}
