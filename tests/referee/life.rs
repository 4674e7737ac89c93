//! The life of a runner after another in one place of the fleet: jobs come and go at random.

use crate::{host::Host, truth::Referee};
use fastrand::Rng;
use std::{
    future::pending,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// From the dispatch of a job to the runner's first line about it, in milliseconds.
const BLIND: Range<u64> = 300..800;

/// The longest of these.
pub(crate) const BLIND_WINDOW: chrono::TimeDelta = chrono::TimeDelta::milliseconds(800);

/// From one renewal of a lease to the next.
const RENEWAL: Duration = Duration::from_secs(5);

/// A place in the fleet.
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) host: Host,
    pub(crate) rng: Rng,
    pub(crate) referee: Referee,
    /// No job and no runner comes any more.
    pub(crate) is_over: Arc<AtomicBool>,
}

impl Place {
    fn name(&self, generation: usize) -> String {
        format!("r-{:03}-{generation}", self.number)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }

    /// Lives on until its last runner is terminated.
    pub(crate) async fn live(mut self) {
        for generation in 0.. {
            let name = self.name(generation);
            let (id, terminated) = self.referee.launch(&name);
            self.host.boot(&name, id);
            tokio::select! {
                () = terminated.notified() => {}
                () = self.work(&name) => {}
            }
            self.host.vanish(self.number);
            if self.is_over() {
                return;
            }
            let boot = self.millis(300..1_500);
            sleep(boot).await;
        }
    }

    /// Takes jobs for ever.
    async fn work(&mut self, name: &str) {
        let (referee, scope) = (self.referee.clone(), self.referee.scope.clone());
        loop {
            let vacant = match self.rng.f64() < 0.7 {
                true => self.millis(200..4_000),
                false => self.millis(4_000..20_000),
            };
            sleep(vacant).await;
            // The lie: idle in the middle of a job. Else the flag follows the truth, late.
            let lie = (self.rng.f64() < 0.7).then_some(false);
            referee.github.lie_busy(&scope, name, lie);
            if self.is_over() || !referee.dispatch(name) {
                return pending().await;
            }
            let job = guid(&mut self.rng);
            let end = Instant::now()
                + match self.rng.f64() < 0.8 {
                    true => self.millis(1_000..6_000),
                    false => self.millis(6_000..15_000),
                };
            let blind = self.millis(BLIND);
            sleep(blind).await;
            self.host.job_starts(&job);
            while Instant::now() + RENEWAL < end {
                sleep(RENEWAL).await;
                self.host.lease_renewed(&job);
            }
            sleep_until(end).await;
            referee.job_ends(name);
            let lag = self.millis(20..300);
            sleep(lag).await;
            self.host.job_ends(&job);
        }
    }
}

fn guid(rng: &mut Rng) -> String {
    let (a, b) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-5{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0xfff,
        b & 0xffff_ffff_ffff
    )
}
