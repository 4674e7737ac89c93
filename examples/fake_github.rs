//! A GitHub on loopback to try the command line against, without a token of your own.
//!
//! `cargo run --features testing --example fake_github`
//!
//! It has an idle runner, a busy one, one whose `busy` flag lies, and none called `phantom`.

use scale_in_guard::{Scope, clock::SystemClock, testing::FakeGitHub};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let github = FakeGitHub::start(SystemClock).await?;
    let scope: Scope = "repo:acme/atlas".parse()?;
    for name in ["idle", "busy", "lied-about"] {
        github.register(&scope, name);
    }
    github.start_job(&scope, "busy", "acme/atlas");
    github.start_job(&scope, "lied-about", "acme/atlas");
    github.lie_busy(&scope, "lied-about", Some(false));
    println!("export GITHUB_API_URL={}", github.url());
    println!("export GITHUB_TOKEN={}", github.token());
    println!("# in another shell, after these two lines:");
    println!("#   scale-in-guard check --scope {scope} --runner lied-about --store memory");
    println!("# it ends with this program");
    std::future::pending::<()>().await;
    Ok(())
}
