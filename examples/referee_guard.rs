//! A guard in a process of its own: for `tests/referee`, which starts several of them over one store.
//!
//! It asks about one runner after another. Which is next, and that one is to be terminated, it says on its standard
//! output, and reads the answer on its standard input:
//!
//! | it says | meaning | the answer |
//! | --- | --- | --- |
//! | `next` | which runner? | its name and number, or `end` |
//! | `go NAME EPOCH BASIS` | it calls terminate | anything, when that is done |
//! | `said NAME WHAT` | what became of it | none |

use scale_in_guard::{
    Decision, Go, Guard, Hold, Policy, Runner, Signal,
    github::{GitHub, Limits},
    guard::Retirement,
    sources::Repositories,
    stores::StoreUrl,
};
use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "STORE POLICY.toml API_URL TOKEN SCOPE retire|redeem";

/// How it lets runners go.
#[derive(Clone, Copy)]
enum Way {
    /// Announced, deregistered, settled and looked at again.
    Retire,
    /// At once.
    Redeem,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [store, policy, api_url, token, scope, way] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let policy: Policy = toml::from_str(&fs::read_to_string(policy)?)?;
    let github = GitHub::builder(token.clone());
    let github = github.api_url(api_url).limits(Limits::none()).build()?;
    let guard = Guard::builder()
        .policy(policy)
        .github(github.clone(), Repositories::of_each_runner())
        .store(store.parse::<StoreUrl>()?.open().await?);
    let (way, guard) = match &**way {
        "retire" => (Way::Retire, guard.deregister(github).build()?),
        "redeem" => (Way::Redeem, guard.build()?),
        _ => return Err(USAGE.into()),
    };
    while let Some((name, id)) = next()? {
        let runner = Runner::new(&name, scope)?.with_id(id);
        let said = match way {
            Way::Retire => retire(&guard, &runner).await,
            Way::Redeem => redeem(&guard, &runner).await?,
        };
        tell(&format!("said {name} {said}"))?;
    }
    Ok(())
}

async fn retire(guard: &Guard, runner: &Runner) -> String {
    match guard.retire(runner, async |go| terminate(&go)).await {
        Retirement::Held(hold) => format!("held {}", codes(&hold)),
        Retirement::Undecided { hold, .. } => format!("undecided {}", codes(&hold)),
        Retirement::Draining { .. } => "draining".to_owned(),
        Retirement::Stopped { why, .. } => format!("stopped {why}"),
        Retirement::DeregisteredWhileOccupied { .. } => "deregistered_while_occupied".to_owned(),
        Retirement::Terminated(basis) => format!("terminated {basis}"),
        Retirement::Failed(error) => format!("failed {error}"),
    }
}

async fn redeem(guard: &Guard, runner: &Runner) -> io::Result<String> {
    let permit = match guard.can_terminate(runner).await {
        Decision::Hold(hold) => return Ok(format!("held {}", codes(&hold))),
        Decision::Terminate(permit) => permit,
    };
    match guard.redeem(permit).await {
        Ok(go) => {
            terminate(&go)?;
            Ok(format!("terminated {}", go.basis()))
        }
        Err(refused) => Ok(format!("stopped {refused}")),
    }
}

fn codes(hold: &Hold) -> String {
    let codes: Vec<_> = hold.reasons().map(|reason| reason.code_str()).collect();
    codes.join(",")
}

fn next() -> io::Result<Option<(String, u64)>> {
    tell("next")?;
    let answer = hear()?;
    Ok(answer.split_once(' ').and_then(|(name, id)| {
        let id = id.parse().ok()?;
        Some((name.to_owned(), id))
    }))
}

/// Calls terminate: the referee does it before it answers.
fn terminate(go: &Go) -> io::Result<()> {
    let epoch = go.assessment().evidence.iter().find_map(|evidence| {
        let Signal::Fence(seen) = &evidence.signal else {
            return None;
        };
        Some(seen.fence.epoch())
    });
    let (name, epoch) = (&go.runner().name, epoch.unwrap_or(0));
    tell(&format!("go {name} {epoch} {}", go.basis()))?;
    match hear()?.is_empty() {
        true => Err(io::Error::other("nobody is there to terminate it")),
        false => Ok(()),
    }
}

fn tell(what: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    out.flush()
}

fn hear() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
