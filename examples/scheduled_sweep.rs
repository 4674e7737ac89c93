//! The sweep that the termination policy rests on, as a Lambda function on a schedule; docs/lambda.md tells how to
//! deploy it.

use scale_in_guard::lambda::{self, AutoScalingGroups, Settings};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log_as_json();
    let settings = Settings::from_env()?;
    let scope = settings.scope()?.clone();
    let groups = AutoScalingGroups::from_env(settings.groups()?).await;
    let rule = settings.runner_name.clone().unwrap_or_default();
    let (guard, github) = settings.guard().await?;
    lambda_runtime::run(lambda::scheduled_sweep(guard, github, groups, scope, rule)).await
}
