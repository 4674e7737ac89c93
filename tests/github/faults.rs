//! Every fault at every endpoint that the guard asks: what holds, what it costs, what is told, and that it passes.
//! The table stands in docs/reliability.md; `UPDATE_DOCS=1` writes it.

use crate::{log::Log, world::*};
use HoldCode::{
    GraceWindow, JobInProgress, JobsUnreadable, RateLimited, RegistrationUnreadable,
    SnapshotUntrusted, Uncorroborated,
};
use scale_in_guard::{
    Go,
    clock::Clock,
    github::{App, AppKey, RunStatus},
    guard::{Retirement, Setback},
    testing::fake_github::{FakeApp, Fault, FaultOn, JobId, Request},
};
use std::time::Duration;

const REPO: &str = "repo:acme/atlas";

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Listing,
    ByName,
    ByNumber,
    Runs,
    Jobs,
    Delete,
    Installation,
    Token,
}

const ENDPOINTS: [(Endpoint, &str); 8] = [
    (Endpoint::Listing, "listing, in a sweep"),
    (Endpoint::ByName, "runner by name"),
    (Endpoint::ByNumber, "runner by number"),
    (Endpoint::Runs, "runs"),
    (Endpoint::Jobs, "jobs of a run"),
    (Endpoint::Delete, "DELETE, in `retire`"),
    (Endpoint::Installation, "installation of the app"),
    (Endpoint::Token, "token of the installation"),
];

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// There is no such thing.
    None,
    /// The decision holds, with these codes among others.
    Hold(&'static [HoldCode]),
    /// The retirement stops, and goes on once it is known what became of it.
    Stopped,
}

const R: Cell = Cell::Hold(&[RegistrationUnreadable]);
const J: Cell = Cell::Hold(&[JobsUnreadable]);
const U: Cell = Cell::Hold(&[Uncorroborated]);
const A: Cell = Cell::Hold(&[RegistrationUnreadable, JobsUnreadable]);
const RL: Cell = Cell::Hold(&[RegistrationUnreadable, RateLimited]);
const JL: Cell = Cell::Hold(&[JobsUnreadable, RateLimited]);
const UL: Cell = Cell::Hold(&[Uncorroborated, RateLimited]);
const AL: Cell = Cell::Hold(&[RegistrationUnreadable, JobsUnreadable, RateLimited]);
const D: Cell = Cell::Stopped;

type Cells = [Cell; 8];

/// No answer, or a refusal, wherever it is.
const UNREADABLE: Cells = [R, R, R, J, U, D, A, A];
/// The same, by a limit.
const LIMITED: Cells = [RL, RL, RL, JL, UL, D, AL, AL];
/// What only an answer with a body can have.
const IN_A_BODY: Cells = [R, R, R, J, U, Cell::None, A, A];
/// What only a list can do.
const OF_A_LIST: Cells = [
    R,
    R,
    Cell::None,
    Cell::Hold(&[JobInProgress]),
    U,
    Cell::None,
    Cell::None,
    Cell::None,
];
/// An empty list is an answer. What the look before saw, the other lists and the run itself contradict it.
const EMPTY: Cells = [
    Cell::Hold(&[SnapshotUntrusted]),
    Cell::Hold(&[JobInProgress]),
    Cell::None,
    Cell::Hold(&[GraceWindow]),
    U,
    Cell::None,
    Cell::None,
    Cell::None,
];

struct Row {
    name: &'static str,
    fault: fn(Endpoint) -> Fault,
    /// How often it strikes; for ever if nothing stands here.
    times: Option<u32>,
    /// How often the endpoint is asked in one look, at the most, and how often a DELETE is sent.
    requests: usize,
    /// How long from the request GitHub, or our own measure, says to wait: in seconds.
    told: Option<i64>,
    cells: Cells,
}

const fn row(name: &'static str, fault: fn(Endpoint) -> Fault, requests: usize) -> Row {
    Row {
        name,
        fault,
        times: None,
        requests,
        told: None,
        cells: UNREADABLE,
    }
}

const fn limit(name: &'static str, fault: fn(Endpoint) -> Fault, told: i64) -> Row {
    Row {
        told: Some(told),
        cells: LIMITED,
        ..row(name, fault, 1)
    }
}

/// A read is asked for so often where the failure may pass.
const TRIES: usize = 4;
/// No list is followed further.
const PAGES: usize = 1_000;

