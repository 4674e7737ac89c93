//! The function of a custom termination policy of an Auto Scaling group: which instances are ready to go?
//! `docs/lambda.md` tells how to deploy it.
//!
//! `cargo lambda build --release --features aws,dynamodb,lambda --example termination_policy`

use scale_in_guard::lambda::{self, Settings};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(async {
        let settings = Settings::from_env()?;
        let scope = settings.scope()?.clone();
        let (guard, _) = settings.guard().await?;
        Ok(lambda::termination_policy(guard, scope))
    })
    .await
}
