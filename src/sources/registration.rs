//! The registration, as GitHub has it: by number before any permit, from the listing in a sweep.

use super::{
    neighbours::Neighbours,
    others::{Others, could_be},
    shared::{Read, SharedReads, github_for, unheard},
};
use crate::{
    clock::Clock,
    evidence::{Evidence, Registration, Signal, Witness},
    fleet::{FleetReport, Lifetime, Listed, Roster, Snapshot, skew_seconds},
    github::{GitHub, GitHubError, Listing, RunnerRow},
    instance::NameRule,
    memory::Memory,
    policy::Policy,
    records::{Kept, Records},
    runner::{Runner, RunnerId, RunnerName, Scope},
    source::{Ask, Depth, EvidenceSource, Reach, Round, Share, Trouble},
    store::{Kind, StoreError},
    time::{Instant, after},
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use thiserror::Error;

/// The witness `registration`: GitHub's `busy` and `status`, whether the listing can be trusted, and how
/// far our clock is from GitHub's.
#[derive(Debug)]
pub struct RegistrationSource {
    github: GitHub,
    clock: Arc<dyn Clock>,
    policy: Arc<Policy>,
    records: Records,
    others: Others,
    names: Option<NameRule>,
    listings: SharedReads<Scope, Result<Surveyed, Unheard>>,
}

/// A listing, and what it is worth.
#[derive(Debug)]
struct Surveyed {
    by_id: HashMap<RunnerId, RunnerRow>,
    by_name: HashMap<Arc<str>, RunnerId>,
    /// The names again, as they are found however they are spelled.
    by_spelling: HashMap<String, Arc<str>>,
    neighbours: Neighbours,
    snapshot: Snapshot,
    scope_is_ours: bool,
    /// Those that are asked about, not listed, and were shown before.
    shown_before: HashSet<RunnerName>,
    /// The registrations that nobody asks about, or ever did, and that are not said to be others'.
    unaccounted: Vec<Arc<str>>,
    skew: Option<i64>,
}

/// Why nothing can be said.
#[derive(Debug, Clone, Error)]
enum Unheard {
    #[error(transparent)]
    GitHub(Box<GitHubError>),
    #[error("what is known of the scope: {0}")]
    Store(Arc<StoreError>),
    #[error(
        "GitHub's runner {id} is called {found:?}, not {:?}; give the number and the name of one runner", .wanted.as_str()
    )]
    AnotherName {
        id: RunnerId,
        found: Arc<str>,
        wanted: RunnerName,
    },
    #[error("GitHub shows no such runner, and there is no time to list all; a sweep will tell")]
    NotListed,
    #[error("GitHub's answer to a search for {0} does not add up; ask again")]
    Partial(RunnerName),
    #[error("GitHub lists runner {0}, and answers 404 for it; ask again")]
    Contradiction(RunnerId),
    #[error(
        "GitHub lists no runner called {:?}, but one called {found:?}; give the name as GitHub shows it", .wanted.as_str()
    )]
    Similar { found: Arc<str>, wanted: RunnerName },
    #[error(
        "GitHub lists a runner called {found:?} on the instance of {:?}, and nobody asked about it", .wanted.as_str()
    )]
    Neighbour { found: Arc<str>, wanted: RunnerName },
}

impl From<GitHubError> for Unheard {
    fn from(error: GitHubError) -> Self {
        Self::GitHub(Box::new(error))
    }
}

impl RegistrationSource {
    pub(crate) fn new(
        github: GitHub,
        clock: Arc<dyn Clock>,
        policy: Arc<Policy>,
        records: Records,
    ) -> Self {
        Self {
            github,
            clock,
            policy,
            records,
            others: Others::none(),
            names: None,
            listings: SharedReads::new(Result::is_err),
        }
    }

    /// The same source, where these registrations are others', and runners are named after machines by this rule.
    pub(crate) fn accounting(self, others: Others, names: Option<NameRule>) -> Self {
        Self {
            others,
            names,
            ..self
        }
    }

    /// One runner of a sweep: what the listing shows.
    async fn survey(&self, ask: &Ask) -> Result<Vec<Evidence>, Unheard> {
        let listing = self.listing(ask).await;
        let surveyed = listing.value.as_ref().map_err(Clone::clone)?;
        match surveyed.find(ask)? {
            Some(row) => {
                let report = FleetReport {
                    // A drifting page says nothing about a runner that it shows.
                    snapshot: match &surveyed.snapshot {
                        Snapshot::Inconsistent => Snapshot::Trusted,
                        other => other.clone(),
                    },
                    clock_skew_seconds: surveyed.skew,
                    ..FleetReport::default()
                };
                Ok(evidence(registered(row), report, listing.asked_at))
            }
            None => Ok(self.absent(surveyed, ask.runner(), listing.asked_at)),
        }
    }

