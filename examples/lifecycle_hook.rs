//! The function of a lifecycle hook: the group waits with each instance that it terminates until its runners may go.
//! `docs/lambda.md` tells how to deploy it.
//!
//! `cargo lambda build --release --features aws,dynamodb,lambda --example lifecycle_hook`

use lambda_runtime::Error;
use scale_in_guard::lambda::{self, AutoScalingHooks, Handler, Settings};
use std::{env, process::ExitCode};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(async {
        let hooks = AutoScalingHooks::from_env().await;
        let is_live = env::var("SCALE_IN_GUARD_MODE").is_ok_and(|mode| mode == "live");
        match lifecycle_hook(hooks.clone()).await {
            // A typing error must not let the jobs die for which the groups wait.
            Err(error) if is_live => Ok(lambda::hold_all(hooks, error)),
            handler => handler,
        }
    })
    .await
}

async fn lifecycle_hook(hooks: AutoScalingHooks) -> Result<Handler, Error> {
    let settings = Settings::from_env()?;
    let scope = settings.scope()?.clone();
    let rule = settings.runner_name.clone().unwrap_or_default();
    let (guard, github) = settings.guard().await?;
    Ok(lambda::lifecycle_hook(guard, github, hooks, scope, rule))
}
