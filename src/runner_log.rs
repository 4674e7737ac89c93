//! The runner's log: from a line to what it means.
//!
//! The lines are those of `_diag/Runner_*-utc.log` and of the `[RUNNER …]` form on standard output,
//! of versions 2.159 to 2.336, legacy and v2 flow (`HostTraceListener.cs`, `JobDispatcher.cs` of actions/runner). Only lines count whose
//! header is anchored at the line's start and whose source writes no text of a user's: a job's
//! *name* stands in lines of `Terminal` alone, of which nothing but fixed sentences is read. A name
//! with a line break can put a whole forged line into the file. Such a line cannot know its job's
//! id, so no line without the id of a job that was reported ever ends a lease.

use crate::{
    lease::{HostJob, Report},
    time::Instant,
};
use chrono::{NaiveDate, TimeDelta, Timelike};

/// How long GitHub's server leases a job for, from the renewal (the logs in actions/runner#1546, #3448, #3869 and #4492, to the second).
const LEASE_SECONDS: i64 = 600;

/// How far the printed end of a lease may be from the line's own stamp plus [`LEASE_SECONDS`] and
/// still be believed: the clock skew that GitHub itself tolerates (`BrokerMessageListener.cs`: "more than five minutes").
const PRINTED_SKEW_SECONDS: i64 = 300;

/// The longest id of a job that is read. A GUID has 36 characters.
const ID_BYTES: usize = 64;

/// How many request numbers are remembered with their jobs. A runner has one job at a time.
const REQUESTS: usize = 8;

/// One line of the runner's log that means something to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The line's own stamp, on the clock of the runner's host.
    pub at: Instant,
    /// What it means.
    pub event: LogEvent<'a>,
}

/// The id that a renewal carries: the job's own, or a legacy request number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal<'a> {
    /// v2 flow: the job's id.
    Job(&'a str),
    /// Legacy flow: the request's number, to be joined to the job's id.
    Request(&'a str),
}

/// What a line of the runner's log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEvent<'a> {
    /// A job arrived. In the v2 flow the request number is 0.
    JobReceived {
        /// The request's number.
        request: &'a str,
        /// The job's id.
        job: &'a str,
    },
    /// The dispatcher begins to renew a job's lease.
    RenewalBegun {
        /// The request's number.
        request: &'a str,
        /// The job's id.
        job: &'a str,
    },
    /// A lease was renewed.
    Renewed {
        /// Whose.
        renewal: Renewal<'a>,
        /// How long it is valid from the line's stamp, by the printed end, where that is within
        /// reason.
        valid_for: Option<TimeDelta>,
    },
    /// A renewal failed and will be tried again. It ends nothing.
    RenewalFailing {
        /// Whose.
        renewal: Renewal<'a>,
    },
    /// The dispatcher renews no more: given up, refused, or cancelled. It ends nothing: the worker
    /// may run on.
    RenewalStopped {
        /// Whose.
        renewal: Renewal<'a>,
    },
    /// The job was sent to its worker process.
    WorkerSent {
        /// The job's id.
        job: &'a str,
    },
    /// The worker process ended by itself.
    WorkerFinished {
        /// The job's id.
        job: &'a str,
    },
    /// The dispatcher finished the job.
    JobFinished {
        /// The job's id.
        job: &'a str,
    },
    /// The job's cancellation was asked for. It ends nothing yet.
    CancelRequested {
        /// The job's id.
        job: &'a str,
    },
    /// The listener was started anew, or its session was.
    Listening,
    /// The listener has a session with the service.
    SessionCreated,
    /// A self-update began.
    UpdateBegun,
    /// There was no self-update to make.
    UpdateEnded,
    /// The listener shuts down, or has.
    ShuttingDown,
}

