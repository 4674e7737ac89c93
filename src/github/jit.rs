//! Just-in-time runners: a registration, and the config that a runner starts from, in one request.
//!
//! To ask for one is not idempotent. GitHub may carry a request out whose answer is lost, and then the name is taken
//! (409) and the config is with nobody: GitHub shows it once. So nothing is sent again before GitHub was asked what
//! became of the name.

mod error;
mod request;

pub use error::{JitError, JitTried};
pub use request::{IfTaken, JitRequest, JitRequestBuilder, JitRequestError};

use super::{
    GitHub, GitHubError, RunnerRow,
    call::{Call, Repeat, Right},
    models::RunnerJson,
};
use crate::{
    clock::{Deadline, elapsed_since, monotonic},
    registrar::Deregistered,
    runner::RunnerName,
};
use request::LONGEST_NAME;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How many other names are tried, and how many registrations are removed to have one.
const TRIES: u32 = 3;

/// How many random digits a fresh name ends with, in hexadecimal.
const DIGITS: usize = 6;

/// A just-in-time runner that is registered.
#[derive(Debug, Clone)]
pub enum Jit {
    /// It was registered just now.
    Issued {
        /// Its registration. Its name is the wanted one, but for [`IfTaken::FreshName`].
        runner: RunnerRow,
        /// What its program is started with: `run.sh --jitconfig …`. A secret: whoever has it can be this runner.
        config: SecretString,
        /// What was tried, and what may be left of it.
        tried: JitTried,
    },
    /// It was registered before, or by an ask whose answer was lost, and is left as it is ([`IfTaken::Adopt`]).
    Adopted {
        /// Its registration, and its name as GitHub spells it.
        runner: RunnerRow,
        /// What was tried. The registration is among those left behind where it may be of this very call.
        tried: JitTried,
    },
}

impl Jit {
    /// The registration.
    #[must_use]
    pub fn runner(&self) -> &RunnerRow {
        match self {
            Self::Issued { runner, .. } | Self::Adopted { runner, .. } => runner,
        }
    }

    /// What was tried, and what may be left of it.
    #[must_use]
    pub fn tried(&self) -> &JitTried {
        match self {
            Self::Issued { tried, .. } | Self::Adopted { tried, .. } => tried,
        }
    }
}

impl GitHub {
    /// Registers a just-in-time runner, for which the token must be able to write: `administration:write` of a
    /// repository, `organization_self_hosted_runners:write` of an organisation.
    ///
    /// Where the answer is lost (no answer, a 5xx, one that broke off or is malformed), GitHub is asked whether a
    /// runner of this name is registered: if none is, the config is asked for again, after a pause and as often as
    /// calls are [repeated](super::Retry); if one is, or GitHub says that the name is taken (409), the request's
    /// [`IfTaken`] says what follows. A 409 is taken to speak of any spelling of the name in upper and lower case;
    /// what is found after a lost answer has exactly this name.
    ///
    /// All of it happens within the time of one call ([`within`](Self::within)).
    ///
    /// What remains: GitHub may carry a request out for some 10 seconds after it was given up. A name is given once, so
    /// nothing comes of it where the same name was issued by a later ask; where the call failed, the result names it
    /// ([`JitTried::unaccounted`]), and [`Ghosts`](super::Ghosts) finds it later. A registration found after a lost
    /// answer is taken to be of this call, though the answer could have been a 409.
    ///
    /// # Errors
    /// [`JitError`]: the name is taken, GitHub refused, a limit is spent, or its answers were lost.
    pub async fn jit_config(&self, request: &JitRequest) -> Result<Jit, JitError> {
        Asking::of(self, request).run().await
    }
}

/// One call: what it asks for, and what became of that so far.
struct Asking<'a> {
    github: GitHub,
    deadline: Deadline,
    request: &'a JitRequest,
    /// The name that is asked for now.
    name: RunnerName,
    /// What the last ask for that name met with whose answer was lost.
    lost: Option<GitHubError>,
    /// Before each ask that follows a lost one.
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    names: u32,
    removals: u32,
    began: std::time::Instant,
    tried: JitTried,
}

/// What comes after an ask.
enum Next {
    Again,
    Done(Jit),
}

impl<'a> Asking<'a> {
    fn of(github: &GitHub, request: &'a JitRequest) -> Self {
        let deadline = github.deadline();
        Self {
            pauses: Box::new(github.pauses()),
            github: github.until(deadline),
            deadline,
            request,
            name: request.name().clone(),
            lost: None,
            names: 0,
            removals: 0,
            began: monotonic(),
            tried: JitTried::default(),
        }
    }

