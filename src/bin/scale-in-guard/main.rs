//! The command line.

mod beacon;
mod beacon_secret;
mod check;
mod credentials;
mod deployment;
mod desyncs;
mod ghosts;
mod history;
mod hook;
mod html;
mod input;
mod jit_config;
mod metrics;
mod phantoms;
mod pin;
mod refusal;
mod registration_token;
mod release;
mod replay;
mod retire;
mod runners;
mod shadow;
mod status;
mod stop;
mod store;
mod sweep;
mod terminal;
mod timeline;
mod webhook;

use clap::{CommandFactory, Parser, Subcommand};
use std::{io, process::ExitCode};
use terminal::tell;
use tracing_subscriber::EnvFilter;

/// May this self-hosted GitHub Actions runner be terminated now?
///
/// GitHub's `busy` flag lags a job's start and flips to false in the middle of jobs. This tool
/// weighs it against the workflow jobs, the runner's job lease and a grace window, and says why.
///
/// Begin with `check --shadow`, or `sweep --shadow`: it decides and counts, and lets nothing go.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Sweep(sweep::Arguments),
    Phantoms(phantoms::Arguments),
    Retire(retire::Arguments),
    Release(release::Arguments),
    Pin(pin::Arguments),
    Unpin(pin::Unpin),
    Pins(pin::Pins),
    Status(status::Arguments),
    History(history::Arguments),
    Desyncs(desyncs::Arguments),
    Shadow(shadow::Arguments),
    RegistrationToken(registration_token::Arguments),
    JitConfig(jit_config::Arguments),
    Ghosts(ghosts::Arguments),
    Beacon(beacon::Arguments),
    BeaconSecret(beacon_secret::Arguments),
    Webhook(webhook::Arguments),
    Replay(replay::Arguments),
    Hook(hook::Arguments),
    /// Print a completion script for a shell
    ///
    /// For bash: source <(scale-in-guard completions bash)
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What could not be done, for the person at the terminal: exit code 2.
type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if hook::is_asked() => return hook::misused(&error),
        Err(error) => error.exit(),
    };
    // A job waits for its hooks: nothing slow comes before.
    if !matches!(cli.command, Command::Hook(_)) {
        begin_log();
    }
    let done = match cli.command {
        Command::Check(arguments) => wait_for(check::run(&arguments)),
        Command::Sweep(arguments) => wait_for(sweep::run(&arguments)),
        Command::Phantoms(arguments) => wait_for(phantoms::run(&arguments)),
        Command::RegistrationToken(arguments) => wait_for(registration_token::run(&arguments)),
        Command::Retire(arguments) => wait_for(retire::run(&arguments)),
        Command::Release(arguments) => wait_for(release::run(&arguments)),
        Command::Pin(arguments) => wait_for(pin::run(&arguments)),
        Command::Unpin(arguments) => wait_for(pin::unpin(&arguments)),
        Command::Pins(arguments) => wait_for(pin::list(&arguments)),
        Command::Status(arguments) => wait_for(status::run(&arguments)),
        Command::History(arguments) => wait_for(history::run(&arguments)),
        Command::Desyncs(arguments) => wait_for(desyncs::run(&arguments)),
        Command::JitConfig(arguments) => wait_for(jit_config::run(&arguments)),
        Command::Ghosts(arguments) => wait_for(ghosts::run(&arguments)),
        Command::Beacon(arguments) => wait_for(beacon::run(&arguments)),
        Command::BeaconSecret(arguments) => beacon_secret::run(&arguments),
        Command::Webhook(arguments) => wait_for(webhook::run(&arguments)),
        Command::Shadow(arguments) => wait_for(shadow::run(&arguments)),
        Command::Replay(arguments) => Ok(replay::run(&arguments)),
        Command::Hook(arguments) => Ok(hook::run(&arguments)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "scale-in-guard", &mut script);
            io::Write::write_all(&mut io::stdout(), &script)
                .map(|()| ExitCode::SUCCESS)
                .map_err(Fault::from)
        }
    };
    done.unwrap_or_else(|fault| {
        // Also where whoever read our output has read enough: 0 would mean that something may go.
        tell(format_args!("scale-in-guard: {fault}"));
        ExitCode::from(2)
    })
}

fn begin_log() {
    let filter = EnvFilter::try_from_env("SCALE_IN_GUARD_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(io::stderr)
        .init();
}

fn wait_for(work: impl Future<Output = Result<ExitCode, Fault>>) -> Result<ExitCode, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // A read that hangs must not keep the answer.
    runtime.shutdown_background();
    done
}