/// Reads one line, without its line break. `None` for every line that means nothing to a lease, or
/// that cannot be trusted to.
///
/// ```
/// use scale_in_guard::runner_log::{LogEvent, parse};
///
/// let line = parse("[2026-05-14 02:19:20Z INFO JobDispatcher] finish job request for job \
///                   8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21 with result: Succeeded").unwrap();
/// assert!(matches!(line.event, LogEvent::JobFinished { .. }));
///
/// // What a job is called is not what the dispatcher says.
/// assert!(parse("[2026-05-14 02:19:20Z INFO Terminal] WRITE LINE: 2026-05-14 02:19:20Z: Running \
///                job: finish job request for job 8e2d47c1 with result: Succeeded").is_none());
/// ```
#[must_use]
pub fn parse(line: &str) -> Option<LogLine<'_>> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (at, level, source, message) = header(line)?;
    if message.contains(['\n', '\r']) {
        return None;
    }
    let event = match (level, source) {
        ("INFO", "JobDispatcher") => dispatcher(message, at)?,
        ("ERR ", "JobDispatcher") => failing(message)?,
        ("INFO", "MessageListener" | "BrokerMessageListener") => {
            (message == "Session created.").then_some(LogEvent::SessionCreated)?
        }
        ("INFO", "Runner") => runner(message)?,
        ("INFO", "SelfUpdater" | "SelfUpdaterV2") => match message {
            "An update is available." => LogEvent::UpdateBegun,
            "Can't find available update package." => LogEvent::UpdateEnded,
            _ => return None,
        },
        ("INFO", "HostContext") => {
            message.strip_prefix("Runner will be shutdown for ")?;
            LogEvent::ShuttingDown
        }
        ("INFO", "Listener") => {
            let over = message.starts_with("Runner execution has finished with return code ")
                || message == "Runner execution been cancelled.";
            over.then_some(LogEvent::ShuttingDown)?
        }
        ("INFO", "Terminal") => terminal(message)?,
        _ => return None,
    };
    Some(LogLine { at, event })
}

/// Whether a line begins as a runner's lines do, whatever it says. Where none does, it is no runner's log, or one
/// of a version that nobody here knows.
#[must_use]
pub fn has_header(line: &str) -> bool {
    header(line).is_some()
}

/// `[yyyy-MM-dd HH:mm:ssZ TYPE Source] message`, with `RUNNER ` before the stamp on standard output.
fn header(line: &str) -> Option<(Instant, &str, &str, &str)> {
    let rest = line.strip_prefix('[')?;
    let rest = rest.strip_prefix("RUNNER ").unwrap_or(rest);
    let (stamp, rest) = rest.split_at_checked(20)?;
    let (level, rest) = rest.strip_prefix(' ')?.split_at_checked(4)?;
    let (source, message) = rest.strip_prefix(' ')?.split_once("] ")?;
    Some((self::stamp(stamp)?, level, source, message))
}

/// `yyyy-MM-dd HH:mm:ssZ`, always UTC and of the invariant culture.
fn stamp(text: &str) -> Option<Instant> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        mo1,
        mo2,
        b'-',
        d1,
        d2,
        b' ',
        h1,
        h2,
        b':',
        mi1,
        mi2,
        b':',
        s1,
        s2,
        b'Z',
    ] = *bytes
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[mo1, mo2])?, number(&[d1, d2])?)?;
    let time = date.and_hms_opt(number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?)?;
    Some(time.and_utc())
}

fn dispatcher(message: &str, at: Instant) -> Option<LogEvent<'_>> {
    // Told apart by their first letters, for speed: most lines of a log mean nothing.
    match message.as_bytes().first()? {
        b'S' => {
            if let Some(rest) = message.strip_prefix("Successfully renew job ") {
                let (renewal, valid_till) = rest.split_once(", job is valid till ")?;
                let valid_for = valid_for(valid_till, at);
                return Some(LogEvent::Renewed {
                    renewal: renewal_of(renewal)?,
                    valid_for,
                });
            }
            if let Some(rest) = message.strip_prefix("Start renew job request ") {
                let (request, job) = rest.strip_suffix('.')?.split_once(" for job ")?;
                return Some(LogEvent::RenewalBegun {
                    request: number(request)?,
                    job: id(job)?,
                });
            }
            let job = message.strip_prefix("Send job request message to worker for job ")?;
            Some(LogEvent::WorkerSent {
                job: id(job.strip_suffix('.')?)?,
            })
        }
        b'J' => {
            if let Some(rest) = message.strip_prefix("Job request ") {
                let (request, rest) = rest.strip_suffix(" received.")?.split_once(" for plan ")?;
                let (plan, job) = rest.split_once(" job ")?;
                id(plan)?;
                return Some(LogEvent::JobReceived {
                    request: number(request)?,
                    job: id(job)?,
                });
            }
            let rest = message.strip_prefix("Job cancellation request ")?;
            let (job, _) = rest.split_once(" received, cancellation timeout ")?;
            Some(LogEvent::CancelRequested { job: id(job)? })
        }
        b'W' => {
            let (job, _) = message
                .strip_prefix("Worker finished for job ")?
                .split_once(". Code: ")?;
            Some(LogEvent::WorkerFinished { job: id(job)? })
        }
        b'f' => {
            let (job, _) = message
                .strip_prefix("finish job request for job ")?
                .split_once(" with result: ")?;
            Some(LogEvent::JobFinished { job: id(job)? })
        }
        _ => stopped(message).or_else(|| failing(message)),
    }
}

