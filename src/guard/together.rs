//! The runners of one machine: all of them go, or none. And the way out of an instance that somebody else
//! terminates, who is only told that it may go.

use super::{
    Guard,
    retire::{Never, Ready, Retirement, Setback, stopped},
};
use crate::{
    clock::Deadline,
    fence::{Ended, Fence, Incarnation, Mark, Next},
    permit::Go,
    runner::Runner,
    source::{Round, Share},
    time::age,
};
use futures::future::{join_all, try_join_all};
use std::convert::Infallible;
use tracing::Instrument;

impl Guard {
    /// Lets all runners of one machine go the whole way, as [`retire`](Self::retire) lets one: none is drained before
    /// the first look of each, and `terminate` is called, once, with a [`Go`] for each, when all are clear at their
    /// second look. Those of a machine on which one must stay are held with it.
    ///
    /// Give it every runner of the machine; without any it stops.
    pub async fn retire_together<E>(
        &self,
        runners: &[Runner],
        terminate: impl AsyncFnOnce(Vec<Go>) -> Result<(), E>,
    ) -> Retirement<E> {
        let (goes, marks) = match self.go_together(runners).await {
            Ok(goes) => goes.into_iter().unzip::<_, _, Vec<_>, Vec<_>>(),
            Err(retirement) => return retirement.of(),
        };
        let Some(basis) = goes.first().map(Go::basis) else {
            return stopped(Setback::Nobody, None).of();
        };
        let (ended, retirement) = match terminate(goes).await {
            Ok(()) => (Ended::Terminated, Retirement::Terminated(basis)),
            Err(error) => (Ended::Failed, Retirement::Failed(error)),
        };
        self.end_all(runners, &marks, ended).await;
        retirement
    }

    /// Goes the way of [`retire_together`](Self::retire_together) as far as it can, and leaves the drains standing
    /// where that would call terminate: for an autoscaler that is told which machines may go, and terminates some of
    /// them, later, by itself.
    ///
    /// `Ok` says that every runner was drained, has settled, and is clear at its second look. That lasts until its
    /// drain lapses, 10 minutes after its last step, and is as good as the runner is deregistered: so a machine is
    /// ready only if the guard [deregistered](super::GuardBuilder::deregister) each of its runners, or found it absent.
    /// Ask again just before it goes: [`retire_together`](Self::retire_together) goes on from here.
    ///
    /// # Errors
    /// How far it came; call again.
    pub async fn prepare(&self, runners: &[Runner]) -> Result<(), Retirement<Infallible>> {
        let round = Round::of(runners, Share::Some);
        self.prepare_in(runners, &round).await
    }

    /// The same in a round, with whose other runners it shares what it reads.
    pub(crate) async fn prepare_in(
        &self,
        runners: &[Runner],
        round: &Round,
    ) -> Result<(), Retirement<Infallible>> {
        let ready = self.ready_together(runners, round).await?;
        match ready.iter().all(Ready::is_out_of_reach) {
            true => Ok(()),
            false => Err(stopped(Setback::StillRegistered, None)),
        }
    }

    async fn go_together(&self, runners: &[Runner]) -> Result<Vec<(Go, Mark)>, Retirement<Never>> {
        let round = Round::of(runners, Share::Some);
        let ready = self.ready_together(runners, &round).await?;
        let mut goes: Vec<(Go, Mark)> = Vec::new();
        for ready in ready {
            match self.depart(ready).await {
                Ok(go) => goes.push(go),
                Err(retirement) => {
                    let marks: Vec<_> = goes.into_iter().map(|(_, mark)| mark).collect();
                    self.end_all(runners, &marks, Ended::GivenUp).await;
                    return Err(retirement);
                }
            }
        }
        Ok(goes)
    }

    async fn end_all(&self, runners: &[Runner], marks: &[Mark], how: Ended) {
        for (runner, mark) in runners.iter().zip(marks) {
            self.end(runner, mark, how).await;
        }
    }

    /// Each runner as far as it can go, and none further than the first look of all.
    async fn ready_together(
        &self,
        runners: &[Runner],
        round: &Round,
    ) -> Result<Vec<Ready>, Retirement<Never>> {
        if let [only] = runners {
            let ready = self.on_the_way(only, self.ready(only, round)).await?;
            return Ok(vec![ready]);
        }
        if runners.is_empty() {
            return Err(stopped(Setback::Nobody, None));
        }
        let deadline = || Deadline::within(self.policy().ask_deadline);
        let stand = runners.iter().map(async |runner| {
            let (fence, is_drained) = self.where_it_stands(runner, deadline()).await;
            (runner, fence, is_drained)
        });
        let (drained, open): (Vec<_>, Vec<_>) = join_all(stand)
            .await
            .into_iter()
            .partition(|(_, _, is_drained)| *is_drained);
        let looks = open.iter().map(|(runner, fence, _)| {
            let look = self.may_begin(runner, fence, round, deadline());
            self.on_the_way(runner, look)
        });
        let permits = try_join_all(looks).await?;
        let mut settling = None;
        for permit in permits {
            match self.announce(permit, deadline()).await {
                draining @ Retirement::Draining { .. } => settling = Some(draining),
                other => return Err(other),
            }
        }
        let looks = drained
            .iter()
            .map(|(runner, ..)| self.on_the_way(runner, self.ready(runner, round)));
        let mut ready = Vec::new();
        for look in join_all(looks).await {
            match look {
                Ok(one) => ready.push(one),
                Err(draining @ Retirement::Draining { .. }) => {
                    settling = settling.or(Some(draining));
                }
                Err(other) => return Err(other),
            }
        }
        settling.map_or(Ok(ready), Err)
    }

    async fn on_the_way<T>(&self, runner: &Runner, step: impl Future<Output = T>) -> T {
        let (name, scope) = (&runner.name, &runner.scope);
        let span = tracing::debug_span!("retire", runner = %name, %scope);
        step.instrument(span).await
    }

    /// A runner's fence, and whether a drain of it stands.
    async fn where_it_stands(&self, runner: &Runner, deadline: Deadline) -> (Fence, bool) {
        let recalled = self.recall(runner, deadline).await;
        let Some((fence, written_at)) = recalled.host().map(super::host::Host::fence) else {
            return (Fence::default(), false);
        };
        let whom = Incarnation::of(runner, recalled.shared().id());
        let next = fence.next(whom, age(self.now(), written_at), self.policy());
        let is_drained = !matches!(next, Next::Look);
        (fence, is_drained)
    }
}