const ROWS: [Row; 27] = [
    row("500", |_| Fault::status(500), TRIES),
    row("502", |_| Fault::status(502), TRIES),
    row("503", |_| Fault::status(503), TRIES),
    row("504", |_| Fault::status(504), TRIES),
    row(
        "403, a permission is missing",
        |_| Fault::lacks_permission("administration=read"),
        1,
    ),
    limit("403, `Retry-After`", |_| Fault::slow_down(30), 30),
    limit("429, `Retry-After`", |_| secondary(429, Some("30")), 30),
    limit(
        "403, none remaining, with a reset",
        |_| Fault::primary_limit(600),
        600,
    ),
    limit(
        "429, none remaining, with a reset",
        |_| Fault::too_many_requests(600),
        600,
    ),
    limit("403 of a limit, with neither", |_| secondary(403, None), 60),
    limit("429, with neither", |_| secondary(429, None), 60),
    Row {
        times: Some(1),
        ..row("401 once", |_| Fault::status(401), 1)
    },
    row("401 for ever", |_| Fault::status(401), 1),
    row("404", |_| Fault::status(404), 1),
    row("410", |_| Fault::status(410), 1),
    row("451", |_| Fault::status(451), 1),
    row("no answer", |_| Fault::Hang, TRIES),
    row("connection reset", |_| Fault::Cut, TRIES),
    Row {
        cells: IN_A_BODY,
        ..row("body cut off", |_| Fault::CutBody, TRIES)
    },
    row("HTML, 200", |_| Fault::html(200), 1),
    row("HTML, 502", |_| Fault::html(502), TRIES),
    row(
        "other JSON",
        |_| answer(r#"{"message":"hello","total_count":"many"}"#),
        1,
    ),
    row("JSON that is no object", |_| answer("[]"), 1),
    Row {
        cells: EMPTY,
        ..row("an empty list", empty, 1)
    },
    Row {
        cells: OF_A_LIST,
        ..row(
            "next links without end",
            |_| Fault::Endless { onward: true },
            PAGES,
        )
    },
    Row {
        cells: OF_A_LIST,
        ..row(
            "a next link to itself",
            |_| Fault::Endless { onward: false },
            1,
        )
    },
    Row {
        cells: IN_A_BODY,
        ..row(
            "a byte now and then",
            |_| Fault::Drip {
                every: Duration::from_millis(100),
            },
            TRIES,
        )
    },
];

fn answer(body: &str) -> Fault {
    Fault::Status {
        code: 200,
        body: body.to_owned(),
        headers: vec![],
    }
}

fn secondary(code: u16, retry_after: Option<&str>) -> Fault {
    let headers = retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_owned()));
    Fault::Status {
        code,
        body: r#"{"message":"You have exceeded a secondary rate limit."}"#.to_owned(),
        headers: headers.into_iter().collect(),
    }
}