/// The ways in which a dispatcher says that it renews no more. None of them ends a lease.
fn stopped(message: &str) -> Option<LogEvent<'_>> {
    const SENTENCES: [(&str, &str); 7] = [
        ("job renew has been cancelled, stop renew job ", "."),
        ("job renew has been canceled, stop renew job ", "."),
        (
            "Lock renewal has run out of retry, stop renew lock for job",
            ".",
        ),
        (
            "TaskAgentJobNotFoundException received when renew job ",
            ", job is no longer valid, stop renew job request.",
        ),
        (
            "TaskAgentJobTokenExpiredException received renew job ",
            ", job is no longer valid, stop renew job request.",
        ),
        (
            "TaskAgentJobTokenExpiredException received when renew job ",
            ", job is no longer valid, stop renew job request.",
        ),
        (
            "Unable to renew job request for job ",
            " for the first time, stop dispatching job to worker.",
        ),
    ];
    SENTENCES.into_iter().find_map(|(before, after)| {
        let named = message.strip_prefix(before)?.strip_suffix(after)?;
        // "… for job {id}" or "… for jobrequest {number}".
        let renewal = renewal_of(named.strip_prefix(' ').unwrap_or(named))?;
        Some(LogEvent::RenewalStopped { renewal })
    })
}

fn failing(message: &str) -> Option<LogEvent<'_>> {
    let named = match message.strip_prefix("Catch exception during renew runner job") {
        Some(rest) => rest.strip_suffix('.')?,
        None => {
            message
                .strip_prefix("Retrying lock renewal for job")?
                .split_once(". ")?
                .0
        }
    };
    let renewal = renewal_of(named.strip_prefix(' ').unwrap_or(named))?;
    Some(LogEvent::RenewalFailing { renewal })
}

fn runner(message: &str) -> Option<LogEvent<'_>> {
    const NO_UPDATE: &str = "Auto update task finished at backend, there is no available runner update needs to apply, continue message queue looping.";
    match message {
        "Refresh message received, kick-off selfupdate background process." => {
            Some(LogEvent::UpdateBegun)
        }
        NO_UPDATE => Some(LogEvent::UpdateEnded),
        _ => None,
    }
}

/// The terminal repeats what a user wrote: only whole, fixed sentences count.
fn terminal(message: &str) -> Option<LogEvent<'_>> {
    let text = message.strip_prefix("WRITE LINE: ")?;
    if text == "Runner update in progress, do not shutdown runner." {
        return Some(LogEvent::UpdateBegun);
    }
    let (at, text) = text.split_at_checked(20)?;
    stamp(at)?;
    (text == ": Listening for Jobs").then_some(LogEvent::Listening)
}

/// An id: one word. It need not be a GUID, for a log masks what equals a secret.
fn id(text: &str) -> Option<&str> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*' | b'_');
    (!text.is_empty() && text.len() <= ID_BYTES && text.bytes().all(is_id)).then_some(text)
}

fn number(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty()
        && digits.len() <= 20
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

/// `request 581691`, or a job's id.
fn renewal_of(text: &str) -> Option<Renewal<'_>> {
    match text.strip_prefix("request ") {
        Some(request) => number(request).map(Renewal::Request),
        None => id(text).map(Renewal::Job),
    }
}

