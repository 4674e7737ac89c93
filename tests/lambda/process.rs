//! A function that was built: one of the examples, as a process of its own.

use crate::world::REPOSITORY;
use scale_in_guard::testing::FakeLambda;
use serde_json::Value;
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

const POLICY: &str = r#"
grace = "500ms"
min_age = "0s"
job_pending = "0s"
beacon_ttl = "1s"
settle = "1500ms"
registration_deadline = "1s"
evidence_max_age = "5s"
"#;

/// The function, a process of its own. It ends with this.
pub(crate) struct Function {
    pub(crate) process: Child,
    pub(crate) folder: TempDir,
}

impl Function {
    /// Starts this example, which is invoked by that Lambda.
    pub(crate) fn start(example: &str, lambda: &FakeLambda, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a file");
        let store = format!("sqlite:{}", folder.path().join("guard.sqlite").display());
        let mut command = Command::new(program(example));
        command
            .env_clear()
            .envs(lambda.environment())
            .env("SCALE_IN_GUARD_STORE", store)
            .env("SCALE_IN_GUARD_SCOPE", "org:acme")
            .env("SCALE_IN_GUARD_REPOSITORIES", REPOSITORY)
            .env("SCALE_IN_GUARD_REPOSITORIES_ARE_ALL", "true")
            .env("SCALE_IN_GUARD_POLICY", POLICY)
            .env("SCALE_IN_GUARD_MODE", "live")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the same file"))
            .stdout(log);
        let process = command.spawn().expect("it starts");
        Self { process, folder }
    }

    /// What it logged so far: one JSON object a line, and nothing else.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("log")).expect("the log");
        let whole = text.lines().filter(|line| !line.is_empty());
        whole
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example, which Cargo builds beside the tests.
fn program(example: &str) -> PathBuf {
    let test = env::current_exe().expect("this test's own path");
    let profile: Option<&Path> = test.ancestors().nth(2);
    let program = profile
        .expect("target/<profile>/deps")
        .join("examples")
        .join(example);
    assert!(
        program.is_file(),
        "{} is missing: `cargo test` builds it, `cargo test --test NAME` does not; build it first, with \
         `--example {example}` and the same features",
        program.display()
    );
    program
}
