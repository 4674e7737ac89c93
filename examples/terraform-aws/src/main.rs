//! Scheduled scale-down for the fleets of terraform-aws-github-runner, which asks scale-in-guard first: see README.md.
//!
//! In Lambda each invocation is one round; started by hand it makes one round and ends.

mod cloud;
mod idle;
mod owner;
mod plan;
mod report;
mod scale_down;
mod settings;

use lambda_runtime::{LambdaEvent, service_fn};
use scale_down::ScaleDown;
use scale_in_guard::lambda::{log_as_json, time_left};
use serde_json::Value;
use settings::Settings;
use std::{env, time::Duration};
use tokio::{sync::OnceCell, time::Instant};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a round has that nobody limits.
const BY_HAND: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log_as_json();
    let place = OnceCell::new();
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return round(&place, BY_HAND).await.map(drop);
    }
    let place = &place;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        round(place, time_left(&event.context)).await
    }))
    .await
}

/// One round. What it needs is put together by the first that can: credentials that cannot be had now may be there for
/// the next.
async fn round(place: &OnceCell<ScaleDown>, left: Duration) -> Result<Value, Error> {
    let ends = Instant::now() + left;
    let done = async {
        let place = place.get_or_try_init(|| async {
            Ok::<_, Error>(ScaleDown::connect(Settings::from_env()?).await?)
        });
        let summary = place.await?.run(ends).await?;
        Ok(serde_json::to_value(summary)?)
    };
    let done: Result<_, Error> = done.await;
    if let Err(error) = &done {
        report::fail(&**error);
    }
    done
}
