//! The function that the termination policy rests on: on a schedule it looks at every machine of its groups.
//! `docs/lambda.md` tells how to deploy it.
//!
//! `cargo lambda build --release --features aws,dynamodb,lambda --example scheduled_sweep`

use scale_in_guard::lambda::{self, AutoScalingGroups, Settings};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(async {
        let settings = Settings::from_env()?;
        let scope = settings.scope()?.clone();
        let groups = AutoScalingGroups::from_env(settings.groups()?).await;
        let rule = settings.runner_name.clone().unwrap_or_default();
        let (guard, github) = settings.guard().await?;
        Ok(lambda::scheduled_sweep(guard, github, groups, scope, rule))
    })
    .await
}