    /// This very runner: by its number; where that is not known, by its name and then by its number;
    /// and where GitHub knows neither, beside the whole listing.
    async fn look_up(&self, ask: &Ask) -> Result<Vec<Evidence>, Unheard> {
        let asked_at = self.clock.now();
        let github = github_for(&self.github, ask);
        let runner = ask.runner();
        let known = runner.id.or(ask.memory().id());
        let listed = match known {
            Some(id) => Some(id),
            None => {
                let named = github.runners_named(&runner.scope, &runner.name).await?;
                self.named(&named, runner)?
            }
        };
        if let Some(id) = listed {
            let read = github.runner(&runner.scope, id).await;
            if known.is_none() && !matches!(read, Ok((Some(_), _))) {
                // The search showed it; whoever looks next must know.
                self.note(runner, |roster| roster.sighted(&runner.name))
                    .await;
            }
            match read? {
                (Some(row), date) => return self.found(ask, &row, asked_at, date).await,
                (None, _) if known.is_none() => return Err(Unheard::Contradiction(id)),
                (None, _) => {}
            }
        }
        if ask.knows_absence() {
            return self.still_absent(ask, known, asked_at).await;
        }
        if !ask.round().may_list() {
            return Err(Unheard::NotListed);
        }
        let listing = self.listing(ask).await;
        let surveyed = listing.value.as_ref().map_err(Clone::clone)?;
        match surveyed.find(ask)? {
            None => Ok(self.absent(surveyed, ask.runner(), asked_at.min(listing.asked_at))),
            // It has registered anew under its name.
            Some(row) if Some(row.id) != listed => {
                match github.runner(&runner.scope, row.id).await? {
                    (Some(row), date) => self.found(ask, &row, asked_at, date).await,
                    (None, _) => Err(Unheard::Contradiction(row.id)),
                }
            }
            Some(row) => Err(Unheard::Contradiction(row.id)),
        }
    }

    /// A runner that the listing lacks.
    fn absent(&self, surveyed: &Surveyed, runner: &Runner, asked_at: Instant) -> Vec<Evidence> {
        let nobody = surveyed.by_id.is_empty() && surveyed.snapshot != Snapshot::Inconsistent;
        let absent = Registration::Absent {
            beside_listing: surveyed.snapshot == Snapshot::Trusted,
            scope_is_ours: surveyed.scope_is_ours,
            listing_is_empty: nobody,
            was_shown: surveyed.shown_before.contains(&runner.name),
            unaccounted: could_be(runner, &surveyed.unaccounted, self.names.as_ref()),
        };
        let report = FleetReport {
            snapshot: surveyed.snapshot.clone(),
            clock_skew_seconds: surveyed.skew,
            ..FleetReport::default()
        };
        evidence(absent, report, asked_at)
    }

    /// That a runner is absent was found out: all that matters is that it has not registered anew under its name. A
    /// listing costs a page for each hundred runners.
    async fn still_absent(
        &self,
        ask: &Ask,
        known: Option<RunnerId>,
        asked_at: Instant,
    ) -> Result<Vec<Evidence>, Unheard> {
        let runner = ask.runner();
        let github = github_for(&self.github, ask);
        // Without a number it was just searched for.
        if known.is_some() {
            let named = github.runners_named(&runner.scope, &runner.name).await?;
            if let Some(id) = self.named(&named, runner)? {
                return match github.runner(&runner.scope, id).await? {
                    (Some(row), date) => self.found(ask, &row, asked_at, date).await,
                    (None, _) => Err(Unheard::Contradiction(id)),
                };
            }
        }
        let absent = Registration::Absent {
            beside_listing: false,
            scope_is_ours: false,
            listing_is_empty: false,
            was_shown: false,
            unaccounted: Vec::new(),
        };
        Ok(evidence(absent, FleetReport::default(), asked_at))
    }

    /// The number under which a search for a name shows it.
    fn named(&self, named: &Listing, runner: &Runner) -> Result<Option<RunnerId>, Unheard> {
        let wanted = &runner.name;
        // Of two rows of one name the one that has a job.
        let rows = named
            .rows
            .iter()
            .filter(|row| *row.name == *wanted.as_str());
        if let Some(row) = rows.max_by_key(|row| row.busy) {
            return Ok(Some(row.id));
        }
        let alike = |row: &&RunnerRow| spelling(&row.name) == spelling(wanted.as_str());
        if let Some(row) = named.rows.iter().find(alike) {
            return Err(Unheard::Similar {
                found: row.name.clone(),
                wanted: wanted.clone(),
            });
        }
        match named.is_whole() {
            true => Ok(None),
            false => Err(Unheard::Partial(wanted.clone())),
        }
    }

