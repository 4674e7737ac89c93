//! One invocation: which instances there are, whose they are, and what is to become of each.

use crate::{
    cloud::{Cloud, CloudError, Tagged},
    owner::Owner,
    report::{Outcome, Summary, Verdict, warn},
    settings::Settings,
};
use aws_config::BehaviorVersion;
use futures::{StreamExt, stream};
use scale_in_guard::{
    Guard, Scope,
    clock::{Clock, SystemClock},
    github::GitHub,
    lambda::SettingsError,
    time::Instant as Moment,
};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Owners whose runners are looked at at the same time.
const OWNERS_AT_ONCE: usize = 4;

/// What is left of an invocation for its last line.
pub(crate) const TO_CONCLUDE: Duration = Duration::from_secs(2);

/// Everything that outlives an invocation.
pub(crate) struct ScaleDown {
    pub(crate) guard: Guard,
    pub(crate) github: GitHub,
    pub(crate) cloud: Cloud,
    pub(crate) settings: Settings,
    /// When the last invocation began.
    last: Mutex<Option<Moment>>,
}

impl ScaleDown {
    /// Reads the credentials, and puts the guard together.
    ///
    /// # Errors
    /// [`SettingsError`] with what could not be had.
    pub(crate) async fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let (guard, github) = settings.common.guard().await?;
        let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
        Ok(Self {
            guard,
            github,
            cloud: Cloud::new(&aws, &settings.environment),
            settings,
            last: Mutex::default(),
        })
    }

    /// One invocation, which ends before `ends`.
    ///
    /// # Errors
    /// [`CloudError`] when nobody knows which instances there are.
    pub(crate) async fn run(&self, ends: Instant) -> Result<Summary, CloudError> {
        let (began, asked_before) = (Instant::now(), self.github.requests());
        self.note_the_interval();
        let summary = Mutex::new(Summary {
            environment: self.settings.environment.clone(),
            mode: self.guard.mode(),
            ..Summary::default()
        });
        let looked = self.look(ends, &summary).await;
        let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.conclude(began.elapsed(), self.github.requests() - asked_before);
        looked.map(|()| summary)
    }

    async fn look(&self, ends: Instant, summary: &Mutex<Summary>) -> Result<(), CloudError> {
        let late = ends.checked_sub(TO_CONCLUDE).unwrap_or(ends);
        let read = timeout_at(late, self.cloud.instances());
        let instances = read.await.unwrap_or_else(|_| Err(CloudError::late()))?;
        let owners = by_owner(instances, summary);
        stream::iter(in_any_order(owners))
            .for_each_concurrent(OWNERS_AT_ONCE, |(scope, instances)| async move {
                let owner = Owner {
                    of: self,
                    scope: &scope,
                    ends,
                    summary,
                };
                let failure = match timeout_at(late, owner.scale_down(instances)).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the invocation's time is over; the next one goes on".to_owned(),
                };
                locked(summary).tell_failure(&scope, failure);
            })
            .await;
        Ok(())
    }

    /// Says so where invocations come so seldom that no runner can ever have been watched for long enough.
    fn note_the_interval(&self) {
        let now = SystemClock.now();
        let last = locked(&self.last).replace(now);
        let gap = self.guard.policy().observation_gap();
        if last.is_some_and(|last| now - last > gap) {
            warn(
                "interval",
                "more time has passed since the last invocation than the policy's max_observation_gap: \
                 what was seen then counts no more. Invoke more often, or lengthen it",
            );
        }
    }
}

/// The instances of each owner. Those of which nobody knows whose they are are left alone.
fn by_owner(instances: Vec<Tagged>, summary: &Mutex<Summary>) -> BTreeMap<Scope, Vec<Tagged>> {
    let mut summary = locked(summary);
    summary.instances = instances.len();
    let mut owners: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for instance in instances {
        match &instance.scope {
            Ok(scope) => owners.entry(scope.clone()).or_default().push(instance),
            Err(unowned) => {
                let outcome = Outcome::because(Verdict::Unowned, "unowned", unowned);
                summary.tell(&instance.id, None, &[], &outcome);
            }
        }
    }
    summary.owners = owners.len();
    owners
}

/// Another order each time: whoever comes last, when time runs out, comes first another time.
fn in_any_order<T>(owners: BTreeMap<Scope, T>) -> Vec<(Scope, T)> {
    let chance = RandomState::new();
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_cached_key(|(scope, _)| chance.hash_one(scope));
    owners
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
