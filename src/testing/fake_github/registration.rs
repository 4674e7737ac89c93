//! How runners come to register: with a token, or just in time.

use super::{
    FakeGitHub, World, answer::Answer, endpoints::Asked, json, requests::Sent, truth::NewRunner,
};
use crate::{
    runner::{RunnerId, Scope},
    time::{At, Instant, after, age},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

/// How long a registration token is good for.
const GOOD_FOR: TimeDelta = TimeDelta::hours(1);
const MOST_LABELS: usize = 100;

/// A registration token.
#[derive(Debug)]
pub(super) struct Minted {
    token: String,
    scope: Scope,
    expires_at: Instant,
}

/// A runner as somebody asks for it, and its group.
struct JustInTime {
    runner: NewRunner,
    group: u64,
    work_folder: String,
}

impl World {
    /// `POST …/registration-token`.
    pub(super) fn mint_registration_token(&mut self, scope: &Scope, now: Instant) -> Answer {
        let token = format!("AFAKE{:024X}", self.registration_tokens.len() + 1);
        let expires_at = after(now, GOOD_FOR);
        let shown = At(self.githubs_clock(expires_at)).to_string();
        let answer = Answer::json(201, &json!({ "token": token, "expires_at": shown }));
        self.registration_tokens.push(Minted {
            token,
            scope: scope.clone(),
            expires_at,
        });
        answer
    }

    fn register_with_token(
        &mut self,
        scope: &Scope,
        token: &str,
        runner: NewRunner,
        now: Instant,
    ) -> Result<RunnerId, String> {
        let is_good = |minted: &Minted| {
            minted.token == token
                && minted.scope == *scope
                && age(now, minted.expires_at) < TimeDelta::zero()
        };
        if self.registration_tokens.iter().any(is_good) {
            return Ok(self.truth.register(scope, runner, now));
        }
        Err(
            "Http response code: NotFound from 'POST /actions/runner-registration'\n\
             {\"message\":\"Not Found\",\"status\":\"404\"}\n\
             Response status code does not indicate success: 404 (Not Found)."
                .into(),
        )
    }

    /// `POST …/generate-jitconfig`.
    pub(super) fn generate_jit_config(&mut self, scope: &Scope, asked: &Asked<'_>) -> Answer {
        let wanted = match just_in_time(asked.sent) {
            Ok(wanted) => wanted,
            Err(refusal) => return refusal,
        };
        if self.truth.is_taken(scope, &wanted.runner.name) {
            let why = "Already exists - A runner with the name *** already exists.";
            return Answer::refusal(409, why);
        }
        let config = wanted.config();
        let id = self.truth.register(scope, wanted.runner, asked.now);
        self.truth.set_group(id, wanted.group);
        let known = self.truth.registrations.iter().find(|known| known.id == id);
        let runner = known.map(|known| json::runner(self.seen(asked.now), known));
        let body = json!({ "runner": runner, "encoded_jit_config": config });
        Answer::json(201, &body)
    }
}

impl JustInTime {
    /// What the runner starts from: files, each encoded, and all of them again.
    fn config(&self) -> String {
        let runner = json!({
            "AgentName": self.runner.name,
            "PoolId": self.group,
            "WorkFolder": self.work_folder,
            "Ephemeral": true,
        });
        let files = json!({ ".runner": STANDARD.encode(runner.to_string()) });
        STANDARD.encode(files.to_string())
    }
}

/// Reads what is asked for, or says what is wrong with it.
fn just_in_time(sent: &Sent) -> Result<JustInTime, Answer> {
    let nothing = Map::new();
    let fields = match sent {
        Sent::Nothing => &nothing,
        Sent::Json(Value::Object(fields)) => fields,
        Sent::Json(_) => return Err(Answer::refusal(400, "Body should be a JSON object")),
        Sent::Malformed | Sent::TooLong => {
            return Err(Answer::refusal(400, "Problems parsing JSON"));
        }
    };
    let invalid = |why: String| Answer::refusal(422, &format!("Invalid request.\n\n{why}"));
    let required = ["name", "runner_group_id", "labels"];
    if let Some(missing) = required.iter().find(|&&name| !fields.contains_key(name)) {
        return Err(invalid(format!("\"{missing}\" wasn't supplied.")));
    }
    let name = fields.get("name").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("For 'properties/name', no name.".into()))?;
    let group = fields.get("runner_group_id").and_then(Value::as_u64);
    let group = group.ok_or_else(|| {
        invalid("For 'properties/runner_group_id', this is not an integer.".into())
    })?;
    let labels = fields.get("labels").and_then(labels);
    let labels = labels.filter(|labels| (1..=MOST_LABELS).contains(&labels.len()));
    let labels =
        labels.ok_or_else(|| invalid("For 'properties/labels', not 1 to 100 strings.".into()))?;
    let work_folder = fields.get("work_folder").and_then(Value::as_str);
    Ok(JustInTime {
        runner: NewRunner {
            labels,
            ephemeral: true,
            ..NewRunner::named(name).never_connected()
        },
        group,
        work_folder: work_folder.unwrap_or("_work").into(),
    })
}

fn labels(value: &Value) -> Option<Vec<String>> {
    let labels = value.as_array()?.iter();
    labels
        .map(|label| label.as_str().map(String::from))
        .collect()
}

/// Registration.
impl FakeGitHub {
    /// Registers a runner as its `config.sh --replace` does, with a registration token that was minted
    /// over the API for this scope.
    ///
    /// # Errors
    /// The runner's own words for a 404, where the token is unknown, of another scope, or expired.
    pub fn register_with_token(
        &self,
        scope: &Scope,
        token: &str,
        runner: NewRunner,
    ) -> Result<RunnerId, String> {
        self.change(|world, now| {
            let text = scope.to_string();
            let scope = world.truth.place(&text).unwrap_or(scope).clone();
            world.register_with_token(&scope, token, runner, now)
        })
    }

    /// How many registration tokens were minted.
    #[must_use]
    pub fn registration_tokens(&self) -> usize {
        self.change(|world, _| world.registration_tokens.len())
    }
}
