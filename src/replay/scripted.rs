//! The scripted witnesses: what each would answer at one moment of the story.

use super::{
    Beats, Event, Occupancy, Scenario, ScriptedError, ScriptedJob, ScriptedJobs,
    ScriptedRegistration, ScriptedWitness, TruthState,
};
use crate::{
    decision::Verdict,
    evidence::{Evidence, Job, JobStatus, JobsView, Registration, Signal, Witness},
    lease::{Heartbeat, Report},
    ledger::{Delivery, Ledger},
    memory::Memory,
    policy::Policy,
    runner::{RunnerId, RunnerRef},
    runner_log::LogReader,
    time::Instant,
};
use std::collections::BTreeSet;

/// The registration's number in a scenario that does not give one: what a listing would show.
const UNGIVEN_ID: RunnerId = RunnerId(1);

/// The scripted witnesses, at one moment of the story.
pub(super) struct Scripted<'s> {
    scenario: &'s Scenario,
    policy: &'s Policy,
    pub(super) running: BTreeSet<&'s str>,
    registration: ScriptedRegistration,
    jobs: Result<JobsView, ScriptedError>,
    /// The jobs that a view ever showed.
    shown: BTreeSet<u64>,
    reader: LogReader,
    heartbeat: Option<Heartbeat>,
    beats: Beats<'s>,
    ledger: Ledger,
}

impl<'s> Scripted<'s> {
    pub(super) fn new(scenario: &'s Scenario, policy: &'s Policy) -> Self {
        Self {
            scenario,
            policy,
            running: BTreeSet::new(),
            registration: ScriptedRegistration::Absent,
            jobs: Ok(JobsView {
                complete: true,
                jobs: Vec::new(),
            }),
            shown: BTreeSet::new(),
            reader: LogReader::default(),
            heartbeat: None,
            beats: Beats::default(),
            ledger: Ledger::default(),
        }
    }

    /// Sends the repeated reports that are due up to `now`, in the order of time.
    pub(super) fn beat_until(&mut self, now: Instant) {
        while let Some((at, report)) = self.beats.due(now) {
            self.hear(report, at);
        }
    }

    pub(super) fn take(&mut self, event: &'s Event, now: Instant) {
        match event {
            Event::Truth(truth) => {
                match truth.state {
                    TruthState::Started => self.running.insert(&truth.job),
                    TruthState::Finished => self.running.remove(truth.job.as_str()),
                };
            }
            Event::Registration(registration) => self.registration = *registration,
            Event::Jobs(ScriptedJobs::Error(error)) => self.jobs = Err(*error),
            Event::Jobs(ScriptedJobs::View { complete, jobs }) => {
                let jobs: Vec<_> = jobs.iter().map(|job| self.job(job, now)).collect();
                self.shown.extend(jobs.iter().map(|job| job.id));
                self.jobs = Ok(JobsView {
                    complete: *complete,
                    jobs,
                });
            }
            Event::Webhook(webhook) => self.ledger.receive(Delivery {
                action: webhook.action,
                job_id: webhook.job_id,
                attempt: webhook.attempt,
                runner: webhook.runner.as_deref().map(|name| self.named(name)),
                labels: webhook.labels.clone(),
                repository: None,
                received_at: now,
            }),
            Event::Lease(lease) => {
                self.hear(lease.word.report(), now);
                self.beats.begin(lease, now);
            }
            Event::Log(lines) => {
                self.hear(Report::Alive, now);
                for line in lines {
                    let report = self.reader.read(line);
                    self.hear(report, now);
                }
            }
            Event::Ask(_) => {}
        }
    }

    fn hear(&mut self, report: Report, now: Instant) {
        let heartbeat = self.heartbeat.get_or_insert_with(|| Heartbeat::new(now));
        heartbeat.hear(report, now, self.policy);
    }

    fn named(&self, name: &str) -> RunnerRef {
        if name == "this" {
            RunnerRef {
                id: Some(self.scenario.runner.id.unwrap_or(UNGIVEN_ID)),
                name: Some(self.scenario.runner.name.clone().into()),
            }
        } else {
            RunnerRef::named(name)
        }
    }

    fn job(&self, job: &ScriptedJob, now: Instant) -> Job {
        let runner = job.runner.as_deref().map(|name| self.named(name));
        let status = if runner.is_some() {
            JobStatus::InProgress
        } else {
            JobStatus::Queued
        };
        Job {
            labels: job.labels.clone(),
            changed_at: Some(now),
            ..Job::new(job.job_id, status, runner)
        }
    }

    /// What GitHub answers for the numbers of the jobs that webhooks opened and that the view shows no more. That is no
    /// list: it tells the truth. So one that a view showed is over, unless a job is really running.
    fn over(&self, view: &JobsView) -> Vec<Job> {
        let open = self.ledger.jobs().iter().filter(|job| {
            let is_asked_for = job.opened_at.is_some() && job.closed_at.is_none();
            let is_shown = view.jobs.iter().any(|shown| shown.id == job.id);
            is_asked_for && !is_shown && self.shown.contains(&job.id) && self.running.is_empty()
        });
        open.map(|job| Job::new(job.id, JobStatus::Completed, None))
            .collect()
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        if self.running.is_empty() {
            Occupancy::Vacant
        } else {
            Occupancy::Occupied
        }
    }

    /// An autoscaler that asks nothing but the flag: it terminates when that says no.
    pub(super) fn busy_only(&self) -> Verdict {
        match self.registration {
            ScriptedRegistration::Registered { busy: false, .. } => Verdict::Terminate,
            _ => Verdict::Hold,
        }
    }

    pub(super) fn evidence(&self, memory: &Memory, now: Instant) -> Vec<Evidence> {
        let mut evidence = Vec::with_capacity(4);
        for witness in &self.scenario.witnesses {
            evidence.push(match witness {
                ScriptedWitness::Registration => self.registration(memory, now),
                ScriptedWitness::Jobs => match &self.jobs {
                    Ok(view) => {
                        let mut view = view.clone();
                        view.jobs.extend(self.over(&view));
                        Evidence::jobs(view, now)
                    }
                    Err(error) => error.of(Witness::Jobs, now),
                },
                ScriptedWitness::Lease => Evidence::lease(self.heartbeat.clone(), now),
            });
        }
        if !self.ledger.jobs().is_empty() {
            let ledger = Signal::Webhooks(self.ledger.clone());
            evidence.push(Evidence::new("webhooks", now, ledger));
        }
        evidence
    }

    fn registration(&self, memory: &Memory, now: Instant) -> Evidence {
        let id = self.scenario.runner.id.or(memory.id());
        match self.registration {
            // Not listed, it answers by its number alone: whoever does not know that sees nothing.
            ScriptedRegistration::Registered { listed: false, .. } if id.is_none() => {
                Evidence::registration(Registration::absent(), now)
            }
            ScriptedRegistration::Registered { busy, status, .. } => {
                let id = Some(id.unwrap_or(UNGIVEN_ID));
                let labels = Vec::new();
                Evidence::registration(
                    Registration::Registered {
                        id,
                        busy,
                        status,
                        labels,
                    },
                    now,
                )
            }
            ScriptedRegistration::Absent => Evidence::registration(Registration::absent(), now),
            ScriptedRegistration::Error(error) => error.of(Witness::Registration, now),
        }
    }
}
