//! A folder, a GitHub and the command that is run against them.

use assert_cmd::Command;
use scale_in_guard::{Scope, clock::SystemClock, testing::FakeGitHub};
use std::{fs, path::PathBuf, process::Stdio};
use tempfile::TempDir;

pub(crate) struct Deployment {
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
    folder: TempDir,
}

/// Which output nobody reads.
#[derive(Clone, Copy)]
pub(crate) enum Unread {
    Out,
    Err,
}

/// What a command printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Deployment {
    pub(crate) async fn of(scope: &str) -> Self {
        let github = FakeGitHub::start(SystemClock).await.unwrap();
        let scope: Scope = scope.parse().unwrap();
        github.add_scope(&scope);
        Self {
            github,
            scope,
            folder: TempDir::new().unwrap(),
        }
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A policy under which a vacant runner may go at once.
    pub(crate) fn hasty(&self) -> String {
        self.file("hasty.toml", "grace = \"0s\"\nmin_age = \"0s\"\n")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::cargo_bin("scale-in-guard").unwrap();
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("GITHUB_API_URL", self.github.url())
            .env("GITHUB_TOKEN", self.github.token());
        command
    }

    /// Runs the command with this scope.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> Ran {
        let scope = self.scope.to_string();
        let mut command = self.command();
        command
            .args([subcommand, "--scope", &scope])
            .args(arguments);
        self.ran(&mut command)
    }

    /// Runs a command one of whose outputs nobody reads, and gives its exit code.
    pub(crate) fn unread(&self, arguments: &[&str], unread: Unread) -> i32 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command =
            std::process::Command::new(assert_cmd::cargo::cargo_bin("scale-in-guard"));
        command
            .args(arguments)
            .env_clear()
            .env("XDG_STATE_HOME", self.path("state"))
            .env("GITHUB_API_URL", self.github.url())
            .env("GITHUB_TOKEN", self.github.token());
        match unread {
            Unread::Out => command.stdout(writer).stderr(Stdio::null()),
            Unread::Err => command.stderr(writer).stdout(Stdio::null()),
        };
        command.status().unwrap().code().unwrap()
    }

    pub(crate) fn ran(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.out.contains(self.github.token()), "{}", ran.out);
        assert!(!ran.err.contains(self.github.token()), "{}", ran.err);
        ran
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
