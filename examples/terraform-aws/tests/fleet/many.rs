//! A whole fleet, of every kind at once.

use crate::world::{ORG, One, REPO, World};
use scale_in_guard::testing::fake_github::JobId;
use serde_json::Value;

/// What an instance is when the fleet is first looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idle,
    Busy,
    /// A job runs, and the flag denies it.
    StaleBusy,
    /// It never registered.
    Phantom,
    /// The module marked it: it is offline, and has a job.
    MarkedOrphan,
    Bypassed,
    /// Two runners, of which one has a job.
    Shared,
}

const KINDS: [Kind; 7] = [
    Kind::Idle,
    Kind::Busy,
    Kind::StaleBusy,
    Kind::Phantom,
    Kind::MarkedOrphan,
    Kind::Bypassed,
    Kind::Shared,
];

const OWNERS: [&str; 3] = [ORG, REPO, "org:globex"];

struct Fleet {
    world: World,
    all: Vec<(Kind, One)>,
    jobs: Vec<(JobId, One)>,
}

impl Fleet {
    /// So many of each kind for each owner.
    async fn of(world: World, each: usize) -> Self {
        let (mut all, mut jobs) = (Vec::new(), Vec::new());
        for owner in OWNERS {
            for kind in KINDS {
                let tags: &[_] = match kind {
                    Kind::MarkedOrphan => &[("ghr:orphan", "true")],
                    Kind::Bypassed => &[("ghr:bypass-removal", "true")],
                    _ => &[],
                };
                let ones = match kind {
                    Kind::Phantom => world.phantoms(each, owner).await,
                    _ => world.some(each, owner, tags).await,
                };
                for one in ones {
                    let job = match kind {
                        Kind::Busy => Some(world.start_job(&one)),
                        Kind::StaleBusy => Some(world.start_unflagged_job(&one)),
                        Kind::MarkedOrphan => {
                            world.github.set_status(&one.scope, &one.name, "offline");
                            Some(world.start_job(&one))
                        }
                        Kind::Shared => {
                            let other = world.register(&one.id, owner, "second");
                            Some(world.start_unflagged_job(&other))
                        }
                        _ => None,
                    };
                    jobs.extend(job.map(|job| (job, one.clone())));
                    all.push((kind, one));
                }
            }
        }
        Self { world, all, jobs }
    }

    fn ids(&self, kinds: &[Kind]) -> Vec<&str> {
        let of = self.all.iter().filter(|(kind, _)| kinds.contains(kind));
        of.map(|(_, one)| one.id.as_str()).collect()
    }

    /// Nobody with a job goes, all others do; and when the jobs are over, those go, too.
    async fn goes_as_it_should(self) {
        let Self { world, jobs, .. } = &self;
        let function = world.function().await;
        let (mut rounds, mut requests, mut longest) = (0, 0, 0.0_f64);
        let mut count = |summary: &Value| {
            rounds += 1;
            requests += summary["github_requests"].as_u64().unwrap();
            longest = longest.max(summary["seconds"].as_f64().unwrap());
        };
        let may_go = self.ids(&[Kind::Idle, Kind::Phantom]);
        let gone = async |summary: &Value| {
            count(summary);
            let running = world.running().await;
            let is_gone = |id: &&str| !running.iter().any(|one| one == id);
            may_go.iter().all(is_gone).then_some(running.len())
        };
        let left = world
            .until(&function, "those without a job are gone", gone)
            .await;
        assert_eq!(left, self.all.len() - may_go.len(), "and no other");
        assert_eq!(world.killed(), [""; 0]);
        for (job, one) in jobs {
            world.github.finish_job(*job);
            world.github.set_status(&one.scope, &one.name, "online");
        }
        let bypassed = self.ids(&[Kind::Bypassed]).len();
        let gone = async |summary: &Value| {
            count(summary);
            let running = world.running().await;
            (running.len() == bypassed).then_some(running)
        };
        let left = world
            .until(&function, "all but those to be left alone are gone", gone)
            .await;
        assert!(
            left.iter()
                .all(|id| self.ids(&[Kind::Bypassed]).contains(&id.as_str()))
        );
        assert_eq!(world.killed(), [""; 0]);
        eprintln!(
            "{} instances: {rounds} invocations, {requests} requests to GitHub, the longest took {longest:.1} s",
            self.all.len()
        );
        let mut terminated = world.ec2.terminations();
        terminated.sort();
        terminated.dedup();
        assert_eq!(
            terminated.len(),
            world.ec2.terminations().len(),
            "each once"
        );
    }
}

#[tokio::test]
async fn of_a_mixed_fleet_nobody_with_a_job_goes_and_all_others_do() {
    let Some(world) = World::new().await else {
        return;
    };
    Fleet::of(world, 2).await.goes_as_it_should().await;
}

/// As above, with what every invocation cost.
#[tokio::test]
#[ignore = "takes a minute: .ci/run asks for it"]
async fn of_five_hundred_instances_nobody_with_a_job_goes_and_all_others_do() {
    let Some(world) = World::new().await else {
        return;
    };
    // Reading of so many takes longer than a hasty function believes.
    let world = world.with_policy("");
    Fleet::of(world, 24).await.goes_as_it_should().await;
}
