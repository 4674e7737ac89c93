//! What a function that handles a lifecycle hook is sent.

use super::LifecycleAction;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// How often what is meant can be wrapped: in an SNS notification, and in an event of EventBridge.
const DEEPEST: usize = 4;

/// What an invocation is about.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// Messages of an SQS queue, by their ids.
    Batch(Vec<(String, Result<Wanted, Unreadable>)>),
    /// One event, which nobody keeps.
    Direct(Wanted),
}

/// What is wanted of us.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// To see to an instance that is to be terminated.
    Termination(LifecycleAction),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// Why it is not known what is meant. It is told without the event, which holds a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "this is no event of a lifecycle hook: {0}; send this function those of EventBridge or of the hook itself, through SQS"
)]
pub(super) struct Unreadable(String);

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "messageId")]
    id: String,
    body: String,
}

impl Event {
    pub(super) fn read(event: &Value) -> Result<Self, Unreadable> {
        let Some(records) = event.get("Records") else {
            return Ok(Self::Direct(Wanted::read(event, DEEPEST)?));
        };
        // One that has no id cannot be reported as failed: so all of them are delivered again.
        let records: Vec<Record> = Deserialize::deserialize(records)
            .map_err(|error| Unreadable(format!("its records are none of SQS: {error}")))?;
        let messages = records.into_iter().map(|Record { id, body }| {
            let wanted = Wanted::parse(&body, DEEPEST);
            (id, wanted)
        });
        Ok(Self::Batch(messages.collect()))
    }
}

impl Wanted {
    fn parse(text: &str, depth: usize) -> Result<Self, Unreadable> {
        let event = serde_json::from_str(text);
        let event = event.map_err(|error| Unreadable(format!("it is no JSON: {error}")))?;
        Self::read(&event, depth)
    }

    fn read(event: &Value, depth: usize) -> Result<Self, Unreadable> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Unreadable("it is wrapped too often".to_owned()));
        };
        let text = |key| event.get(key).and_then(Value::as_str);
        if let Some(message) = text("Message") {
            return Self::parse(message, depth);
        }
        if let Some(detail @ Value::Object(_)) = event.get("detail") {
            return Self::read(detail, depth);
        }
        if text("Event") == Some("autoscaling:TEST_NOTIFICATION") {
            return Ok(Self::Nothing("it is the test of a hook that was set up"));
        }
        match text("LifecycleTransition") {
            Some("autoscaling:EC2_INSTANCE_TERMINATING") => {
                let action = LifecycleAction::deserialize(event);
                let action = action.map_err(|error| Unreadable(error.to_string()))?;
                Ok(Self::Termination(action))
            }
            Some("autoscaling:EC2_INSTANCE_LAUNCHING") => {
                Ok(Self::Nothing("the instance is launched, not terminated"))
            }
            Some(other) => Err(Unreadable(format!("{other:?} is no transition we know"))),
            None => Err(Unreadable("it has no LifecycleTransition".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