    async fn run(mut self) -> Result<Jit, JitError> {
        loop {
            self.tried.asked += 1;
            let next = match self.ask().await {
                Ok((runner, config)) => {
                    self.lost = None;
                    let tried = self.tried();
                    return Ok(Jit::Issued {
                        runner,
                        config,
                        tried,
                    });
                }
                Err(error) if error.status() == Some(409) => self.is_taken().await?,
                Err(error) if may_be_done(&error) => self.was_lost(error).await?,
                Err(error) => return Err(self.failed(error)),
            };
            if let Next::Done(jit) = next {
                return Ok(jit);
            }
        }
    }

    /// Asks once.
    async fn ask(&self) -> Result<(RunnerRow, SecretString), GitHubError> {
        let scope = self.request.scope();
        let url = self
            .github
            .api()
            .in_scope(scope, &["actions", "runners", "generate-jitconfig"]);
        let call = Call::new(Method::POST, url, scope, Right::WriteRunners)
            .with_body(self.request.body(&self.name))
            .repeated(Repeat::IfRefused);
        // Read piece by piece: what serde says of a type that it did not expect can quote the secret.
        let body = self.github.ask::<Value>(&call).await?.body;
        let malformed = |what: &str| GitHubError::Malformed {
            request: call.line(),
            status: 201,
            request_id: None,
            what: what.to_owned(),
        };
        let runner = body.get("runner").and_then(runner);
        let runner = runner.ok_or_else(|| malformed("it does not say which runner it is about"))?;
        if !is_same(&runner.name, self.name.as_str()) {
            return Err(malformed("it is about another runner"));
        }
        let config = body.get("encoded_jit_config").and_then(Value::as_str);
        let config = config.filter(|config| !config.trim().is_empty());
        let config = config.ok_or_else(|| malformed("there is no config in it"))?;
        Ok((runner, config.into()))
    }

