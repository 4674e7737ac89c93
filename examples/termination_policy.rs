//! The custom termination policy of an Auto Scaling group, as a Lambda function; docs/lambda.md tells how to deploy it.

use scale_in_guard::lambda::{self, Settings};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log_as_json();
    let settings = Settings::from_env()?;
    let scope = settings.scope()?.clone();
    let (guard, _) = settings.guard().await?;
    lambda_runtime::run(lambda::termination_policy(guard, scope)).await
}
