//! The fake Lambda, to which the real `lambda_runtime` speaks, in a process of its own.
#![cfg(all(feature = "lambda", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

use lambda_runtime::{Error, LambdaEvent, service_fn};
use scale_in_guard::{
    clock::{Clock, SystemClock},
    testing::{FakeLambda, Invocation},
};
use serde_json::{Value, json};
use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

const LONG: Duration = Duration::from_secs(60);

/// This program once more, as a function. It ends with this.
struct Function(Child);

impl Function {
    fn start(lambda: &FakeLambda) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .args(["--exact", "a_function", "--ignored", "--nocapture"])
            .env_clear()
            .envs(lambda.environment())
            .stdout(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What [`Function`] runs.
#[tokio::test]
#[ignore = "no test: the function that the others invoke"]
async fn a_function() {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        lambda_runtime::run(service_fn(function))
            .await
            .expect("the Runtime API");
    }
}

async fn function(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    match payload["do"].as_str() {
        Some("hang") => std::future::pending().await,
        Some("fail") => Err("as asked".into()),
        Some("panic") => panic!("as asked"),
        Some("oversleep") => {
            // Longer than its time, which it reads from the header as every function does.
            while now_ms() < context.deadline + 50 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(json!("too late"))
        }
        _ => Ok(json!({
            "echo": payload,
            "deadline": context.deadline,
            "arn": context.invoked_function_arn,
            "function": context.env_config.function_name,
        })),
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemClock.now().timestamp_millis()).expect("after 1970")
}

fn answered(invocation: Invocation) -> Value {
    match invocation {
        Invocation::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn message(invocation: Invocation) -> String {
    match invocation {
        Invocation::Failed(error) => error["errorMessage"].to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_answered_and_its_deadline_is_true() {
    let lambda = FakeLambda::start().await.expect("a port");
    let _function = Function::start(&lambda);
    for number in 0..3 {
        let before = now_ms();
        let answer = answered(lambda.invoke(json!({"number": number}), LONG).await);
        assert_eq!(answer["echo"], json!({"number": number}));
        assert_eq!(answer["function"], "fake");
        let deadline = answer["deadline"].as_u64().expect("milliseconds");
        assert!((before + 60_000..=now_ms() + 60_000).contains(&deadline));
    }
}

#[tokio::test]
async fn a_failure_and_a_panic_are_told() {
    let lambda = FakeLambda::start().await.expect("a port");
    let _function = Function::start(&lambda);
    let failed = message(lambda.invoke(json!({"do": "fail"}), LONG).await);
    assert!(failed.contains("as asked"), "{failed}");
    let failed = message(lambda.invoke(json!({"do": "panic"}), LONG).await);
    assert!(failed.contains("as asked"), "{failed}");
    answered(lambda.invoke(json!({}), LONG).await);
}

#[tokio::test]
async fn what_comes_after_the_deadline_is_no_answer() {
    let lambda = FakeLambda::start().await.expect("a port");
    let _function = Function::start(&lambda);
    let late = lambda.invoke(json!({"do": "oversleep"}), Duration::from_millis(200));
    assert_eq!(late.await, Invocation::TimedOut);
    // The late answer is refused, and is not that of the next event.
    let answer = answered(lambda.invoke(json!({"next": true}), LONG).await);
    assert_eq!(answer["echo"], json!({"next": true}));
}

#[tokio::test]
async fn a_function_that_hangs_times_out_and_another_one_goes_on() {
    let lambda = FakeLambda::start().await.expect("a port");
    let hanging = Function::start(&lambda);
    let hung = lambda.invoke(json!({"do": "hang"}), Duration::from_millis(200));
    assert_eq!(hung.await, Invocation::TimedOut);
    drop(hanging);
    let _another = Function::start(&lambda);
    answered(lambda.invoke(json!({}), LONG).await);
}

#[tokio::test]
async fn two_functions_share_the_events() {
    let lambda = FakeLambda::start().await.expect("a port");
    let _functions = [Function::start(&lambda), Function::start(&lambda)];
    let hang = lambda.invoke(json!({"do": "hang"}), Duration::from_millis(500));
    let echo = lambda.invoke(json!({}), LONG);
    let (hung, echoed) = tokio::join!(hang, echo);
    assert_eq!(hung, Invocation::TimedOut);
    answered(echoed);
}

#[tokio::test]
async fn a_function_that_cannot_start_fails_one_event() {
    let lambda = FakeLambda::start().await.expect("a port");
    let url = format!("http://{}/2018-06-01/runtime/init/error", lambda.address());
    let said = json!({"errorMessage": "no settings", "errorType": "Init"});
    let post = reqwest::Client::new().post(url).body(said.to_string());
    let told = post.send().await.expect("an answer");
    assert_eq!(told.status(), 202);
    let failed = lambda.invoke(json!({}), LONG).await;
    assert_eq!(failed, Invocation::Failed(said));
    let _function = Function::start(&lambda);
    answered(lambda.invoke(json!({}), LONG).await);
}
