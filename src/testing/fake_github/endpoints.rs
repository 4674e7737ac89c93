//! What is answered to whom.

use super::{
    World, answer,
    answer::Answer,
    credentials::Who,
    json,
    paging::Page,
    requests::{Request, Sent},
    routes::{Repository, Route},
    seen::{SeenJob, SeenRun},
    truth::JobId,
};
use crate::{
    runner::{RunnerId, Scope},
    time::Instant,
};
use serde_json::{Value, json};

/// With any of these, a listing of runs ends after a thousand rows.
const SEARCHES: [&str; 7] = [
    "actor",
    "branch",
    "check_suite_id",
    "created",
    "event",
    "head_sha",
    "status",
];
const SEARCH_ROWS: usize = 1000;

/// One request, and what is needed to answer it.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) sent: &'a Sent,
    /// Who asks, or why that is not accepted.
    pub(super) who: Result<Who, &'static str>,
    /// The token or the JWT that it brought.
    pub(super) token: Option<&'a str>,
    /// The base of the API as the client wrote it.
    pub(super) base: &'a str,
    pub(super) now: Instant,
}

impl World {
    /// Carries a request out.
    pub(super) fn answer(&mut self, asked: &Asked<'_>) -> Answer {
        let who = match self.admitted(asked) {
            Ok(who) => who,
            Err(refusal) => return refusal,
        };
        let answer = self.carry_out(who, asked).or_unchanged(asked);
        if answer.code == 304 && !self.is_free(asked.request) {
            self.budgets.give_back(who, asked.now);
        }
        answer
    }

    /// Whose request is carried out, or why it is not.
    fn admitted(&mut self, asked: &Asked<'_>) -> Result<Who, Answer> {
        let request = asked.request;
        if request.user_agent.is_none() {
            let why = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.";
            return Err(Answer::refusal(403, why));
        }
        if *asked.sent == Sent::TooLong {
            return Err(Answer::refusal(413, "Payload too large"));
        }
        let who = asked.who.map_err(|why| Answer::refusal(401, why))?;
        if answer::version(request.api_version.as_deref()).is_none() {
            let why = "The API version of the request is not supported.";
            return Err(Answer::refusal(410, why));
        }
        if !self.is_free(request) && !self.budgets.spend(who, asked.now) {
            return Err(Answer::refusal(403, "API rate limit exceeded for user."));
        }
        Ok(who)
    }

    /// Whether it is not counted against the primary rate limit.
    fn is_free(&self, request: &Request) -> bool {
        matches!(self.route(request), Some(Route::RateLimit))
    }

    fn carry_out(&mut self, who: Who, asked: &Asked<'_>) -> Answer {
        let route = self.route(asked.request);
        let route = route.filter(|route| self.sees(who, route));
        let answer = match (asked.request.method.as_str(), route) {
            ("GET", Some(Route::RateLimit)) => {
                let budget = self.budgets.of(who, asked.now);
                Some(Answer::json(200, &budget.shown(self.view.skew)))
            }
            ("POST", Some(Route::RegistrationToken(scope))) => {
                Some(self.mint_registration_token(&scope, asked.now))
            }
            ("POST", Some(Route::JitConfig(scope))) => {
                Some(self.generate_jit_config(&scope, asked))
            }
            (method, Some(route)) if route.is_for_apps() => {
                self.carry_out_for_app(method, who, &route, asked)
            }
            ("GET", Some(Route::Runners(scope))) => Some(self.runners(&scope, asked)),
            ("GET", Some(Route::Runner(scope, id))) => self.runner(&scope, id, asked),
            ("DELETE", Some(Route::Runner(scope, id))) => self.delete_runner(&scope, id, asked),
            ("GET", Some(Route::Runs(repository))) => Some(self.runs(&repository, asked)),
            ("GET", Some(Route::Jobs(repository, run))) => self.jobs(&repository, run, asked),
            ("GET", Some(Route::Job(repository, job))) => self.job(&repository, job, asked),
            _ => None,
        };
        answer.unwrap_or_else(Answer::not_found)
    }

    fn runners(&self, scope: &Scope, asked: &Asked<'_>) -> Answer {
        let seen = self.seen(asked.now);
        let name = asked.request.parameter("name");
        let is_asked = |known: &str| name.is_none_or(|name| name == known);
        let rows: Vec<_> = seen
            .listed(scope)
            .filter(|known| is_asked(&known.runner.name))
            .collect();
        let stranger = (self.view.is_strange && name.is_none()).then(json::strange_runner);
        let url = self.own_url(scope, "actions/runners", asked.base);
        let listing = Listing {
            rows,
            stranger,
            reach: usize::MAX,
            url,
        };
        self.list("runners", listing, asked, |known| json::runner(seen, known))
    }

