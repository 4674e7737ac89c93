//! `scale-in-guard status`: the fleet as the store knows it.

use crate::{Fault, deployment::Kept, terminal::tell};
use chrono::TimeDelta;
use clap::Args;
use scale_in_guard::{
    Scope,
    clock::{Clock, SystemClock},
    guard::{FleetStatus, scopes, status},
    store::Store,
};
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// A runner of which nothing was decided or heard for longer is left out.
const RECENT: TimeDelta = TimeDelta::hours(1);

/// The fleet as the store knows it: each runner's stage, when it last had a job, since when it is vacant, its lease,
/// its beacon, its pin, and the last decision and why
///
/// It asks GitHub nothing and needs no token: what stands there is what guards decided and beacons reported.
#[derive(Args)]
#[command(after_long_help = "\
OCCUPIED: when any witness last said that it has a job. VACANT: for how long, by the last decision. LEASE: for how
long the lease of its job is good. BEACON: when it was last heard. PIN: for how long. A dash: not known, or none.
Without --scope: every scope that guards on this store decided in.

Exit status: 0, or 2 when it could not be read.

Example:
  scale-in-guard status --scope org:acme --watch")]
pub(crate) struct Arguments {
    /// Where the runners are registered: org:NAME, repo:OWNER/NAME or enterprise:NAME [default: every scope that
    /// this store knows]
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,

    #[command(flatten)]
    kept: Kept,

    /// Also the runners of which nothing was decided or heard for an hour
    #[arg(long)]
    all: bool,

    /// Print it anew every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,

    /// Print one line of JSON for each scope; see docs/json.md
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let store = arguments.kept.store().await?;
    let Some(seconds) = arguments.watch else {
        print(&arguments.told(store).await?)?;
        return Ok(ExitCode::SUCCESS);
    };
    // Drawn over on a terminal; in a pipe, one block after another.
    let begin = match io::stdout().is_terminal() && !arguments.json {
        true => "\x1b[H\x1b[2J",
        false => "",
    };
    loop {
        // Whoever watches an outage watches on; the next time it may be over.
        match arguments.told(store.clone()).await {
            Ok(told) => print(&format!("{begin}{told}"))?,
            Err(error) => tell(format_args!("scale-in-guard: {error}")),
        }
        tokio::select! {
            ended = tokio::signal::ctrl_c() => {
                ended?;
                return Ok(ExitCode::SUCCESS);
            }
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

fn print(told: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(told.as_bytes())?;
    out.flush()
}

impl Arguments {
    async fn told(&self, store: Arc<dyn Store>) -> Result<String, Fault> {
        let places = match &self.scope {
            Some(scope) => vec![(self.kept.host()?, scope.clone())],
            None => {
                let known = scopes(store.clone()).await?.into_iter();
                let known = known.map(|known| (known.api.to_string(), known.scope));
                known.collect()
            }
        };
        if places.is_empty() {
            tell(
                "no guard on this store has decided anything that it keeps; name a scope with --scope, or see that --store is right",
            );
        }
        let mut told = String::new();
        for (api, scope) in places {
            let status = status(store.clone(), &api, &scope, SystemClock.now()).await?;
            told.push_str(&self.one(status)?);
        }
        Ok(told)
    }

    fn one(&self, status: FleetStatus) -> Result<String, Fault> {
        let (status, left_out) = match self.all {
            true => (status, 0),
            false => status.within(RECENT),
        };
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string(&status)?));
        }
        let more = match left_out {
            0 => String::new(),
            more => format!("; {more} of which nothing was heard for an hour: --all"),
        };
        let mut told = format!("{status}{more}\n");
        for pin in &status.pins {
            told.push_str(&format!("  {pin}\n"));
        }
        Ok(told)
    }
}
