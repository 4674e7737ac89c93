//! AWS's own protocol.

use crate::{
    stand_in::{Answer, StandIn},
    world::{ONE, terminating},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_autoscaling::config::{Credentials, SharedCredentialsProvider, retry::RetryConfig};
use scale_in_guard::lambda::{ActionState, AutoScalingHooks, LifecycleAction, LifecycleHooks};
use serde::Deserialize;
use std::time::Duration;

fn hooks(stand_in: &StandIn) -> AutoScalingHooks {
    let credentials = Credentials::new("fake", "hunter2", None, None, "a test");
    let soon = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    AutoScalingHooks::new(
        &SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(stand_in.url())
            .retry_config(soon)
            .build(),
    )
}

fn action(token: Option<&str>) -> LifecycleAction {
    let mut detail = terminating(ONE)["detail"].clone();
    detail["LifecycleActionToken"] = token.into();
    LifecycleAction::deserialize(detail).unwrap()
}

fn fields(form: &str) -> Vec<(String, String)> {
    let fields = form_urlencoded::parse(form.as_bytes());
    fields
        .into_owned()
        .filter(|(name, _)| name != "Version")
        .collect()
}

#[tokio::test]
async fn the_action_is_named_as_aws_wants_it() {
    let stand_in = StandIn::start();
    let hooks = hooks(&stand_in);
    let token = "87654321-4321-4321-4321-210987654321";
    let (with, without) = (action(Some(token)), action(None));
    assert_eq!(hooks.heartbeat(&with).await, Ok(ActionState::Active));
    assert_eq!(hooks.complete(&with).await, Ok(ActionState::Active));
    assert_eq!(hooks.complete(&without).await, Ok(ActionState::Active));
    let told: Vec<_> = stand_in.told().iter().map(|form| fields(form)).collect();
    let said = |fields: &[(&str, &str)]| {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        fields.iter().map(owned).collect::<Vec<_>>()
    };
    let heartbeat = [
        ("Action", "RecordLifecycleActionHeartbeat"),
        ("LifecycleHookName", "runners"),
        ("AutoScalingGroupName", "linux"),
        ("LifecycleActionToken", token),
    ];
    assert_eq!(told[0], said(&heartbeat));
    let complete = |name, value| {
        said(&[
            ("Action", "CompleteLifecycleAction"),
            ("LifecycleHookName", "runners"),
            ("AutoScalingGroupName", "linux"),
            (name, value),
        ])
    };
    let is_continued = |fields: &Vec<(String, String)>| {
        fields.contains(&("LifecycleActionResult".to_owned(), "CONTINUE".to_owned()))
    };
    for (told, wanted) in [
        (&told[1], complete("LifecycleActionToken", token)),
        (&told[2], complete("InstanceId", ONE)),
    ] {
        assert!(is_continued(told), "{told:?}");
        assert!(wanted.iter().all(|field| told.contains(field)), "{told:?}");
        assert_eq!(told.len(), wanted.len() + 1, "{told:?}");
    }
}

#[tokio::test]
async fn an_action_that_is_over_is_told_from_every_other_refusal() {
    let stand_in = StandIn::start();
    let hooks = hooks(&stand_in);
    let action = action(None);
    for said in [
        "No active Lifecycle Action found with token 87654321-4321-4321-4321-210987654321",
        "No active Lifecycle Action found with instance ID i-06cbe04821ccba677",
    ] {
        stand_in.answer(Answer::Error(400, "ValidationError", said));
        assert_eq!(hooks.complete(&action).await, Ok(ActionState::Over));
        assert_eq!(hooks.heartbeat(&action).await, Ok(ActionState::Over));
    }
    for (status, code, message) in [
        (400, "ValidationError", "AutoScalingGroup name not found"),
        (
            403,
            "AccessDenied",
            "not authorized to perform: autoscaling:CompleteLifecycleAction",
        ),
        (400, "Throttling", "Rate exceeded"),
        (500, "InternalFailure", "it broke"),
    ] {
        stand_in.answer(Answer::Error(status, code, message));
        let error = hooks.complete(&action).await.unwrap_err().to_string();
        for part in [code, message, ONE, "linux", "completing the action"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(!format!("{hooks:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_never_answers_is_given_up_in_time() {
    let stand_in = StandIn::start();
    stand_in.answer(Answer::Silence);
    let asked = hooks(&stand_in);
    let asked = async { asked.heartbeat(&action(None)).await };
    let bound = Duration::from_secs(30);
    let error = tokio::time::timeout(bound, asked).await.expect("an end");
    assert!(error.is_err());
}
