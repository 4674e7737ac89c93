//! `scale-in-guard beacon-secret`: what lets the beacon of one runner report to an intake.

use crate::Fault;
use clap::Args;
use scale_in_guard::{
    Scope,
    intake::{BeaconSecret, IntakeKey},
    runner::RunnerName,
};
use secrecy::ExposeSecret;
use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

/// Print the secret with which the beacon of one runner reports to an intake
///
/// It is made from the intake's key, which only the intake and whoever launches runners may know: launch the
/// instance with this secret, never with the key. docs/beacon.md says what a host can do with it.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  the secret is printed
  2  there is no key, or it is too short

Example:
  INTAKE_KEY=$(cat intake.key) scale-in-guard beacon-secret --key-env INTAKE_KEY --scope org:acme --runner i-06cbe04821ccba677")]
pub(crate) struct Arguments {
    /// Where the runner is registered: org:NAME, repo:OWNER/NAME or enterprise:NAME
    #[arg(long, value_name = "SCOPE")]
    scope: Scope,

    /// The runner's name
    #[arg(long, value_name = "NAME")]
    runner: RunnerName,

    /// The environment variable with the intake's key, the same that `webhook` is given
    #[arg(long, value_name = "VARIABLE")]
    key_env: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let key = key("--key-env", &arguments.key_env)?;
    let secret = key.secret_of(&arguments.scope, &arguments.runner);
    writeln!(io::stdout(), "{}", secret.expose_secret())?;
    Ok(ExitCode::SUCCESS)
}

/// The intake's key, from the environment variable that an option names.
pub(crate) fn key(option: &str, variable: &str) -> Result<IntakeKey, Fault> {
    let refused = |why: &dyn std::fmt::Display| format!("{option} {variable}: {why}");
    let text = env::var(variable).map_err(|error| refused(&error))?;
    Ok(IntakeKey::new(&text).map_err(|error| refused(&error))?)
}

/// The secrets that a beacon's environment holds: one, or a line NAME=SECRET for each runner.
pub(crate) enum Secrets {
    OfOne(BeaconSecret),
    Of(Vec<(RunnerName, BeaconSecret)>),
}

impl Secrets {
    /// Reads them from this environment variable.
    pub(crate) fn read(variable: &str) -> Result<Self, Fault> {
        let refused = |what: &str| format!("--report-secret-env {variable}: {what}");
        let text = env::var(variable).map_err(|error| refused(&error.to_string()))?;
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        match lines.as_slice() {
            [] => Err(refused("it is empty; see `scale-in-guard beacon-secret`").into()),
            [one] if !one.contains('=') => Ok(Self::OfOne(BeaconSecret::new(one))),
            lines => {
                let pairs = lines.iter().map(|line| {
                    let pair = line.rsplit_once('=');
                    let (name, secret) = pair.ok_or_else(|| {
                        refused("write one secret, or a line NAME=SECRET for each runner")
                    })?;
                    let name = name.trim().parse::<RunnerName>();
                    let name = name.map_err(|error| refused(&error.to_string()))?;
                    Ok((name, BeaconSecret::new(secret)))
                });
                Ok(Self::Of(pairs.collect::<Result<_, Fault>>()?))
            }
        }
    }
}
