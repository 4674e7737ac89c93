//! The function of a lifecycle hook: the group waits with each instance that it terminates until its runners may go.
//! `docs/lambda.md` tells how to deploy it.
//!
//! `cargo lambda build --release --features aws,dynamodb,lambda --example lifecycle_hook`

use scale_in_guard::lambda::{self, AutoScalingHooks, Settings};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(async {
        let settings = Settings::from_env()?;
        let scope = settings.scope()?.clone();
        let rule = settings.runner_name.clone().unwrap_or_default();
        let (guard, github) = settings.guard().await?;
        let hooks = AutoScalingHooks::from_env().await;
        Ok(lambda::lifecycle_hook(guard, github, hooks, scope, rule))
    })
    .await
}