/// How long a lease is valid from its line's stamp, by the end that is printed in the culture of
/// the host's process: any order and any separators, 24 hours or 12, a designator before or after,
/// a year of any calendar. The last three groups of digits are hours, minutes and seconds; what is
/// not near the line's stamp plus ten minutes is not believed.
fn valid_for(printed: &str, at: Instant) -> Option<TimeDelta> {
    const HALF_DAY: i64 = 12 * 3_600;
    let mut groups = printed
        .split(|c: char| !c.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .rev()
        .map(|group| group.parse::<i64>().ok());
    let (second, minute, hour) = (groups.next()??, groups.next()??, groups.next()??);
    if second > 60 || minute > 59 || hour > 24 {
        return None;
    }
    let line = i64::from(at.num_seconds_from_midnight());
    let seconds = (hour * 3_600 + minute * 60 + second - line).rem_euclid(HALF_DAY);
    let believed = (LEASE_SECONDS - PRINTED_SKEW_SECONDS..=LEASE_SECONDS + PRINTED_SKEW_SECONDS)
        .contains(&seconds);
    believed.then(|| TimeDelta::seconds(seconds))
}

/// Reads a runner's log line by line and says what each reports: the small state that a single
/// line lacks, namely which request number belongs to which job.
///
/// ```
/// use scale_in_guard::{Policy, lease::Heartbeat, runner_log::LogReader};
///
/// let policy = Policy::default();
/// let received_at = "2025-10-07T08:21:18Z".parse()?;
/// let mut reader = LogReader::default();
/// let mut heartbeat = Heartbeat::new(received_at);
/// for line in [
///     "[2025-10-07 08:21:17Z INFO JobDispatcher] Start renew job request 16319 for job e4166175-5992-52fe-847f-c5e9f513e046.",
///     "[2025-10-07 08:21:18Z INFO JobDispatcher] Successfully renew job request 16319, job is valid till 10/07/2025 08:31:18",
/// ] {
///     heartbeat.hear(reader.read(line), received_at, &policy);
/// }
/// let lease = heartbeat.live_lease(received_at).expect("a live lease");
/// assert_eq!(lease.job.to_string(), "e4166175-5992-52fe-847f-c5e9f513e046");
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LogReader {
    /// Request numbers and their jobs, the latest last.
    requests: Vec<(Box<str>, HostJob)>,
}

impl LogReader {
    /// What one line reports; [`Report::Alive`] where it means nothing to a lease.
    pub fn read(&mut self, line: &str) -> Report {
        let Some(LogLine { at, event }) = parse(line) else {
            return Report::Alive;
        };
        match event {
            LogEvent::JobReceived { request, job } | LogEvent::RenewalBegun { request, job } => {
                let job = HostJob::new(job);
                self.join(request, &job);
                Report::Started { job, at }
            }
            LogEvent::WorkerSent { job } => Report::Started {
                job: HostJob::new(job),
                at,
            },
            LogEvent::Renewed { renewal, valid_for } => Report::Renewed {
                job: self.job(renewal),
                at,
                valid_for,
            },
            LogEvent::WorkerFinished { job } | LogEvent::JobFinished { job } => Report::Finished {
                job: HostJob::new(job),
                at,
            },
            LogEvent::Listening => Report::Restarted,
            LogEvent::UpdateBegun => Report::UpdateBegun,
            LogEvent::SessionCreated | LogEvent::UpdateEnded => Report::UpdateEnded,
            LogEvent::RenewalFailing { .. }
            | LogEvent::RenewalStopped { .. }
            | LogEvent::CancelRequested { .. }
            | LogEvent::ShuttingDown => Report::Alive,
        }
    }

    fn join(&mut self, request: &str, job: &HostJob) {
        if request == "0" {
            return;
        }
        self.requests.retain(|(known, _)| &**known != request);
        if self.requests.len() >= REQUESTS {
            self.requests.remove(0);
        }
        self.requests.push((request.into(), job.clone()));
    }

    /// The job of a renewal. A request number that was never joined stands for itself: its lease
    /// holds until it runs out and a report of listening ends it.
    fn job(&self, renewal: Renewal<'_>) -> HostJob {
        match renewal {
            Renewal::Job(job) => HostJob::new(job),
            Renewal::Request(request) => self
                .requests
                .iter()
                .find(|(known, _)| &**known == request)
                .map_or_else(
                    || HostJob::new(format!("request {request}")),
                    |(_, job)| job.clone(),
                ),
        }
    }
}