fn empty(endpoint: Endpoint) -> Fault {
    let list = match endpoint {
        Endpoint::Runs => "workflow_runs",
        Endpoint::Jobs => "jobs",
        _ => "runners",
    };
    answer(&format!(r#"{{"total_count":0,"{list}":[]}}"#))
}

impl Endpoint {
    fn on(self) -> FaultOn {
        let part = match self {
            Self::Listing => "/actions/runners?per_page",
            Self::ByName => "/actions/runners?name",
            Self::ByNumber | Self::Delete => "/actions/runners/",
            Self::Runs => "/actions/runs?",
            Self::Jobs => "/jobs?",
            Self::Installation => "/installation",
            Self::Token => "/access_tokens",
        };
        let method = match self {
            Self::Delete => "DELETE",
            Self::Token => "POST",
            _ => "GET",
        };
        let part = match self {
            // Not the others that it is a part of.
            Self::Installation => "/atlas/installation",
            _ => part,
        };
        FaultOn::path(part).method(method)
    }

    fn is_asked_by(self, request: &Request) -> bool {
        let (path, named) = (&request.path, request.parameter("name").is_some());
        let is_get = request.method == "GET";
        match self {
            Self::Listing => path.ends_with("/runners") && !named,
            Self::ByName => path.ends_with("/runners") && named,
            Self::ByNumber => path.contains("/runners/") && is_get,
            Self::Runs => path.ends_with("/runs"),
            Self::Jobs => path.ends_with("/jobs"),
            Self::Delete => !is_get && path.contains("/runners/"),
            Self::Installation => path.ends_with("/installation"),
            Self::Token => path.ends_with("/access_tokens"),
        }
    }

    /// How sentences name it.
    fn named(self) -> &'static str {
        match self {
            Self::Listing => "GET /repos/acme/atlas/actions/runners?per_page=100",
            Self::ByName => "GET /repos/acme/atlas/actions/runners?name=r-1&per_page=100",
            Self::ByNumber => "GET /repos/acme/atlas/actions/runners/1",
            Self::Runs => "GET /repos/acme/atlas/actions/runs",
            Self::Jobs => "GET /repos/acme/atlas/actions/runs/",
            Self::Delete => "DELETE /repos/acme/atlas/actions/runners/1",
            Self::Installation => "GET /repos/acme/atlas/installation",
            Self::Token => "POST /app/installations/7/access_tokens",
        }
    }

    fn is_of_the_app(self) -> bool {
        matches!(self, Self::Installation | Self::Token)
    }
}

/// One cell of the table, being played.
struct Play {
    world: World,
    endpoint: Endpoint,
    guard: Guard,
    runner: Runner,
    log: Log,
    client: GitHub,
    job: JobId,
}

/// What the guard said.
struct Said {
    decision: Option<Decision>,
    stopped: Option<Setback>,
    retry_at: Option<chrono::DateTime<chrono::Utc>>,
    text: String,
}

impl Play {
    async fn begin(row: &Row, endpoint: Endpoint, log: Log) -> Self {
        let world = World::of(REPO).await;
        let app = FakeApp::new(1, "Iv23liFAKE").installed(7, "acme");
        world.github.install_app(&app);
        let id = world.github.register(&world.scope, "r-1");
        let client = match endpoint.is_of_the_app() {
            true => {
                let key = AppKey::pem(FakeGitHub::app_key()).unwrap();
                GitHub::app(App::new("Iv23liFAKE", key).unwrap())
            }
            false => GitHub::builder(world.github.token().to_owned()),
        };
        // Whoever deregisters has no guard that tells it the time.
        let client = client.clock(world.clock.clone());
        let client = impatient(client.api_url(world.github.url()));
        let client = match (row.fault)(endpoint) {
            Fault::Hang | Fault::Drip { .. } => client.request_timeout(Duration::from_millis(150)),
            _ => client,
        };
        let client = client.build().unwrap();
        // Nothing but the fault holds, where nothing was seen before.
        let is_seen_before = endpoint == Endpoint::Runs && row.name == "an empty list";
        let policy = match is_seen_before {
            true => Policy::default(),
            false => Policy {
                grace: TimeDelta::zero(),
                min_age: TimeDelta::zero(),
                ..Policy::default()
            },
        };
        let guard = Guard::builder()
            .clock(world.clock.clone())
            .github(client.clone(), Repositories::of_each_runner())
            .policy(policy);
        let guard = match endpoint {
            Endpoint::Delete => guard.deregister(client.clone()),
            _ => guard,
        };
        let runner = match endpoint {
            Endpoint::ByName => world.runner("r-1"),
            _ => world.runner("r-1").with_id(id.0),
        };
        if endpoint == Endpoint::Delete {
            // The look before it does not see the job yet.
            world.github.lag_jobs(minutes(1));
            world.clock.advance(minutes(2));
        }
        // A job that the flag denies.
        let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
        world.github.lie_busy(&world.scope, "r-1", Some(false));
        let play = Self {
            job,
            world,
            endpoint,
            guard: guard.build().unwrap(),
            runner,
            log,
            client,
        };
        if is_seen_before {
            held_for(&play.guard.can_terminate(&play.runner).await, JobInProgress);
            play.world.clock.advance(minutes(1));
        }
        play.world.github.clear_requests();
        play
    }

    async fn ask(&self) -> Said {
        let runner = self.runner.clone();
        let decision = match self.endpoint {
            Endpoint::Delete => return self.retire().await,
            Endpoint::Listing => sweep(&self.guard, [runner]).await.remove(0),
            _ => self.guard.can_terminate(&runner).await,
        };
        let json = serde_json::to_string(&decision).unwrap();
        Said {
            retry_at: decision.retry_at(),
            text: format!("{decision:?}\n{}\n{json}", decision.explain()),
            decision: Some(decision),
            stopped: None,
        }
    }

    async fn retire(&self) -> Said {
        let terminate = async |_: Go| -> Result<(), String> {
            let killed = self.world.github.kill(&self.world.scope, "r-1");
            assert!(!killed.was_occupied, "it killed a job");
            Ok(())
        };
        let retired = self.guard.retire(&self.runner, terminate).await;
        let text = format!("{retired:?}\n{retired}");
        let retry_at = retired.retry_at();
        let (decision, stopped) = match retired {
            Retirement::Held(hold) => (Some(Decision::Hold(hold)), None),
            Retirement::Stopped { why, .. } => (None, Some(why)),
            _ => (None, None),
        };
        Said {
            decision,
            stopped,
            retry_at,
            text,
        }
    }

    fn requests(&self) -> usize {
        let requests = self.world.github.requests();
        let asked = requests
            .iter()
            .filter(|request| self.endpoint.is_asked_by(request));
        asked.count()
    }

    /// No secret stands in anything that anybody could read.
    fn shows_no_secret(&self, said: &str) {
        let (client, guard, github) = (&self.client, &self.guard, &self.world.github);
        let told = format!("{said}\n{client:?}\n{guard:?}\n{}", self.log.text());
        let key = FakeGitHub::app_key();
        let lines = key.lines().filter(|line| !line.starts_with("-----"));
        let jwts = github.jwts();
        let parts = jwts.iter().flat_map(|jwt| jwt.split('.').skip(1));
        let secrets = lines.chain(parts).chain([github.token(), "ghs_", "Bearer"]);
        for secret in secrets {
            assert!(!told.contains(secret), "{secret} stands in {told}");
        }
    }
}

async fn play(row: &Row, endpoint: Endpoint, cell: Cell) {
    let place = format!("{} at {endpoint:?}", row.name);
    let (log, _listening) = Log::listen();
    let play = Play::begin(row, endpoint, log).await;
    let world = &play.world;
    world
        .github
        .fail(endpoint.on(), (row.fault)(endpoint), row.times);
    let asked_at = world.clock.now();
    let times = match row.requests {
        // Once takes long enough.
        PAGES => 1,
        _ => row.times.unwrap_or(3),
    };
    for time in 1..=times {
        let before = play.requests();
        let said = play.ask().await;
        let requests = play.requests() - before;
        play.shows_no_secret(&said.text);
        let most = match endpoint {
            Endpoint::Delete => 1,
            // The newest, and a list for each status.
            Endpoint::Runs if row.cells == EMPTY => RunStatus::IN_ORDER.len() + 1,
            // The newest are answered, and what is in progress is asked for once more.
            Endpoint::Runs if row.cells == OF_A_LIST => row.requests + 2,
            // What is in progress is asked for once more.
            Endpoint::Runs | Endpoint::Installation | Endpoint::Token => row.requests + 1,
            _ => row.requests,
        };
        assert!(
            requests <= most,
            "{place}: {requests} requests, the {time}. time"
        );
        if time > 1 && row.told.is_some() && !endpoint.is_of_the_app() {
            assert_eq!(requests, 0, "{place}: asked before it was told to");
        }
        if said.text.contains("not asked: ") && said.decision.is_some() {
            assert!(said.retry_at.is_some(), "{place}: {}", said.text);
        }
        match cell {
            Cell::None => panic!("{place}: there is no such cell"),
            Cell::Stopped => {
                let why = said.stopped;
                assert!(
                    matches!(&why, Some(Setback::Deregistering { .. })),
                    "{place}: {}",
                    said.text
                );
            }
            Cell::Hold(expected) => {
                let decision = said.decision.unwrap();
                assert_eq!(decision.verdict(), Verdict::Hold, "{place}");
                for code in expected.iter().filter(|_| time == 1) {
                    assert!(
                        codes(&decision).contains(code),
                        "{place}: {code} not in {:?}",
                        codes(&decision)
                    );
                }
                if time == 1
                    && let Some(told) = row.told
                {
                    let limited = decision
                        .reasons()
                        .find(|reason| reason.code() == RateLimited);
                    let told = asked_at + TimeDelta::seconds(told);
                    assert_eq!(limited.unwrap().retry_at(), Some(told), "{place}");
                }
            }
        }
        if time == 1 {
            assert!(requests > 0, "{place}: it was not asked");
            let is_failure = row.cells != EMPTY;
            let named = match (endpoint, row.name) {
                (Endpoint::ByNumber, "404") => "GitHub lists runner 1, and answers 404",
                _ => endpoint.named(),
            };
            assert!(
                !is_failure || said.text.contains(named),
                "{place}: {named} not in {}",
                said.text
            );
        }
    }
    world.github.clear_faults();
    // An outage is over after ten seconds.
    let told = TimeDelta::seconds(row.told.unwrap_or(10));
    world.clock.set(asked_at + told);
    match endpoint {
        Endpoint::Delete => is_retired(&play, &place).await,
        _ => is_answered(&play, &place).await,
    }
}

/// It answers again: it sees the job, and without the job there is a permit.
async fn is_answered(play: &Play, place: &str) {
    let said = play.ask().await;
    play.shows_no_secret(&said.text);
    let decision = said.decision.unwrap();
    let found = codes(&decision);
    assert!(found.contains(&JobInProgress), "{place}: {}", said.text);
    let unreadable = [RegistrationUnreadable, JobsUnreadable, RateLimited];
    assert!(
        !unreadable.iter().any(|code| found.contains(code)),
        "{place}: {found:?}"
    );
    play.world.github.finish_job(play.job);
    let gone = play
        .world
        .until_it_may_go(&play.guard, &play.runner, 10)
        .await;
    assert!(gone.is_some(), "{place}: no permit without the job");
}

/// It goes on: the job is never ended, and once it is over the runner goes.
async fn is_retired(play: &Play, place: &str) {
    // The jobs show it by now.
    play.world.clock.advance(minutes(1));
    for _ in 0..5 {
        let _ = play.ask().await;
        play.world.clock.advance(minutes(1));
    }
    play.world.github.finish_job(play.job);
    for _ in 0..60 {
        let said = play.ask().await;
        play.shows_no_secret(&said.text);
        if said.text.contains("Terminated") {
            return;
        }
        play.world.clock.advance(minutes(1));
    }
    panic!("{place}: it never goes: {}", play.ask().await.text);
}

async fn play_column(place: usize) {
    let (endpoint, _) = ENDPOINTS[place];
    for row in &ROWS {
        let cell = row.cells[place];
        if cell == Cell::None {
            continue;
        }
        let cell = play(row, endpoint, cell);
        let played = tokio::time::timeout(Duration::from_secs(60), cell).await;
        played.unwrap_or_else(|_| panic!("{} at {endpoint:?} does not end", row.name));
    }
}

macro_rules! columns {
    ($($name:ident = $place:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                play_column($place).await;
            }
        )*
    };
}

