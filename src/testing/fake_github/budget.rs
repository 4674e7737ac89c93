//! The primary rate limit: how many requests an hour has.

use super::{FakeGitHub, answer::Answer, credentials::Who};
use crate::time::{Instant, after, age};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::collections::HashMap;

/// The budgets of all who ask, each its own.
#[derive(Debug)]
pub(super) struct Budgets {
    limit: u64,
    budgets: HashMap<Who, Budget>,
    spent: u64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            limit: 5000,
            budgets: HashMap::new(),
            spent: 0,
        }
    }
}

impl Budgets {
    fn limit(&mut self, limit: u64) {
        self.limit = limit;
        self.budgets.clear();
    }

    /// The budget of the hour that it is.
    pub(super) fn of(&mut self, who: Who, now: Instant) -> &mut Budget {
        let limit = self.limit;
        let budget = self.budgets.entry(who).or_insert_with(|| Budget {
            limit,
            used: 0,
            resets_at: after(now, TimeDelta::hours(1)),
        });
        if age(now, budget.resets_at) >= TimeDelta::zero() {
            budget.used = 0;
            budget.resets_at = after(now, TimeDelta::hours(1));
        }
        budget
    }

    /// Takes one request out; `false` where none is left.
    pub(super) fn spend(&mut self, who: Who, now: Instant) -> bool {
        let budget = self.of(who, now);
        let is_left = budget.used < budget.limit;
        budget.used += u64::from(is_left);
        self.spent += u64::from(is_left);
        is_left
    }

    /// Puts one request back.
    pub(super) fn give_back(&mut self, who: Who, now: Instant) {
        let budget = self.of(who, now);
        budget.used = budget.used.saturating_sub(1);
        self.spent = self.spent.saturating_sub(1);
    }

    /// Forgets how many were spent in all; what is left of the hour stays as it is.
    pub(super) fn forget_spent(&mut self) {
        self.spent = 0;
    }
}

/// How many requests are left of the hour.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: u64,
    resets_at: Instant,
}

impl Budget {
    /// By GitHub's clock, which is off by so much.
    fn reset(&self, skew: TimeDelta) -> i64 {
        after(self.resets_at, skew).timestamp()
    }

    /// What `GET /rate_limit` shows.
    pub(super) fn shown(&self, skew: TimeDelta) -> Value {
        let reset = self.reset(skew);
        let core = json!({
            "limit": self.limit,
            "used": self.used,
            "remaining": self.limit.saturating_sub(self.used),
            "reset": reset,
        });
        let search = json!({ "limit": 30, "used": 0, "remaining": 30, "reset": reset });
        json!({ "resources": { "core": core, "search": search }, "rate": core })
    }

    /// The answer with the headers that tell of it.
    pub(super) fn put_on(&self, answer: Answer, skew: TimeDelta) -> Answer {
        let left = self.limit.saturating_sub(self.used);
        answer
            .with_default("X-RateLimit-Limit", self.limit.to_string())
            .with_default("X-RateLimit-Remaining", left.to_string())
            .with_default("X-RateLimit-Used", self.used.to_string())
            .with_default("X-RateLimit-Reset", self.reset(skew).to_string())
            .with_default("X-RateLimit-Resource", "core".into())
    }
}

/// The primary rate limit.
impl FakeGitHub {
    /// How many requests it answers in an hour of its clock, 5000 unless told. Then it refuses with
    /// 403, until the hour is over. The token, each app and each installation has that many of its own.
    pub fn rate_limit(&self, limit: u64) {
        self.change(|world, _| world.budgets.limit(limit));
    }

    /// How many requests were counted against the primary rate limit, of whomever; those that came to
    /// 304 and those for `/rate_limit` are not.
    #[must_use]
    pub fn primary_requests(&self) -> u64 {
        self.change(|world, _| world.budgets.spent)
    }
}