    async fn found(
        &self,
        ask: &Ask,
        row: &RunnerRow,
        asked_at: Instant,
        date: Option<Instant>,
    ) -> Result<Vec<Evidence>, Unheard> {
        row.is_called(&ask.runner().name)?;
        self.note_found(ask.runner(), row.lifetime).await;
        let report = FleetReport {
            clock_skew_seconds: skew_seconds(date, asked_at, self.clock.now()),
            ..FleetReport::default()
        };
        Ok(evidence(registered(row), report, asked_at))
    }

    /// Writes down that this scope showed us a runner of ours: the scope is ours, and a listing that lacks
    /// the runner is to be doubted.
    async fn note_found(&self, runner: &Runner, lifetime: Lifetime) {
        let found = |roster: &mut Roster| roster.found(&runner.name, lifetime);
        self.note(runner, found).await;
    }

    /// Writes down what GitHub showed of a runner.
    async fn note(&self, runner: &Runner, shown: impl FnMut(&mut Roster)) {
        let Runner { name, scope, .. } = runner;
        let key = self.records.of_scope(scope, Kind::Fleet);
        if let Err(error) = self.records.update(&key, shown).await {
            tracing::warn!(%scope, runner = %name, %error, "could not write down that it was found");
        }
    }

    /// The listing of the ask's scope: read once a round.
    async fn listing(&self, ask: &Ask) -> Arc<Read<Result<Surveyed, Unheard>>> {
        let scope = &ask.runner().scope;
        let asked_at = self.clock.now();

        let since = after(asked_at, -self.policy.evidence_max_age / 2);
        let read = || self.read_listing(scope, ask, asked_at);
        let never = |_: &Read<_>| false;
        let listings = &self.listings;
        listings
            .get(scope.clone(), ask.round(), asked_at, since, never, read)
            .await
    }

    async fn read_listing(
        &self,
        scope: &Scope,
        ask: &Ask,
        asked_at: Instant,
    ) -> Result<Surveyed, Unheard> {
        let listing = github_for(&self.github, ask).runners(scope).await?;
        let skew = skew_seconds(listing.date, asked_at, self.clock.now());
        let judged = self.judge(scope, &listing, ask.round()).await;
        let judged = judged.map_err(|error| Unheard::Store(Arc::new(error)))?;
        let (snapshot, scope_is_ours, shown_before, unaccounted) = judged;
        let mut rows = listing.rows;
        // Of two rows of one name the last is found: the one that has a job.
        rows.sort_by_key(|row| row.busy);
        Ok(Surveyed {
            by_name: rows.iter().map(|row| (row.name.clone(), row.id)).collect(),
            by_spelling: rows
                .iter()
                .map(|row| (spelling(&row.name), row.name.clone()))
                .collect(),
            neighbours: Neighbours::of(rows.iter().map(|row| row.name.clone())),
            by_id: rows.into_iter().map(|row| (row.id, row)).collect(),
            snapshot,
            scope_is_ours,
            shown_before,
            unaccounted,
            skew,
        })
    }

    /// What a listing is worth, beside what earlier ones showed.
    async fn judge(
        &self,
        scope: &Scope,
        listing: &Listing,
        round: &Round,
    ) -> Result<(Snapshot, bool, HashSet<RunnerName>, Vec<Arc<str>>), StoreError> {
        let asked: HashSet<_> = round.names(scope).collect();
        let asked_spelled: HashSet<_> = asked.iter().map(|name| spelling(name.as_str())).collect();
        let rows = listing.rows.iter().map(|row| (&*row.name, row.lifetime));
        let rows: HashMap<_, _> = rows.collect();
        let listed = Listed {
            // A row that cannot be read may be any runner's.
            total: listing.total.filter(|_| listing.unread == 0),
            rows: &rows,
            count: listing.rows.len(),
            asked: &asked,
            asked_are_all: round.share() == Share::All,
        };
        let key = self.records.of_scope(scope, Kind::Fleet);
        let known: Kept<Roster> = self.records.read_one(&key).await?;
        let missing: Vec<_> = known.value.missing(listed).collect();
        let memories: Vec<_> = missing
            .iter()
            .map(|name| self.records.of_runner(scope, Kind::Memory, name))
            .collect();
        let memories: Vec<Kept<Memory>> = self.records.read(&memories).await?;
        let worked: HashSet<_> = missing
            .into_iter()
            .zip(&memories)
            .filter_map(|(name, memory)| memory.value.was_occupied().then_some(name))
            .collect();
        let now = self.clock.now();
        self.records
            .update(&key, |roster: &mut Roster| {
                let worked = |name: &RunnerName| worked.contains(name);
                let is_shown = |name: &&RunnerName| roster.has_sighted(name);
                let shown_before = asked.iter().copied().filter(is_shown).cloned().collect();
                let snapshot = roster.judge(listed, worked, now, &self.policy);
                let is_unaccounted = |row: &&RunnerRow| {
                    let is_asked = asked_spelled.contains(&spelling(&row.name));
                    !is_asked && !roster.has_shown(&row.name) && !self.others.own(row)
                };
                let unaccounted = listing.rows.iter().filter(is_unaccounted);
                let unaccounted = unaccounted.map(|row| row.name.clone()).collect();
                (snapshot, roster.scope_is_ours(), shown_before, unaccounted)
            })
            .await
    }
}