columns! {
    no_fault_of_the_listing_lets_a_runner_go = 0;
    no_fault_of_a_runner_by_name_lets_it_go = 1;
    no_fault_of_a_runner_by_number_lets_it_go = 2;
    no_fault_of_the_runs_lets_a_runner_go = 3;
    no_fault_of_the_jobs_lets_a_runner_go = 4;
    no_fault_of_a_delete_lets_a_runner_go = 5;
    no_fault_of_an_installation_lets_a_runner_go = 6;
    no_fault_of_an_installations_token_lets_a_runner_go = 7;
}

/// What stands in the table for a code; the others stand for themselves.
const LETTERS: [(HoldCode, &str); 4] = [
    (RegistrationUnreadable, "R"),
    (JobsUnreadable, "J"),
    (Uncorroborated, "U"),
    (RateLimited, "L"),
];

fn letter(code: HoldCode) -> String {
    let known = LETTERS.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| format!("`{code}`"), |(_, letter)| (*letter).to_owned())
}

/// The table, as it stands in the documentation.
fn table() -> String {
    let legend = LETTERS.map(|(code, letter)| format!("{letter}: `{code}`"));
    let legend = legend.join("; ");
    let heads = ENDPOINTS.map(|(_, head)| head).join(" | ");
    let rule = " --- |".repeat(ENDPOINTS.len() + 3);
    let mut table = format!("{legend}\n\n| fault | asked | told | {heads} |\n|{rule}\n");
    for row in &ROWS {
        let told = row.told.map_or("–".to_owned(), |told| format!("{told} s"));
        let cells = row.cells.map(|cell| match cell {
            Cell::None => "–".to_owned(),
            Cell::Stopped => "stopped".to_owned(),
            Cell::Hold(codes) => {
                let codes = codes.iter().map(|&code| letter(code));
                codes.collect::<Vec<_>>().join(" ")
            }
        });
        let (name, requests, cells) = (row.name, row.requests, cells.join(" | "));
        table.push_str(&format!("| {name} | {requests} | {told} | {cells} |\n"));
    }
    table
}

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
    let (begin, end) = ("<!-- faults -->\n", "<!-- end of faults -->");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    let table = format!("\n{}\n", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "UPDATE_DOCS=1 writes it");
}
