//! What of the evidence is kept: all of it, but for jobs that have nothing to do with the runner.

use crate::{
    decision::Assessment,
    evidence::{Evidence, Job, Recent, Signal, shown_id},
    memory::Memory,
    policy::Policy,
    seen::Labels,
};
use std::cmp::Reverse;

/// How many jobs of one view are kept that could be on their way to the runner: any one of them holds.
const ON_THEIR_WAY: usize = 16;

/// The evidence that a decision rests on, as it is kept. Of the jobs, those that name the runner, those that could be
/// on their way to it, and those that earlier looks wait for: by them the same is decided.
pub(super) fn trimmed(assessment: &Assessment, before: &Memory) -> Vec<Evidence> {
    let runner = &assessment.runner;
    let evidence = &assessment.evidence;
    let seen = shown_id(evidence).or(before.id());
    // Every label that was shown counts, whenever it was read: too many jobs are better than too few.
    let labels = Labels::read(
        runner,
        evidence,
        Recent::at(assessment.at, &Policy::default()),
    );
    let concerns = |job: &Job| job.names(runner, seen) || before.awaits(job.id);
    let is_on_its_way = |job: &Job| !job.is_elsewhere() && labels.fit(&job.labels);
    let trim = |evidence: &Evidence| {
        let mut evidence = evidence.clone();
        if let Signal::Jobs(view) = &mut evidence.signal {
            // Those that hold longest are kept.
            let holds_for = |job: &Job| (job.changed_at.is_some(), Reverse(job.changed_at));
            view.jobs.sort_by_key(holds_for);
            let mut left = ON_THEIR_WAY;
            view.jobs.retain(|job| {
                let is_one_more = !concerns(job) && is_on_its_way(job) && left > 0;
                left = left.saturating_sub(usize::from(is_one_more));
                concerns(job) || is_one_more
            });
        }
        evidence
    };
    evidence.iter().map(trim).collect()
}
