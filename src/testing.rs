//! For tests, yours and ours: a clock to set, sources that follow a script, mocks of the ports, a
//! GitHub with a truth and a view that can lie, a Lambda that invokes your function, and suites that prove a store or
//! a source.
//!
//! Nothing here waits, and nothing here belongs into a release.

mod clock;
pub mod conformance;
pub mod fake_github;
mod fake_lambda;
mod loopback;
mod scripted;

pub use crate::{clock::MockClock, source::MockEvidenceSource, store::MockStore};
pub use clock::{ManualClock, TokioClock};
pub use fake_github::FakeGitHub;
pub use fake_lambda::{FakeLambda, Invocation};
pub use scripted::ScriptedSource;