    /// The name is taken, GitHub says.
    async fn is_taken(&mut self) -> Result<Next, JitError> {
        if self.request.if_taken() == IfTaken::FreshName {
            if self.lost.is_some() {
                // By us, perhaps. Who cannot see that goes on all the same, and says that nobody saw it.
                match self.named().await {
                    Ok(Some(row)) => self.note_left_behind(&row),
                    Ok(None) | Err(_) => self.tried.unaccounted.push(self.name.clone()),
                }
            }
            return self.under_a_fresh_name(None);
        }
        match self.called().await {
            Ok(Some(row)) => self.found(row).await,
            Ok(None) => match self.pause().await {
                true => Ok(Next::Again),
                false => Err(self.taken(None)),
            },
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The answer was lost: GitHub may have registered the runner.
    async fn was_lost(&mut self, answer: GitHubError) -> Result<Next, JitError> {
        self.lost = Some(answer.clone());
        let answer = Box::new(answer);
        let look = match self.named().await {
            Ok(Some(row)) => return self.found(row).await,
            Ok(None) if self.pause().await => return Ok(Next::Again),
            Ok(None) => None,
            Err(error) => Some(Box::new(error)),
        };
        let tried = self.tried();
        Err(JitError::Lost {
            answer,
            look,
            tried,
        })
    }

    /// A runner of that name is registered.
    async fn found(&mut self, row: RunnerRow) -> Result<Next, JitError> {
        match self.request.if_taken() {
            IfTaken::Adopt => {
                if self.lost.is_some() {
                    self.note_left_behind(&row);
                }
                self.lost = None;
                let tried = self.tried();
                Ok(Next::Done(Jit::Adopted { runner: row, tried }))
            }
            IfTaken::Replace => self.replace(row).await,
            IfTaken::FreshName => {
                self.note_left_behind(&row);
                self.under_a_fresh_name(Some(row))
            }
        }
    }

    /// Removes a registration that never connected.
    async fn replace(&mut self, row: RunnerRow) -> Result<Next, JitError> {
        if !row.never_connected() || self.removals == TRIES {
            return Err(self.taken(Some(row)));
        }
        self.removals += 1;
        let (id, scope) = (row.id, self.request.scope());
        // A listing may lag behind a runner that has just connected.
        let again = match self.github.runner(scope, id).await {
            Ok((again, _)) => again,
            Err(error) => return Err(self.not_removed(row, error)),
        };
        match again {
            None => return Ok(Next::Again),
            Some(again) if !again.never_connected() => return Err(self.taken(Some(again))),
            Some(_) => {}
        }
        match self.github.remove_runner(scope, id).await {
            Ok(Deregistered::Removed) => {
                self.tried.removed.push(id);
                self.lost = None;
                Ok(Next::Again)
            }
            // Somebody else removed it, and may have the name by now: the next ask tells.
            Ok(Deregistered::Unknown) => Ok(Next::Again),
            Ok(Deregistered::Occupied) => Err(self.taken(Some(RunnerRow { busy: true, ..row }))),
            Err(error) => Err(self.not_removed(row, error)),
        }
    }

    /// Goes on with another name, if there are any left.
    fn under_a_fresh_name(&mut self, by: Option<RunnerRow>) -> Result<Next, JitError> {
        self.lost = None;
        if self.names == TRIES {
            return Err(self.taken(by));
        }
        self.names += 1;
        let digits = self.github.fork_random().u32(..1 << (4 * DIGITS));
        match fresh(self.request.name(), digits) {
            Some(name) => self.name = name,
            None => return Err(self.taken(by)),
        }
        Ok(Next::Again)
    }

    /// The registration of exactly this name.
    async fn named(&self) -> Result<Option<RunnerRow>, GitHubError> {
        let named = self
            .github
            .runners_named(self.request.scope(), &self.name)
            .await?;
        let mut rows = named.rows.into_iter();
        Ok(rows.find(|row| *row.name == *self.name.as_str()))
    }

    /// The registration of this name, however it is spelled in upper and lower case: that is what a 409 may mean, and
    /// what GitHub's search for a name need not find.
    async fn called(&self) -> Result<Option<RunnerRow>, GitHubError> {
        if let Some(row) = self.named().await? {
            return Ok(Some(row));
        }
        let all = self.github.runners(self.request.scope()).await?;
        let mut rows = all.rows.into_iter();
        Ok(rows.find(|row| is_same(&row.name, self.name.as_str())))
    }

    /// Waits before the next ask, if there is to be one.
    async fn pause(&mut self) -> bool {
        let left = self.deadline.left();
        let Some(pause) = self.pauses.next().filter(|pause| *pause < left) else {
            return false;
        };
        tokio::time::sleep(pause).await;
        true
    }

    /// Notes a registration that an ask of ours may have made.
    fn note_left_behind(&mut self, row: &RunnerRow) {
        let is_ours = row.never_connected() && *row.name == *self.name.as_str();
        if is_ours && !self.tried.left_behind.contains(&row.id) {
            self.tried.left_behind.push(row.id);
        }
    }

    /// What was tried until now.
    fn tried(&mut self) -> JitTried {
        self.tried.took = elapsed_since(self.began);
        if self.lost.take().is_some() {
            self.tried.unaccounted.push(self.name.clone());
        }
        std::mem::take(&mut self.tried)
    }

    fn taken(&mut self, by: Option<RunnerRow>) -> JitError {
        if by.is_some() {
            self.lost = None;
        }
        JitError::Taken {
            name: self.name.clone(),
            by: by.map(Box::new),
            tried: self.tried(),
        }
    }

    fn not_removed(&mut self, row: RunnerRow, error: GitHubError) -> JitError {
        if self.lost.take().is_some() {
            self.note_left_behind(&row);
        }
        JitError::NotRemoved {
            runner: Box::new(row),
            error: Box::new(error),
            tried: self.tried(),
        }
    }

    fn failed(&mut self, error: GitHubError) -> JitError {
        JitError::GitHub {
            error: Box::new(error),
            tried: self.tried(),
        }
    }
}

/// Whether GitHub may have carried out what it did not answer, or not so that it can be read.
fn may_be_done(error: &GitHubError) -> bool {
    let is_success = |status| (200..300).contains(&status);
    error.is_transient() || error.status().is_some_and(is_success)
}

fn runner(row: &Value) -> Option<RunnerRow> {
    RunnerJson::deserialize(row).ok()?.read()
}

/// Whether two names are one, as far as GitHub may tell them apart.
fn is_same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// A name with a tail of its own, within what GitHub allows.
fn fresh(name: &RunnerName, digits: u32) -> Option<RunnerName> {
    let head: String = name
        .as_str()
        .chars()
        .take(LONGEST_NAME - 1 - DIGITS)
        .collect();
    RunnerName::new(&format!(
        "{}-{digits:0width$x}",
        head.trim_end(),
        width = DIGITS
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_name_is_as_long_as_github_allows_and_no_longer() {
        for (name, digits, fresh_one) in [
            ("r-1".to_owned(), 0xc0_ffee, "r-1-c0ffee".to_owned()),
            ("r-1".to_owned(), 1, "r-1-000001".to_owned()),
            ("ü".repeat(64), 0, format!("{}-000000", "ü".repeat(57))),
            (
                format!("{} x", "a".repeat(56)),
                0,
                format!("{}-000000", "a".repeat(56)),
            ),
        ] {
            let made = fresh(&name.parse().unwrap(), digits).unwrap();
            assert_eq!(made.as_str(), fresh_one);
            assert!(made.as_str().chars().count() <= LONGEST_NAME);
        }
    }
}
