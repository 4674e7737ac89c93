//! `scale-in-guard webhook`: receives what GitHub tells of jobs.

mod answer;
mod beacons;
mod connections;
mod deliver;
mod routes;
mod seldom;

use self::{connections::serve, routes::Routes};
use crate::{
    Fault, beacon_secret, deployment::open_store, metrics::Metrics, stop::stop, store::GivenStore,
    terminal::tell,
};
use clap::Args;
use scale_in_guard::{
    Scope,
    intake::Intake,
    webhook::{Receiver, Secrets},
};
use std::{env, io::Write, net::SocketAddr, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;

/// Receive GitHub's workflow_job webhooks, and keep what they tell in the store, where the guards read it (check,
/// sweep, phantoms and retire with --webhooks)
///
/// A delivery is answered with 200 only once it is durable. It takes a POST on any path that is none of its own:
/// GET /healthz tells how it is. It speaks plain HTTP: what ends TLS must be in front of it, on this machine. See
/// docs/webhooks.md.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  it was told to end (SIGTERM, SIGINT), and what it had accepted is kept
  2  it could not begin: the address is taken, a secret is missing, or the store cannot be opened

Example:
  WEBHOOK_SECRET=… scale-in-guard webhook --listen 127.0.0.1:8080 --secret-env WEBHOOK_SECRET \\
      --store sqlite:/var/lib/scale-in-guard/guard.sqlite")]
pub(crate) struct Arguments {
    /// Where to listen: ADDRESS:PORT. Port 0 is any free one; the first line that is printed tells which
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,

    /// The environment variable with the webhook's secret, as it stands at GitHub. While it is being changed, give
    /// both: a delivery may be signed with any of them
    #[arg(long, value_name = "NAME", required = true)]
    secret_env: Vec<String>,

    /// Where the guards read: sqlite:PATH, redis://USER@HOST or dynamodb://TABLE, in all the forms of docs/stores.md
    /// [default: a SQLite file in your state folder]
    #[arg(long, value_name = "STORE")]
    store: Option<GivenStore>,

    /// Whose deliveries come here: org:NAME, repo:OWNER/NAME or enterprise:NAME. So a guard knows of this receiver
    /// before the first one comes. It refuses no other
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<Scope>,

    /// What this receiver is called among those that share the store: each needs a name of its own, and keeps it
    #[arg(long, value_name = "NAME", default_value = "1")]
    name: String,

    /// The environment variable with the intake's key: beacons that were given a secret made from it
    /// (`scale-in-guard beacon-secret`) report at /beacons/. While it is being changed, give both
    #[arg(long, value_name = "NAME")]
    beacon_key_env: Vec<String>,

    #[command(flatten)]
    metrics: Metrics,

    /// Print where it listens as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let secrets = arguments.secret_env.iter().map(|name| secret(name));
    let secrets = Secrets::new(secrets.collect::<Result<Vec<_>, _>>()?)?;
    if let Some(given) = &arguments.store {
        given.is_for_others()?;
    }
    let store = open_store(arguments.store.as_ref()).await?;
    let stop = stop()?;
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.map_err(|error| format!("--listen {}: {error}", arguments.listen))?;
    let bound = listener.local_addr()?;
    let keys = arguments.beacon_key_env.iter();
    let keys = keys.map(|name| beacon_secret::key("--beacon-key-env", name));
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    let intake = (!keys.is_empty()).then(|| Intake::new(store.clone(), keys));
    arguments.metrics.serve()?;
    let receiver = Receiver::builder(store, secrets)
        .named(&arguments.name)
        .map_err(|error| format!("--name: {error}"))?
        .scopes(arguments.scope.iter().cloned())
        .start();
    let receiver = Arc::new(receiver);
    announce(bound, arguments.json)?;
    serve(listener, Routes::to(receiver.clone(), intake), stop).await;
    receiver.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A secret from the environment. Its value stands in no message.
fn secret(name: &str) -> Result<String, String> {
    let advice = "set it to the secret that the webhook has at GitHub";
    match env::var(name) {
        Ok(secret) if secret.is_empty() => {
            Err(format!("--secret-env {name}: it is empty; {advice}"))
        }
        Ok(secret) => Ok(secret),
        Err(env::VarError::NotPresent) => {
            Err(format!("--secret-env {name}: it is not set; {advice}"))
        }
        Err(env::VarError::NotUnicode(_)) => Err(format!("--secret-env {name}: it is no text")),
    }
}

/// Tells where it listens, in one line.
fn announce(bound: SocketAddr, json: bool) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(
            out,
            "{}",
            serde_json::json!({ "listening": bound.to_string() })
        )?,
        false => writeln!(out, "listening on http://{bound}")?,
    }
    out.flush()?;
    if !bound.ip().is_loopback() {
        tell(format_args!(
            "scale-in-guard: {bound} can be reached from other machines, and this is plain HTTP: put what ends TLS in front of it"
        ));
    }
    Ok(())
}
