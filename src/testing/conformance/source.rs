//! What every source promises.

use crate::{
    clock::{Clock, Deadline},
    evidence::Witness,
    policy::Policy,
    runner::Runner,
    source::{Ask, EvidenceSource, Reach},
};
use chrono::TimeDelta;
use futures::future::join_all;

/// How long a source may think about a handful of questions before it counts as hung.
const HUNG: TimeDelta = TimeDelta::minutes(1);

/// Proves an [`EvidenceSource`], by questions about a runner that it knows. It may answer or fail, as long
/// as it is honest about when it asked and who it is. `clock` is the one that the source reads.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use scale_in_guard::{
///     Evidence, Runner,
///     clock::SystemClock,
///     source::{Ask, EvidenceSource, Trouble},
///     testing::conformance,
/// };
///
/// #[derive(Debug)]
/// struct Maintenance;
///
/// #[async_trait::async_trait]
/// impl EvidenceSource for Maintenance {
///     fn name(&self) -> &str {
///         "maintenance"
///     }
///     async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
///         Ok(vec![ask.objects_if(true, "everybody stays")])
///     }
/// }
///
/// let runner = Runner::new("r-1", "repo:acme/atlas").expect("a name");
/// conformance::source(&Maintenance, runner, &SystemClock).await;
/// # }
/// ```
///
/// # Panics
/// When the source breaks a promise of its port, or does not answer within a minute.
pub async fn source(source: &dyn EvidenceSource, runner: Runner, clock: &dyn Clock) {
    let name = source.name();
    assert!(
        !name.trim().is_empty(),
        "a source has a name, for the reader of a decision"
    );
    assert!(
        source.reach(&runner.scope) != Reach::Nothing,
        "{name}: a source knows of the runners that it is asked about; it says that it knows nothing of \
         those in {}",
        runner.scope
    );
    answers(source, &runner, clock).await;
    let questions = (0..8).map(|_| answers(source, &runner, clock));
    let all = Deadline::within(HUNG).meet(join_all(questions)).await;
    assert!(
        all.is_ok(),
        "{name}: a source that is asked by several at once answers all of them; 8 questions had no end in \
         a minute"
    );
}

async fn answers(source: &dyn EvidenceSource, runner: &Runner, clock: &dyn Clock) {
    let name = source.name();
    let ask = Ask::about(runner.clone(), clock.now());
    let Ok(answer) = Deadline::within(HUNG).meet(source.ask(&ask)).await else {
        panic!("{name}: a source answers or fails; it did neither in a minute");
    };
    let now = clock.now();
    let Ok(evidence) = answer else {
        return; // to fail is honest
    };
    assert!(
        !evidence.is_empty(),
        "{name}: a source gives at least one piece of evidence, or an error"
    );
    let oldest = crate::time::after(ask.at(), -Policy::default().evidence_max_age);
    for piece in evidence {
        assert!(
            piece.asked_at <= now,
            "{name}: evidence was asked for before it was given; this one at {}, which is after {now}: \
             {piece:?}",
            piece.asked_at
        );
        assert!(
            piece.asked_at >= oldest,
            "{name}: evidence is no older than a decision allows; this one was asked for at {}, for a \
             question of {}: {piece:?}",
            piece.asked_at,
            ask.at()
        );
        let (declared, speaks) = (source.witness(), piece.witness());
        // Whoever reads the registrations sees what is true of the fleet, too.
        let of_the_listing = declared == Witness::Registration && speaks == Witness::Fleet;
        assert!(
            speaks == declared || of_the_listing,
            "{name}: a source speaks as the witness that it declares, {declared}; this speaks as {speaks}: \
             {piece:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::{Evidence, Registration, Signal, Status},
        runner::Scope,
        source::Trouble,
        testing::ManualClock,
    };
    use async_trait::async_trait;

    const SCOPE: &str = "repo:acme/atlas";

    type Answer = fn(&Ask) -> Result<Vec<Evidence>, Trouble>;

    /// A source of registrations that answers as it is told.
    #[derive(Debug)]
    struct Told(&'static str, Reach, Answer);

    #[async_trait]
    impl EvidenceSource for Told {
        fn name(&self) -> &str {
            self.0
        }
        fn witness(&self) -> Witness {
            Witness::Registration
        }
        fn reach(&self, _scope: &Scope) -> Reach {
            self.1
        }
        async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
            (self.2)(ask)
        }
    }

    fn registered(ask: &Ask, seconds: i64) -> Evidence {
        let signal = Signal::Registration(Registration::registered(false, Status::Online));
        let asked_at = crate::time::after(ask.at(), TimeDelta::seconds(seconds));
        Evidence::new("told", asked_at, signal)
    }

    async fn prove(told: Told) -> Result<(), String> {
        let suite = tokio::spawn(async move {
            let runner = Runner::new("r-1", SCOPE).expect("a runner");
            let clock = ManualClock::at(crate::time::Instant::UNIX_EPOCH);
            source(&told, runner, &clock).await;
        });
        suite.await.map_err(|failed| {
            let panic = failed.into_panic();
            let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
            let formatted = || panic.downcast_ref::<String>().cloned();
            text.or_else(formatted).expect("a message")
        })
    }

    #[tokio::test]
    async fn an_honest_source_passes() {
        let honest: [Answer; 4] = [
            |ask| Ok(vec![registered(ask, 0)]),
            |ask| Ok(vec![registered(ask, -30)]),
            |_| Err("no network".into()),
            |ask| {
                let mut failed = Evidence::failed(Witness::Registration, "502", ask.at());
                failed.source = "told".into();
                Ok(vec![registered(ask, 0), failed])
            },
        ];
        for answer in honest {
            prove(Told("told", Reach::Holds, answer))
                .await
                .expect("it passes");
        }
    }

    #[tokio::test]
    async fn every_broken_promise_of_a_source_is_noticed() {
        let broken: [(Told, &str); 6] = [
            (
                Told(" ", Reach::Holds, |ask| Ok(vec![registered(ask, 0)])),
                "a source has a name",
            ),
            (
                Told("told", Reach::Nothing, |ask| Ok(vec![registered(ask, 0)])),
                "knows of the runners",
            ),
            (
                Told("told", Reach::Holds, |_| Ok(Vec::new())),
                "at least one piece of evidence",
            ),
            (
                Told("told", Reach::Holds, |ask| Ok(vec![registered(ask, 1)])),
                "before it was given",
            ),
            (
                Told("told", Reach::Holds, |ask| Ok(vec![registered(ask, -31)])),
                "no older than a decision allows",
            ),
            (
                Told("told", Reach::Holds, |ask| {
                    Ok(vec![ask.objects_if(true, "")])
                }),
                "as the witness that it declares",
            ),
        ];
        for (told, promise) in broken {
            let message = prove(told).await.expect_err(promise);
            assert!(message.contains(promise), "{message}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_is_noticed() {
        #[derive(Debug)]
        struct Hung;

        #[async_trait]
        impl EvidenceSource for Hung {
            fn name(&self) -> &str {
                "hung"
            }
            async fn ask(&self, _ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
                std::future::pending().await
            }
        }

        let suite = tokio::spawn(async {
            let runner = Runner::new("r-1", SCOPE).expect("a runner");
            let clock = ManualClock::at(crate::time::Instant::UNIX_EPOCH);
            source(&Hung, runner, &clock).await;
        });
        assert!(suite.await.is_err_and(|failed| failed.is_panic()));
    }
}
