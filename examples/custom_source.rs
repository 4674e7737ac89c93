//! A witness of your own: about ten lines, and it can only ever add a reason to hold.
//!
//! `cargo run --features testing --example custom_source`

use async_trait::async_trait;
use scale_in_guard::{
    Evidence, Guard, Registration, Runner, Status,
    source::{Ask, EvidenceSource, Trouble},
    testing::ScriptedSource,
};

/// Runners on which somebody is logged in stay: their names are in a file.
#[derive(Debug)]
struct LoggedIn;

#[async_trait]
impl EvidenceSource for LoggedIn {
    fn name(&self) -> &str {
        "logged in"
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let names = std::fs::read_to_string("target/logged-in.txt")?;
        let is_in = names.lines().any(|name| name == ask.runner().name.as_str());
        Ok(vec![ask.objects_if(is_in, "somebody is logged in")])
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let idle = Registration::registered(false, Status::Online);
    let guard = Guard::builder()
        .source(ScriptedSource::registration(idle))
        .source(LoggedIn)
        .build()?;
    let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?;

    // A source that fails is a reason to hold: there is no such file yet.
    let _ = std::fs::remove_file("target/logged-in.txt");
    println!("{}", guard.can_terminate(&runner).await.explain());

    std::fs::write("target/logged-in.txt", "i-06cbe04821ccba677\n")?;
    println!("{}", guard.can_terminate(&runner).await.explain());
    Ok(())
}
