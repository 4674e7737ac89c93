//! What the records of a runner's host say: its beacon's last report, and its fence.

use crate::{
    beat::{self, Beat},
    evidence::{Evidence, Signal, Witness},
    fence::{Fence, FenceSeen, Nonce},
    policy::Policy,
    records::{Kept, Records},
    runner::RunnerId,
    store::{Key, Record},
    time::{Instant, after},
};

/// What the two records of a runner's host say, and since when they were asked for.
#[derive(Debug, Clone)]
pub(super) struct Host {
    asked_at: Instant,
    beat: Option<(Beat, Instant)>,
    fence: Option<(Fence, Instant)>,
    /// What is the matter with a record that could not be read.
    lost: Vec<(Witness, String)>,
}

impl Host {
    pub(super) fn read(
        records: &Records,
        (beat_key, beat): (&Key, Option<Record>),
        (fence_key, fence): (&Key, Option<Record>),
        asked_at: Instant,
    ) -> Self {
        let beat: Kept<Option<Beat>> = records.parse(beat_key, beat);
        let fence: Kept<Option<Fence>> = records.parse(fence_key, fence);
        let lost = [(Witness::Lease, beat.lost), (Witness::Fence, fence.lost)];
        Self {
            asked_at,
            beat: beat.value.map(|value| (value, after(asked_at, -beat.age))),
            fence: fence
                .value
                .map(|value| (value, after(asked_at, -fence.age))),
            lost: lost
                .into_iter()
                .filter_map(|(witness, what)| Some((witness, what?)))
                .collect(),
        }
    }

    /// The fence, and when it was written.
    pub(super) fn fence(&self) -> (Fence, Instant) {
        let fence = self.fence.clone();
        fence.unwrap_or((Fence::default(), self.asked_at))
    }

    /// Whether the fence's record could not be read.
    pub(super) fn lost_its_fence(&self) -> bool {
        self.lost
            .iter()
            .any(|(witness, _)| *witness == Witness::Fence)
    }

    /// What it all says at one look. `known` is the number that the runner is registered under.
    pub(super) fn evidence(
        &self,
        known: Option<RunnerId>,
        second_look_of: Option<&Nonce>,
        now: Instant,
        policy: &Policy,
    ) -> Vec<Evidence> {
        let beat = self.beat.as_ref().map(|(beat, at)| (beat, *at));
        let fence = self.fence.as_ref().map(|(fence, at)| (fence, *at));
        let heard = beat::heard(beat, fence, known, now, policy);
        let heard = heard.map_or(Signal::NeverHeard, Signal::Lease);
        let mut evidence = vec![Evidence::new("beacon", self.asked_at, heard)];
        if let Some((fence, written_at)) = &self.fence {
            let seen = FenceSeen {
                fence: fence.clone(),
                written_at: *written_at,
                second_look_of: second_look_of.cloned(),
            };
            evidence.push(Evidence::new("store", self.asked_at, Signal::Fence(seen)));
        }
        for (witness, what) in &self.lost {
            evidence.push(Evidence::failed(*witness, what.as_str(), self.asked_at));
        }
        evidence
    }
}
