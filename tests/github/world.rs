//! A deployment over a fake GitHub, on a manual clock.

pub(crate) use chrono::TimeDelta;
pub(crate) use scale_in_guard::{
    Decision, Guard, HoldCode, Policy, Runner, Scope, Verdict,
    github::{GitHub, GitHubBuilder, Limits, Retry},
    sources::Repositories,
    testing::FakeGitHub,
};
use scale_in_guard::{
    guard::{GuardBuilder, Sweep},
    testing::ManualClock,
};
use std::{collections::BTreeMap, time::Duration};

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
}

pub(crate) fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// Repeats without a pause worth the name, and as fast as it can.
pub(crate) fn impatient(client: GitHubBuilder) -> GitHubBuilder {
    let soon = Duration::from_millis(1);
    let retry = Retry {
        times: 3,
        first: soon,
        longest: soon,
    };
    client.retry(retry).limits(Limits::none())
}

impl World {
    pub(crate) async fn of(scope: &str) -> Self {
        let clock = ManualClock::at("2026-05-14T02:00:00Z".parse().unwrap());
        let github = FakeGitHub::start(clock.clone()).await.unwrap();
        let scope: Scope = scope.parse().unwrap();
        github.add_scope(&scope);
        Self {
            clock,
            github,
            scope,
        }
    }

    pub(crate) fn client(&self) -> GitHub {
        let client = GitHub::builder(self.github.token().to_owned());
        impatient(client.api_url(self.github.url()))
            .build()
            .unwrap()
    }

    pub(crate) fn builder(&self) -> GuardBuilder {
        let repositories = match self.scope {
            Scope::Repository { .. } => Repositories::of_each_runner(),
            _ => Repositories::all(["acme/atlas".parse().unwrap()]),
        };
        self.asking(repositories)
    }

    pub(crate) fn asking(&self, repositories: Repositories) -> GuardBuilder {
        Guard::builder()
            .clock(self.clock.clone())
            .github(self.client(), repositories)
    }

    pub(crate) fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    pub(crate) fn runner(&self, name: &str) -> Runner {
        Runner::new(name, &self.scope.to_string()).unwrap()
    }

    /// Looks every minute until the runner may go, for so long at the most.
    pub(crate) async fn until_it_may_go(
        &self,
        guard: &Guard,
        runner: &Runner,
        longest: i64,
    ) -> Option<Decision> {
        for _ in 0..=longest {
            let decision = guard.can_terminate(runner).await;
            if decision.verdict() == Verdict::Terminate {
                return Some(decision);
            }
            self.clock.advance(minutes(1));
        }
        None
    }

    /// The paths that were asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.github.requests();
        self.github.clear_requests();
        assert!(requests.iter().all(|request| request.authorized));
        requests.into_iter().map(|request| request.path).collect()
    }
}

pub(crate) async fn sweep(
    guard: &Guard,
    runners: impl IntoIterator<Item = Runner>,
) -> Vec<Decision> {
    pull(guard.sweep(runners)).await
}

/// Pulls a sweep to its end.
pub(crate) async fn pull(mut sweep: Sweep) -> Vec<Decision> {
    let mut decisions = Vec::new();
    while let Some(decision) = sweep.next().await {
        decisions.push(decision);
    }
    assert!(sweep.next().await.is_none(), "the end is the end");
    decisions
}

/// How often each kind of thing was asked for.
pub(crate) fn kinds(paths: Vec<String>) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for path in paths {
        let kind = match path.as_str() {
            path if path.ends_with("/runners") => "listing",
            path if path.contains("/runners/") => "runner",
            path if path.ends_with("/runs") => "runs",
            path if path.ends_with("/jobs") => "jobs",
            _ => "else",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

pub(crate) fn codes(decision: &Decision) -> Vec<HoldCode> {
    decision.reasons().map(|reason| reason.code()).collect()
}

pub(crate) fn held_for(decision: &Decision, code: HoldCode) -> String {
    let reason = decision.reasons().find(|reason| reason.code() == code);
    let reason = reason.unwrap_or_else(|| panic!("{code} not in {:?}", codes(decision)));
    reason.to_string()
}