#[async_trait]
impl EvidenceSource for RegistrationSource {
    fn name(&self) -> &str {
        "github runners"
    }

    fn witness(&self) -> Witness {
        Witness::Registration
    }

    fn reach(&self, _scope: &Scope) -> Reach {
        Reach::Clears
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let said = match ask.depth() {
            Depth::Survey => self.survey(ask).await,
            Depth::Permit => self.look_up(ask).await,
        };
        match said {
            // What a limit or an outage keeps from being read can be told when it can.
            Err(Unheard::GitHub(error)) => {
                let what = format!("{}: {error}", self.name());
                Ok(vec![unheard(
                    Witness::Registration,
                    what,
                    &[*error],
                    ask.at(),
                )])
            }
            said => said.map_err(Into::into),
        }
    }
}

impl Surveyed {
    /// The runner's row: under its number, else under its name.
    fn find(&self, ask: &Ask) -> Result<Option<&RunnerRow>, Unheard> {
        let runner = ask.runner();
        let wanted = || runner.name.clone();
        // Whoever does not know all runners of a machine must not let any of them go.
        if let Some(found) = self.neighbour(ask) {
            let wanted = wanted();
            return Err(Unheard::Neighbour { found, wanted });
        }
        let by_number = runner.id.and_then(|id| self.by_id.get(&id));
        if let Some(row) = by_number {
            row.is_called(&runner.name)?;
            return Ok(Some(row));
        }
        if let Some(id) = self.by_name.get(runner.name.as_str()) {
            return Ok(self.by_id.get(id));
        }
        // Whoever spells a name otherwise than GitHub does must not take its runner for a phantom.
        match self.by_spelling.get(&spelling(runner.name.as_str())) {
            Some(found) => Err(Unheard::Similar {
                found: found.clone(),
                wanted: wanted(),
            }),
            None => Ok(None),
        }
    }

    /// A runner on the same machine that nobody asks about in this round.
    fn neighbour(&self, ask: &Ask) -> Option<Arc<str>> {
        let Runner {
            scope,
            name,
            instance,
            ..
        } = ask.runner();
        let mut found = self.neighbours.on(instance.as_ref()?).into_iter();
        let is_other = |found: &Arc<str>| spelling(found) != spelling(name.as_str());
        found.find(|found| is_other(found) && !ask.round().asks_about(scope, found))
    }
}

impl RunnerRow {
    /// Another runner's flag must not speak for this one.
    fn is_called(&self, wanted: &RunnerName) -> Result<(), Unheard> {
        if *self.name == *wanted.as_str() {
            return Ok(());
        }
        Err(Unheard::AnotherName {
            id: self.id,
            found: self.name.clone(),
            wanted: wanted.clone(),
        })
    }
}

/// A name without what people and systems change in it: its case, the space around it, the kind of its
/// dashes.
fn spelling(name: &str) -> String {
    let dash = |c: char| match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        other => other,
    };
    let letters = name.trim().chars().map(dash);
    letters.flat_map(char::to_lowercase).collect()
}

fn registered(row: &RunnerRow) -> Registration {
    Registration::Registered {
        id: Some(row.id),
        busy: row.busy,
        status: row.status,
        labels: row.labels.clone(),
    }
}

fn evidence(registration: Registration, report: FleetReport, asked_at: Instant) -> Vec<Evidence> {
    vec![
        Evidence::new("github", asked_at, Signal::Registration(registration)),
        Evidence::new("github", asked_at, Signal::Fleet(report)),
    ]
}