    fn runner(&self, scope: &Scope, id: RunnerId, asked: &Asked<'_>) -> Option<Answer> {
        let seen = self.seen(asked.now);
        let known = seen.numbered(scope, id)?;
        Some(Answer::json(200, &json::runner(seen, known)))
    }

    /// Deletes a registration unless it is shown busy. That is GitHub's trap: where the flag lies, a
    /// runner is deleted in the middle of a job, which runs on.
    fn delete_runner(&mut self, scope: &Scope, id: RunnerId, asked: &Asked<'_>) -> Option<Answer> {
        let seen = self.seen(asked.now);
        let known = seen.numbered(scope, id)?;
        if seen.is_busy(known) {
            let why = format!(
                "Bad request - Runner \"{}\" is currently running a job and cannot be deleted.",
                known.runner.name
            );
            return Some(Answer::refusal(422, &why));
        }
        self.truth.deregister_by_id(scope, id);
        Some(Answer::empty(204))
    }

    fn runs(&self, repository: &Repository, asked: &Asked<'_>) -> Answer {
        let Repository(scope, name) = repository;
        let seen = self.seen(asked.now);
        let status = asked.request.parameter("status");
        let is_silent = self.view.run_lists_are_silent && status.is_some();
        let is_asked = |run: &SeenRun<'_>| {
            !is_silent
                && status.is_none_or(|asked| {
                    *run.status == *asked || run.conclusion.as_deref() == Some(asked)
                })
        };
        let rows: Vec<_> = seen.runs(name).filter(is_asked).collect();
        let is_search = |name: &&str| asked.request.parameter(name).is_some();
        let reach = if SEARCHES.iter().any(is_search) {
            SEARCH_ROWS
        } else {
            usize::MAX
        };
        let url = self.own_url(scope, "actions/runs", asked.base);
        let listing = Listing {
            rows,
            stranger: None,
            reach,
            url,
        };
        let number = self.truth.number(scope);
        self.list("workflow_runs", listing, asked, |run| {
            json::run(asked.base, number, run, self.view.is_strange)
        })
    }

    fn jobs(&self, repository: &Repository, run: u64, asked: &Asked<'_>) -> Option<Answer> {
        let Repository(scope, name) = repository;
        let every_attempt = asked.request.parameter("filter") == Some("all");
        let rows = self.seen(asked.now).jobs(name, run, every_attempt)?;
        let stranger = self.view.is_strange.then(|| json::strange_job(run));
        let url = self.own_url(scope, &format!("actions/runs/{run}/jobs"), asked.base);
        let listing = Listing {
            rows,
            stranger,
            reach: usize::MAX,
            url,
        };
        Some(self.list("jobs", listing, asked, |job| self.job_row(name, job, asked)))
    }

    fn job(&self, repository: &Repository, id: JobId, asked: &Asked<'_>) -> Option<Answer> {
        let Repository(_, name) = repository;
        let job = self.seen(asked.now).job(name, id)?;
        Some(Answer::json(200, &self.job_row(name, &job, asked)))
    }

    fn job_row(&self, repository: &str, job: &SeenJob<'_>, asked: &Asked<'_>) -> Value {
        json::job(asked.base, repository, job, &self.view)
    }

    /// One page of a listing.
    fn list<T>(
        &self,
        key: &str,
        listing: Listing<T>,
        asked: &Asked<'_>,
        row: impl Fn(&T) -> Value,
    ) -> Answer {
        let Listing {
            rows,
            stranger,
            reach,
            url,
        } = listing;
        let count = rows.len() + usize::from(stranger.is_some());
        let page = Page::of(asked.request);
        let offset = page.offset(self.view.drifts);
        let all = rows.iter().map(Some).chain(stranger.iter().map(|_| None));
        let shown = all.take(reach).skip(offset).take(page.size);
        let shown: Vec<Value> = shown
            .map(|known| known.map_or_else(|| stranger.clone().unwrap_or_default(), &row))
            .collect();
        let total = self.view.claimed_total.unwrap_or(count);
        let answer = Answer::json(200, &json!({ "total_count": total, key: shown }));
        match page.links(count.min(reach), &url, asked.request) {
            Some(links) => answer.with("Link", links),
            None => answer,
        }
    }

    /// A path as GitHub's own links write it: with the number of a repository or an organisation in
    /// place of its name.
    fn own_url(&self, scope: &Scope, tail: &str, base: &str) -> String {
        let number = self.truth.number(scope);
        match scope {
            Scope::Repository { .. } => format!("{base}/repositories/{number}/{tail}"),
            Scope::Organization(_) => format!("{base}/organizations/{number}/{tail}"),
            Scope::Enterprise(name) => format!("{base}/enterprises/{name}/{tail}"),
        }
    }
}

/// What is listed.
struct Listing<T> {
    rows: Vec<T>,
    /// A row of an unknown kind, after the others.
    stranger: Option<Value>,
    /// How many rows can be paged through.
    reach: usize,
    url: String,
}
