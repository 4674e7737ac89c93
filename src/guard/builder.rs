//! What a guard is put together from.

use super::{Guard, Inner, Mode};
use crate::{
    clock::{Clock, SystemClock},
    engine::Engine,
    policy::{Policy, PolicyError},
    records::Records,
    registrar::Registrar,
    rules::Rule,
    source::EvidenceSource,
    store::Store,
    stores::MemoryStore,
};
#[cfg(feature = "github")]
use crate::{
    github::GitHub,
    instance::NameRule,
    sources::{JobsSource, Others, RegistrationSource, Repositories},
};
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// A guard to be put together.
#[derive(Debug)]
#[must_use = "a builder guards nothing"]
pub struct GuardBuilder {
    policy: Policy,
    rules: Vec<Arc<dyn Rule>>,
    sources: Vec<Arc<dyn EvidenceSource>>,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    api: Option<String>,
    registrar: Option<Arc<dyn Registrar>>,
    mode: Mode,
    has_webhooks: bool,
    keeps_history: bool,
    #[cfg(feature = "github")]
    github: Option<(GitHub, Repositories)>,
    #[cfg(feature = "github")]
    others: Others,
    #[cfg(feature = "github")]
    names: Option<NameRule>,
}

impl Default for GuardBuilder {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            rules: Vec::new(),
            sources: Vec::new(),
            store: None,
            clock: None,
            api: None,
            registrar: None,
            mode: Mode::default(),
            has_webhooks: false,
            keeps_history: true,
            #[cfg(feature = "github")]
            github: None,
            #[cfg(feature = "github")]
            others: Others::none(),
            #[cfg(feature = "github")]
            names: None,
        }
    }
}

/// Why a guard could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The policy is out of range or contradicts itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// There is nobody to ask.
    #[error("a guard without a witness holds for ever; give it .github(…) or .source(…)")]
    NoSource,
}

impl GuardBuilder {
    /// What it waits for, and whom it believes. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// GitHub as a witness: the registration of every runner, and the jobs of these repositories.
    #[cfg(feature = "github")]
    pub fn github(mut self, github: GitHub, repositories: Repositories) -> Self {
        self.github = Some((github, repositories));
        self
    }

    /// Which registrations of a scope are others': a runner that was never seen by its name is held for
    /// [`unaccounted_runners`](crate::HoldCode::UnaccountedRunners) while the scope shows one that nobody accounts for.
    /// Default: none are.
    #[cfg(feature = "github")]
    pub fn others(mut self, others: Others) -> Self {
        self.others = others;
        self
    }

    /// How runners are named after the machines that the guard is asked about: then a registration of another name is
    /// no such machine, unless the rule says so. [`NameRule::Equals`]: the names given are those that GitHub shows.
    /// Default: nobody knows.
    #[cfg(feature = "github")]
    pub fn runner_names(mut self, rule: NameRule) -> Self {
        self.names = Some(rule);
        self
    }

    /// One more witness.
    pub fn source(mut self, source: impl EvidenceSource + 'static) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// One more rule. It can hold; it cannot clear what another one holds.
    pub fn rule(mut self, rule: impl Rule + 'static) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// Where it remembers. Default: in this process, for as long as it runs.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What time it is. Default: this machine's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Which GitHub the runners are registered at, in the keys of what is remembered. Default: that of
    /// [`github`](Self::github), else `api.github.com`.
    pub fn api(mut self, api: impl Into<String>) -> Self {
        self.api = Some(api.into());
        self
    }

    /// Deregisters a runner that [`retire`](Guard::retire) lets go, before it is looked at again: no new job
    /// can come to it then. With feature `github`, [`GitHub`](crate::github::GitHub) is a registrar; its token
    /// must be able to remove runners. Default: it is left registered.
    pub fn deregister(mut self, registrar: impl Registrar + 'static) -> Self {
        self.registrar = Some(Arc::new(registrar));
        self
    }

    /// A receiver of `workflow_job` webhooks keeps its ledger in the same [`store`](Self::store): a job that a delivery
    /// opened holds its runner, and one that waits holds those that could take it. It never clears: deliveries are
    /// lost. Default: the ledger is not read.
    pub fn webhooks(mut self) -> Self {
        self.has_webhooks = true;
        self
    }

    /// Decides, remembers, counts and logs, but hands out no permit.
    pub fn shadow(mut self) -> Self {
        self.mode = Mode::Shadow;
        self
    }

    /// Whether it keeps each runner's last decisions with their evidence, for [`history`](super::history()): one more
    /// write wherever a decision is another than the last one, and none where it is the same. Default: it does.
    pub fn history(mut self, keep: bool) -> Self {
        self.keeps_history = keep;
        self
    }

    /// Puts the guard together. It asks nobody yet.
    ///
    /// # Errors
    /// [`BuildError`] when the policy is refused, or there is no witness.
    pub fn build(self) -> Result<Guard, BuildError> {
        let engine = Engine::new(self.policy)?.with_rules(self.rules);
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::new().with_clock(clock.clone())));
        #[cfg(feature = "github")]
        let host = self.github.as_ref().map(|(github, _)| github.api().host());
        #[cfg(not(feature = "github"))]
        let host: Option<String> = None;
        let api = self.api.or(host);
        let records = Records::new(store, api.as_deref().unwrap_or("api.github.com"));
        #[cfg_attr(not(feature = "github"), allow(unused_mut))]
        let mut sources: Vec<Arc<dyn EvidenceSource>> = Vec::new();
        #[cfg(feature = "github")]
        if let Some((github, repositories)) = self.github {
            let policy = engine.shared_policy();
            let github = github
                .timed_by(clock.clone())
                .sparing(policy.request_reserve);
            let registration = RegistrationSource::new(
                github.clone(),
                clock.clone(),
                policy.clone(),
                records.clone(),
            );
            sources.push(Arc::new(registration.accounting(self.others, self.names)));
            let jobs =
                JobsSource::new(github, clock.clone(), policy, repositories, records.clone());
            sources.push(Arc::new(jobs));
        }
        sources.extend(self.sources);
        if sources.is_empty() {
            return Err(BuildError::NoSource);
        }
        Ok(Guard {
            inner: Arc::new(Inner {
                engine,
                sources,
                records,
                clock,
                registrar: self.registrar,
                mode: self.mode,
                has_webhooks: self.has_webhooks,
                keeps_history: self.keeps_history,
                indexed: Mutex::default(),
            }),
        })
    }
}
