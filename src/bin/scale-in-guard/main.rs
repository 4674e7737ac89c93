//! The command line.

mod html;
mod input;
mod replay;
mod timeline;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// May this self-hosted GitHub Actions runner be terminated now?
///
/// GitHub's `busy` flag lags a job's start and flips to false in the middle of jobs. This tool
/// weighs it against the workflow jobs, the runner's job lease and a grace window, and says why.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Replay(replay::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Replay(arguments) => replay::run(&arguments),
    }
}
