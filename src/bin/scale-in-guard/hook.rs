//! `hook`: marks a job's start or end for the beacon, from the runner's own job hooks.

use crate::terminal::tell;
use clap::{Args, ValueEnum};
use scale_in_guard::beacon::hook::{self, HookEvent};
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The runner's folder, where no flag gives it.
const ROOT: &str = "SCALE_IN_GUARD_RUNNER_ROOT";

/// What the runner tells its hooks of places below its folder.
const PLACES: [&str; 2] = ["RUNNER_TEMP", "RUNNER_WORKSPACE"];

/// Mark a job's start or end for the beacon, from the runner's job hooks
///
/// Call it in the scripts of ACTIONS_RUNNER_HOOK_JOB_STARTED and ACTIONS_RUNNER_HOOK_JOB_COMPLETED. It never
/// fails a job: it exits with 0, and says on standard error what it could not do.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which hook runs
    event: Event,
    /// The runner's folder; else SCALE_IN_GUARD_RUNNER_ROOT; else the first folder with a .runner above
    /// RUNNER_TEMP, RUNNER_WORKSPACE, or the current folder
    #[arg(long, value_name = "DIR")]
    runner_root: Option<PathBuf>,
    /// Exit with 1 when the mark could not be left: that fails the job
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Event {
    /// A job starts
    Started,
    /// A job has completed
    Completed,
}

/// Whether this command was asked for, however wrongly.
pub(crate) fn is_asked() -> bool {
    env::args_os()
        .nth(1)
        .is_some_and(|command| command == "hook")
}

/// What is said to a call that cannot be understood.
pub(crate) fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.print().ok(); // the help that was asked for
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let told = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = told.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let strict = env::args_os().any(|argument| argument == "--strict");
    failed(
        format_args!("{line}; see scale-in-guard hook --help"),
        strict,
    )
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let _files_may_be_too_large = ignore_file_size_signal();
    let Some(root) = root(arguments.runner_root.as_deref()) else {
        let what =
            format_args!("no folder with a .runner was found; give --runner-root or set {ROOT}");
        return failed(what, arguments.strict);
    };
    let event = match arguments.event {
        Event::Started => HookEvent::Started,
        Event::Completed => HookEvent::Completed,
    };
    match hook::mark(&root, event) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = root.join("_diag");
            let what = format_args!("no mark could be left in {}: {error}", folder.display());
            failed(what, arguments.strict)
        }
    }
}

/// A limit on the size of files ends a process by a signal: a hook that writes a few bytes is told instead. The
/// signal is caught for as long as the answer lives.
#[cfg(target_os = "linux")]
fn ignore_file_size_signal() -> Option<tokio::runtime::Runtime> {
    use tokio::signal::unix::{SignalKind, signal};
    const SIGXFSZ: i32 = 25;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .ok()?;
    let _entered = runtime.enter();
    // The handler stays, once it is there.
    drop(signal(SignalKind::from_raw(SIGXFSZ)).ok()?);
    drop(_entered);
    Some(runtime)
}

#[cfg(not(target_os = "linux"))]
fn ignore_file_size_signal() {}

fn failed(what: std::fmt::Arguments<'_>, strict: bool) -> ExitCode {
    tell(format_args!("scale-in-guard: hook: {what}"));
    ExitCode::from(u8::from(strict))
}

fn root(given: Option<&Path>) -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let named = given.filter(|path| path.as_os_str() != OsStr::new(""));
    if let Some(root) = named
        .map(Path::to_owned)
        .or_else(|| variable(ROOT).map(PathBuf::from))
    {
        return Some(root);
    }
    let places = PLACES
        .iter()
        .filter_map(|place| variable(place))
        .map(PathBuf::from);
    places.chain(env::current_dir().ok()).find_map(|place| {
        let mut above = place.ancestors();
        above
            .find(|folder| folder.join(".runner").is_file())
            .map(Path::to_owned)
    })
}
