//! `scale-in-guard beacon`: reports what the runners of this host do.

use crate::{
    Fault, beacon_secret::Secrets, deployment::read_policy, metrics::Metrics, stop::stop,
    store::GivenStore, terminal::tell,
};
use clap::Args;
use scale_in_guard::{
    Policy, Scope,
    beacon::{Beacon, RunError, RunnerRoot},
    intake::IntakeStore,
    store::Store,
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Report what the runners on this host do: reads their logs, watches for their worker processes, and tells the
/// guards through the store, also when there is nothing to tell
///
/// It runs beside the runner, as long as the runner does; docs/beacon.md has a systemd unit and a container
/// entrypoint. When a job starts it takes the runner's fence, so that a guard that was about to let the runner
/// go does not. On SIGTERM it reports a last word, which is not "vacant".
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  it was told to end
  2  a folder holds no runner, its .runner cannot be read or says no scope, its log is of no known format,
     or another beacon reports the same runners

The store may be away for any time, also at the start: it goes on looking, tries again, and tells the present.
SCALE_IN_GUARD_LOG=info shows what it watches.

Example:
  scale-in-guard beacon --runner-root /home/runner/actions-runner --store sqlite:/var/lib/scale-in-guard/guard.sqlite")]
pub(crate) struct Arguments {
    /// A runner's folder, with its .runner and _diag. Several runners of one host: name each
    #[arg(long, value_name = "DIR", required = true)]
    runner_root: Vec<PathBuf>,

    /// Where the runners are registered, for those whose .runner does not say (just-in-time runners)
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,

    /// Where the guards read: sqlite:PATH, redis://USER@HOST (rediss:// with TLS; redis+cluster:// and
    /// redis+sentinel://, too) or dynamodb://TABLE; see docs/stores.md. A Redis's password is read from
    /// SCALE_IN_GUARD_REDIS_PASSWORD
    #[arg(long, value_name = "STORE", required_unless_present = "report")]
    store: Option<GivenStore>,

    /// Report through the intake at this URL instead, which `scale-in-guard webhook` serves: this host then cannot
    /// write any other runner's record
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    report: Option<String>,

    /// The environment variable with this runner's secret for the intake, from `scale-in-guard beacon-secret`; for
    /// several runners, a line NAME=SECRET for each
    #[arg(
        long,
        value_name = "VARIABLE",
        requires = "report",
        default_value = "SCALE_IN_GUARD_BEACON_SECRET"
    )]
    report_secret_env: String,

    /// How often to report when nothing changes; half of the policy's beacon_ttl at the most
    /// [default: 15s, or a quarter of beacon_ttl where that is less]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    interval: Option<Duration>,

    /// How long to wait for a runner that is not there or not configured yet, as in a container at its start
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = span)]
    wait: Duration,

    /// The guards' policy, as TOML; see docs/design.md for its keys
    #[arg(long, value_name = "FILE.toml")]
    policy: Option<PathBuf>,

    #[command(flatten)]
    metrics: Metrics,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let policy = match &arguments.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    let interval = interval(arguments.interval, &policy)?;
    arguments.metrics.serve()?;
    let mut beacon = Beacon::new(arguments.store()?, policy, interval);
    let told = stop()?;
    let stop = async {
        told.await;
        tell("scale-in-guard: going; a last word is reported");
    };
    tokio::pin!(stop);
    let until = Instant::now() + arguments.wait;
    for root in &arguments.runner_root {
        let added = add(&mut beacon, root, arguments.scope.as_ref(), until);
        tokio::select! {
            added = added => added?,
            () = &mut stop => return Ok(ExitCode::SUCCESS),
        }
    }
    beacon.run(stop).await?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// Where it reports.
    fn store(&self) -> Result<Arc<dyn Store>, Fault> {
        if let Some(store) = &self.store {
            return Ok(Arc::new(store.to_report_to()?));
        }
        let url = self.report.as_deref().unwrap_or_default();
        let intake = match Secrets::read(&self.report_secret_env)? {
            Secrets::OfOne(_) if self.runner_root.len() > 1 => {
                let variable = &self.report_secret_env;
                return Err(format!("--report-secret-env {variable}: one secret for several runners; write a line NAME=SECRET for each").into());
            }
            Secrets::OfOne(secret) => IntakeStore::new(url, secret),
            Secrets::Of(secrets) => IntakeStore::of_several(url, secrets),
        };
        Ok(Arc::new(
            intake.map_err(|error| format!("--report: {error}"))?,
        ))
    }
}

/// No wait and no interval is longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text);
    let span = span.map_err(|error| format!("{error}; write it as 15s or 2m"))?;
    match span <= LONGEST {
        true => Ok(span),
        false => Err("a day is the most".to_owned()),
    }
}

fn interval(given: Option<Duration>, policy: &Policy) -> Result<Duration, Fault> {
    let ttl = policy.beacon_ttl.to_std().unwrap_or_default();
    let Some(interval) = given else {
        let quarter = (ttl / 4).min(Duration::from_secs(15));
        return match quarter < Duration::from_millis(250) {
            true => Err(format!("--policy: a beacon_ttl of {ttl:?} is too short for a beacon, which looks once a second").into()),
            false => Ok(quarter),
        };
    };
    if interval < Duration::from_secs(1) {
        return Err("--interval: once a second is the most".into());
    }
    if interval * 2 > ttl {
        return Err(format!(
            "--interval: a beacon that reports every {interval:?} may count as silent in between: the policy's beacon_ttl is {ttl:?}; take a quarter of it"
        )
        .into());
    }
    Ok(interval)
}

/// Adds a runner, and waits so long for it to be configured.
async fn add(
    beacon: &mut Beacon,
    path: &Path,
    scope: Option<&Scope>,
    until: Instant,
) -> Result<(), Fault> {
    loop {
        let added = match RunnerRoot::open(path) {
            Ok(root) => beacon.watch(root, scope).map(|watched| {
                let (name, scope) = (&watched.name, &watched.scope);
                tell(format_args!(
                    "scale-in-guard: watching {name} of {scope} in {}",
                    path.display()
                ));
            }),
            Err(error) => Err(error.into()),
        };
        match added {
            Err(RunError::Root(_)) if Instant::now() < until => {
                sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(format!("--runner-root {}: {error}", path.display()).into()),
            Ok(()) => return Ok(()),
        }
    }
}
