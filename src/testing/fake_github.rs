//! A GitHub on loopback with a truth, and a view of it that can lie.
//!
//! The *truth* is which runner has which job. The *view* is what the API shows of it: it can lag, lie,
//! lose rows between pages, refuse, and break off in mid-answer. A test tells the truth, bends the
//! view, lets an autoscaler loose on [`FakeGitHub::url`], and asks the truth whether a job was killed.

mod answer;
mod app;
mod budget;
mod credentials;
mod endpoints;
mod etag;
mod faults;
mod gauge;
mod history;
mod json;
mod paging;
mod permissions;
mod registration;
mod requests;
mod routes;
mod seen;
mod server;
mod truth;
mod view;

use crate::{clock::Clock, testing::loopback, time::Instant};
pub use app::{FakeApp, FakeInstallation};
pub use faults::{Fault, FaultOn};
pub use requests::Request;
use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
pub use truth::{JobId, Killed, NewRunner};

/// The token that is always accepted: long enough to be found wherever it leaks.
const TOKEN: &str = "the-token-of-the-fake-github";

/// A GitHub on loopback. Clones are the same GitHub; it ends when the last of them is dropped.
///
/// ```
/// use scale_in_guard::{Scope, clock::SystemClock, testing::FakeGitHub};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let github = FakeGitHub::start(SystemClock).await?;
///     let acme: Scope = "org:acme".parse()?;
///     github.register(&acme, "r-1");
///     github.start_job(&acme, "r-1", "acme/atlas");
///     github.lie_busy(&acme, "r-1", Some(false)); // the bug: shown idle in the middle of a job
///
///     // Here your autoscaler looks at `github.url()`, with `github.token()`. It should not do this:
///     let killed = github.kill(&acme, "r-1");
///     assert!(killed.was_occupied);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct FakeGitHub {
    shared: Arc<Shared>,
    _server: Arc<loopback::Server>,
}

/// What the handles and the server share.
struct Shared {
    clock: Box<dyn Clock>,
    url: String,
    gauge: Arc<gauge::Gauge>,
    world: Mutex<World>,
}

/// Everything that a test can set, and what it can read back.
#[derive(Default)]
struct World {
    truth: truth::Truth,
    view: view::View,
    faults: faults::Faults,
    latency: Duration,
    budgets: budget::Budgets,
    registration_tokens: Vec<registration::Minted>,
    apps: app::Apps,
    requests: Vec<Request>,
    answers: u64,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeGitHub {
    /// Starts one on a free port of 127.0.0.1. It tells the time by this clock.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(clock: impl Clock + 'static) -> io::Result<Self> {
        let listener = loopback::listen().await?;
        let shared = Arc::new(Shared {
            clock: Box::new(clock),
            url: format!("http://{}", listener.local_addr()?),
            gauge: Arc::default(),
            world: Mutex::default(),
        });
        let server = server::start(listener, Arc::clone(&shared));
        Ok(Self {
            shared,
            _server: Arc::new(server),
        })
    }

    /// The base of its API, such as `http://127.0.0.1:40123`. The paths of a GitHub Enterprise Server,
    /// which begin with `/api/v3`, are answered too.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// The token that is accepted always, and sees everything.
    #[must_use]
    pub fn token(&self) -> &str {
        TOKEN
    }

    /// How long every answer takes. It tells what was so when the request came in.
    pub fn latency(&self, latency: Duration) {
        self.shared.world().latency = latency;
    }

    fn change<R>(&self, change: impl FnOnce(&mut World, Instant) -> R) -> R {
        let now = self.shared.clock.now();
        change(&mut self.shared.world(), now)
    }
}

impl fmt::Debug for FakeGitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.shared.url;
        f.debug_struct("FakeGitHub").field("url", url).finish()
    }
}
