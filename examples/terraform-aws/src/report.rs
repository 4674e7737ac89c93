//! What an invocation tells: a line for each instance, one for each owner that could not be looked at, and a summary.

use scale_in_guard::{Assessment, Scope, guard::Mode, instance::InstanceId, runner::RunnerName};
use serde::{Serialize, Serializer};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    time::Duration,
};

/// Why something stays, or was not done: a stable code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Reason {
    pub(crate) fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            text: text.into(),
        }
    }
}

/// Why the guard holds a runner.
pub(crate) fn reasons(assessment: &Assessment) -> impl Iterator<Item = Reason> {
    let name = &assessment.runner.name;
    assessment
        .reasons()
        .map(move |reason| Reason::new(reason.code_str(), format!("{name}: {reason}")))
}

/// What was decided about an instance, or done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It stays, for the reasons given.
    Hold,
    /// Shadow mode: it would go.
    WouldGo,
    /// It is announced that it goes, and it is deregistered: a later invocation goes on.
    Draining,
    /// It was terminated.
    Terminated,
    /// Terminate was called, and failed.
    Failed,
    /// A step on the way out was not made: a later invocation tries again, or begins anew.
    Stopped,
    /// It may go, and there was no time for it: a later invocation begins.
    Postponed,
    /// Nobody knows whose it is.
    Unowned,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<Reason>,
    /// Whether somebody has to be told: a job may have been lost.
    pub(crate) is_alarming: bool,
}

impl Outcome {
    pub(crate) fn new(verdict: Verdict, reasons: Vec<Reason>) -> Self {
        Self {
            verdict,
            reasons,
            is_alarming: false,
        }
    }

    pub(crate) fn because(verdict: Verdict, code: &str, text: impl fmt::Display) -> Self {
        Self::new(verdict, vec![Reason::new(code, text.to_string())])
    }

    pub(crate) fn alarming(self) -> Self {
        Self {
            is_alarming: true,
            ..self
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    Info,
    Warn,
    Error,
}

/// A line about one instance.
#[derive(Serialize)]
struct InstanceLine<'a> {
    level: Level,
    message: &'static str,
    instance: &'a InstanceId,
    owner: Option<&'a Scope>,
    runners: &'a [RunnerName],
    decision: Verdict,
    codes: Vec<&'a str>,
    text: String,
}

/// A line about an owner whose runners could not be looked at.
#[derive(Serialize)]
struct OwnerLine<'a> {
    level: Level,
    message: &'static str,
    owner: &'a Scope,
    text: String,
}

/// A line of its own about something that is the matter.
#[derive(Serialize)]
struct PlainLine<'a> {
    level: Level,
    message: &'a str,
    text: &'a str,
}

/// What one invocation did, in numbers. It is the invocation's answer, too.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) environment: String,
    #[serde(serialize_with = "mode")]
    pub(crate) mode: Mode,
    /// Instances that run, or are about to.
    pub(crate) instances: usize,
    pub(crate) owners: usize,
    /// Owners whose runners could not be looked at, or not all of them in time.
    pub(crate) owners_failed: usize,
    /// Instances about which a line was written: all, but for those of owners that failed.
    pub(crate) looked_at: usize,
    pub(crate) bypassed: usize,
    /// Instances that are idle and stay, as far as `SCALE_DOWN_CONFIG` says.
    pub(crate) idle_kept: usize,
    /// Instances that stay, by the code of each of their reasons.
    pub(crate) held: BTreeMap<String, usize>,
    pub(crate) would_go: usize,
    pub(crate) draining: usize,
    pub(crate) terminated: usize,
    pub(crate) failed: usize,
    pub(crate) stopped: usize,
    pub(crate) postponed: usize,
    pub(crate) unowned: usize,
    pub(crate) github_requests: u64,
    pub(crate) seconds: f64,
}

fn mode<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow",
    })
}

impl Summary {
    /// Counts an instance, and writes its line.
    pub(crate) fn tell(
        &mut self,
        instance: &InstanceId,
        owner: Option<&Scope>,
        runners: &[RunnerName],
        outcome: &Outcome,
    ) {
        let Outcome {
            verdict, reasons, ..
        } = outcome;
        self.looked_at += 1;
        let mut codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        match verdict {
            Verdict::Hold => {
                for code in &codes {
                    *self.held.entry((*code).to_owned()).or_default() += 1;
                }
                self.bypassed += usize::from(codes.contains(&"bypassed"));
            }
            Verdict::WouldGo => self.would_go += 1,
            Verdict::Draining => self.draining += 1,
            Verdict::Terminated => self.terminated += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Stopped => self.stopped += 1,
            Verdict::Postponed => self.postponed += 1,
            Verdict::Unowned => self.unowned += 1,
        }
        let texts: Vec<_> = reasons.iter().map(|reason| reason.text.as_str()).collect();
        write_line(&InstanceLine {
            level: match verdict {
                _ if outcome.is_alarming => Level::Error,
                Verdict::Failed | Verdict::Unowned => Level::Warn,
                _ => Level::Info,
            },
            message: "instance",
            instance,
            owner,
            runners,
            decision: *verdict,
            text: texts.join("; "),
            codes,
        });
    }

    /// Counts an owner whose runners could not be looked at, and says why.
    pub(crate) fn tell_failure(&mut self, owner: &Scope, what: impl fmt::Display) {
        self.owners_failed += 1;
        write_line(&OwnerLine {
            level: Level::Error,
            message: "owner",
            owner,
            text: what.to_string(),
        });
    }

    /// Ends it: the last line of an invocation.
    pub(crate) fn conclude(&mut self, took: Duration, github_requests: u64) {
        self.seconds = took.as_secs_f64();
        self.github_requests = github_requests;
        #[derive(Serialize)]
        struct Line<'a> {
            level: Level,
            message: &'static str,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        write_line(&Line {
            level: match self.owners_failed {
                0 => Level::Info,
                _ => Level::Warn,
            },
            message: "summary",
            summary: self,
        });
    }
}

/// Says why an invocation failed.
pub(crate) fn fail(error: &dyn std::error::Error) {
    write_line(&PlainLine {
        level: Level::Error,
        message: "failed",
        text: &error.to_string(),
    });
}

/// Says that something is the matter.
pub(crate) fn warn(message: &str, text: &str) {
    write_line(&PlainLine {
        level: Level::Warn,
        message,
        text,
    });
}

/// Writes one line of JSON to standard output, which is the log of a function.
fn write_line(line: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(line) {
        // A log that nobody takes is no reason to stop.
        let _unread = writeln!(io::stdout(), "{json}");
    }
}
