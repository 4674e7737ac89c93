//! `scale-in-guard registration-token`: what lets a runner register.

use crate::{
    Fault, credentials::Credentials, deployment::Place, refusal::is_for_the_caller, terminal::tell,
};
use clap::Args;
use scale_in_guard::github::RegistrationTokens;
use secrecy::ExposeSecret;
use serde_json::json;
use std::{io::Write, process::ExitCode, time::Duration};

/// Get a registration token for the runners of a scope, also while GitHub answers 502 in bursts: it asks again, with
/// growing pauses, for as long as --patience
///
/// Call it before you start an instance: one that comes up without a token never registers, and holds its slot. One
/// token serves any number of runners of its scope until it ends, so call it once for many.
///
/// The token is printed alone on standard output. It is a secret. That the scope minted it is remembered in the store:
/// so phantoms can be reclaimed later even where no runner ever registered. The credentials need to write
/// self-hosted runners (of a repository administration:write, of an organisation
/// organization_self_hosted_runners:write).
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  the token was printed
  1  GitHub did not give one in time; standard error says what it answered and when to try again. Start no runner
  2  it could not ask: wrong usage, or the credentials are missing, refused or lack the permission

Example, for a shim that starts an instance:
  token=$(scale-in-guard registration-token --scope org:acme --patience 50s) || exit 1
  start-instance --env RUNNER_TOKEN=\"$token\"")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    credentials: Credentials,

    /// How long GitHub is asked in all
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = patience)]
    patience: Duration,

    /// Print JSON with the instant at which it ends; see docs/json.md
    #[arg(long)]
    json: bool,
}

/// How long: not no time at all, in which GitHub could be asked and not heard.
fn patience(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span.is_zero() => Err("in no time nobody can answer".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let place = &arguments.place;
    let tokens = RegistrationTokens::new(place.github(&arguments.credentials)?)
        .patience(arguments.patience)
        .noted_in(place.store().await?);
    let token = match tokens.registration_token(&place.scope).await {
        Ok(token) => token,
        Err(error) => {
            let is_ours_to_mend = is_for_the_caller(&error.error);
            tell(format_args!("scale-in-guard: {error}"));
            return Ok(ExitCode::from(if is_ours_to_mend { 2 } else { 1 }));
        }
    };
    let secret = token.token.expose_secret();
    let told = match arguments.json {
        true => json!({
            "scope": place.scope,
            "token": secret,
            "expires_at": token.expires_at,
        })
        .to_string(),
        false => secret.to_owned(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{told}")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
