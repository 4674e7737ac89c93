//! `scale-in-guard pin`, `unpin` and `pins`: which runners must stay, whatever the witnesses say.

use crate::{
    Fault,
    deployment::Kept,
    terminal::{print_done, tell, user, words},
};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use scale_in_guard::{
    Scope,
    clock::{Clock, SystemClock},
    evidence::{Pin, Target},
    guard,
    runner::RunnerName,
};
use std::{io::Write, process::ExitCode, time::Duration};

/// Which runners.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The runner's name, as GitHub shows it
    #[arg(requires = "scope")]
    runner: Option<RunnerName>,

    /// Every runner that has this label, and every one whose labels are not known
    #[arg(long, value_name = "LABEL", requires = "scope", value_parser = words)]
    label: Option<String>,

    /// Every runner of the scope
    #[arg(long, requires = "scope")]
    whole_scope: bool,

    /// Every runner of every scope that is remembered in this store
    #[arg(long, conflicts_with = "scope")]
    everything: bool,
}

/// Where they are registered.
#[derive(Args)]
struct Where {
    /// Where the runners are registered: org:NAME, repo:OWNER/NAME or enterprise:NAME
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,

    #[command(flatten)]
    kept: Kept,
}

/// Pin runners: they must stay, whatever the witnesses say, until the pin ends or is taken away
///
/// Every decision about them is a hold for `pinned`, with who pinned them, why and until when. Every guard on this
/// store heeds it from its next look on, and gives no go on a permit that is out already. A command that
/// terminates a runner right now is not called back. It asks GitHub nothing and needs no token.
#[derive(Args)]
#[command(after_long_help = "\
Without --for and --until a pin stands until somebody takes it away with unpin.
Of one target everybody has one pin: another by the same name takes its place, and ends no earlier than it. To shorten
a pin, unpin first.
Pins count for every GitHub on the store: --api-url changes nothing.

Exit status: 0, or 2 when it was refused or could not be written.

Examples:
  scale-in-guard pin i-06cbe04821ccba677 --scope org:acme --for 2h --note 'being debugged'
  scale-in-guard pin --label gpu --scope org:acme --until 2026-05-15T08:00:00Z --note 'benchmark, INC-4711'
  scale-in-guard pin --everything --for 30m --note 'GitHub incident'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,

    #[command(flatten)]
    place: Where,

    /// For how long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "PERIOD", value_parser = period, conflicts_with = "until")]
    lasting: Option<Duration>,

    /// Until when (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<DateTime<Utc>>,

    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT", value_parser = words)]
    note: String,

    /// Who says so [default: the user's name]
    #[arg(long, value_name = "NAME", value_parser = words)]
    by: Option<String>,
}

/// Take away the pins of a runner, a label, a scope or everything
///
/// What is pinned by another way stays so: a runner whose label is pinned is not set free by its name.
#[derive(Args)]
#[command(after_long_help = "\
Exit status: 0; 1 when nothing of that kind was pinned; 2 when it could not be written.

Example:
  scale-in-guard unpin i-06cbe04821ccba677 --scope org:acme")]
pub(crate) struct Unpin {
    #[command(flatten)]
    whom: Whom,

    #[command(flatten)]
    place: Where,
}

/// List the pins of a scope, and those of everything
#[derive(Args)]
#[command(after_long_help = "\
Exit status: 0, or 2 when they could not be read.

Example:
  scale-in-guard pins --scope org:acme")]
pub(crate) struct Pins {
    #[command(flatten)]
    place: Where,

    /// Print them as JSON, one line each; see docs/json.md
    #[arg(long)]
    json: bool,
}

impl Whom {
    fn target(&self, scope: Option<&Scope>) -> Target {
        let Some(scope) = scope.cloned() else {
            return Target::Everything;
        };
        match (&self.runner, &self.label) {
            (Some(name), _) => Target::Runner {
                scope,
                name: name.clone(),
            },
            (None, Some(label)) => Target::Label {
                scope,
                label: label.as_str().into(),
            },
            (None, None) => Target::Scope(scope),
        }
    }
}

fn period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match period.is_zero() {
        true => Err("a pin of no time pins nothing".to_owned()),
        false => Ok(period),
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let at = DateTime::parse_from_rfc3339(text).map_err(|error| error.to_string())?;
    Ok(at.to_utc())
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let now = SystemClock.now();
    let Where { scope, kept } = &arguments.place;
    let lasting = arguments.lasting.map(|period| {
        let period = chrono::TimeDelta::from_std(period).ok();
        period.and_then(|period| now.checked_add_signed(period))
    });
    let until = match lasting {
        Some(None) => return Err("--for: longer than any pin; leave it out".into()),
        Some(until) => until,
        None => arguments.until,
    };
    let target = arguments.whom.target(scope.as_ref());
    let pin = Pin {
        target: Some(target.clone()),
        note: arguments.note.as_str().into(),
        by: Some(arguments.by.clone().unwrap_or_else(user).into()),
        since: Some(now),
        until,
    };
    let store = kept.store_of_others().await?;
    let Pin { until, .. } = guard::pin(store.clone(), pin, now).await?;
    let lasts = match until {
        Some(until) => format!("until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true)),
        None => "for ever: until somebody takes the pin away with unpin".to_owned(),
    };
    let place = store.describe();
    print_done(&format!("pinned {target} in {place}, {lasts}\n"));
    if let Target::Runner { scope, name } = &target
        && let Ok(host) = kept.host()
        && let Ok(false) = guard::is_known(store, &host, scope, name).await
    {
        tell(format_args!(
            "nothing is known of {name} in {scope} until now: see that the name, the scope and the store are right"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn unpin(arguments: &Unpin) -> Result<ExitCode, Fault> {
    let Where { scope, kept } = &arguments.place;
    let target = arguments.whom.target(scope.as_ref());
    let store = kept.store_of_others().await?;
    let taken = guard::unpin(store.clone(), &target, SystemClock.now()).await?;
    if taken.is_empty() {
        tell(format_args!(
            "{target} was not pinned in {}",
            store.describe()
        ));
        return Ok(ExitCode::from(1));
    }
    let lines = taken.iter().map(|pin| format!("unpinned: {pin}\n"));
    print_done(&lines.collect::<String>());
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn list(arguments: &Pins) -> Result<ExitCode, Fault> {
    let Where { scope, kept } = &arguments.place;
    let now = SystemClock.now();
    let pins = guard::pins(kept.store_of_others().await?, scope.as_ref(), now).await?;
    if scope.is_none() {
        tell("without --scope these are the pins of everything alone");
    }
    let mut out = anstream::stdout().lock();
    if arguments.json {
        for pin in &pins {
            writeln!(out, "{}", serde_json::to_string(pin)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if pins.is_empty() {
        tell("nothing is pinned");
    }
    for pin in &pins {
        writeln!(out, "{}", Line(pin))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A pin as a line of a table.
struct Line<'a>(&'a Pin);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(pin) = self;
        let stamp = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let until = pin.until.map_or("for ever".to_owned(), stamp);
        let target = pin.target.as_ref().map(Target::to_string);
        let by = pin.by.as_deref().unwrap_or("an operator");
        write!(
            f,
            "{until:<20}  {}  by {by}: {}",
            target.unwrap_or_default(),
            pin.note
        )
    }
}
