//! `hook`: it leaves a mark, and fails no job.

use assert_cmd::Command;
use std::{fs, path::Path};
use tempfile::TempDir;

fn runner() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("_diag")).unwrap();
    fs::create_dir_all(folder.path().join("_work/_temp")).unwrap();
    fs::write(folder.path().join(".runner"), "{}").unwrap();
    folder
}

/// Nothing of the environment but what the test gives, and no runner above.
fn hook(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("scale-in-guard").unwrap();
    for name in [
        "SCALE_IN_GUARD_RUNNER_ROOT",
        "RUNNER_TEMP",
        "RUNNER_WORKSPACE",
    ] {
        command.env_remove(name);
    }
    command.current_dir("/").arg("hook").args(arguments);
    command
}

fn is_marked(root: &Path, event: &str) -> bool {
    root.join("_diag")
        .join(format!("scale-in-guard.{event}"))
        .is_file()
}

#[test]
fn the_runner_is_found_by_the_flag_the_variable_or_from_below() {
    type Gives = fn(&mut Command, &Path);
    let other = runner();
    let rows: [(&str, Gives); 6] = [
        ("flag", |command, root| {
            command.arg("--runner-root").arg(root);
        }),
        ("variable", |command, root| {
            command.env("SCALE_IN_GUARD_RUNNER_ROOT", root);
        }),
        ("temp", |command, root| {
            command.env("RUNNER_TEMP", root.join("_work/_temp"));
        }),
        ("workspace", |command, root| {
            command.env("RUNNER_TEMP", "/tmp");
            command.env("RUNNER_WORKSPACE", root.join("_work/atlas"));
        }),
        ("current folder", |command, root| {
            command.env("SCALE_IN_GUARD_RUNNER_ROOT", "");
            command.current_dir(root.join("_work"));
        }),
        ("the folder itself", |command, root| {
            command.current_dir(root);
        }),
    ];
    for (row, gives) in rows {
        let folder = runner();
        for event in ["started", "completed"] {
            let mut command = hook(&[event]);
            gives(&mut command, folder.path());
            command.assert().success().stdout("").stderr("");
            assert!(is_marked(folder.path(), event), "{row}");
        }
    }
    let folder = runner();
    let mut command = hook(&["started"]);
    command.env("SCALE_IN_GUARD_RUNNER_ROOT", other.path());
    command.arg("--runner-root").arg(folder.path());
    command.assert().success();
    assert!(is_marked(folder.path(), "started") && !is_marked(other.path(), "started"));
}

#[test]
fn what_goes_wrong_fails_a_job_only_if_it_is_asked_to() {
    let blocked = tempfile::tempdir().unwrap();
    fs::write(blocked.path().join("_diag"), "").unwrap();
    let blocked = blocked.path().to_str().unwrap();
    for arguments in [
        &["started", "--runner-root", blocked][..],
        &["started", "--runner-root", "/proc"],
        &["started", "--runner-root", "/missing"],
        &["started", "--runner-root", ""],
        &["started"],
        &["started", "--unknown"],
        &["started", "--runner-root"],
        &["started", "twice"],
        &["begun"],
        &[],
    ] {
        for (strict, code) in [(false, 0), (true, 1)] {
            let mut command = hook(arguments);
            if strict && arguments.last() == Some(&"--runner-root") {
                continue; // the flag would be its value
            }
            if strict {
                command.arg("--strict");
            }
            let assert = command.assert().code(code).stdout("");
            let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            assert!(
                stderr.starts_with("scale-in-guard: hook: "),
                "{arguments:?}: {stderr}"
            );
            assert_eq!(stderr.matches('\n').count(), 1, "{arguments:?}: {stderr}");
        }
    }
}

#[test]
fn its_help_is_no_mistake() {
    let assert = hook(&["--help"]).assert().success().stderr("");
    let stdout = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(stdout.contains("--strict"), "{stdout}");
}

#[cfg(unix)]
#[test]
fn nobody_to_tell_is_no_failure() {
    let program = assert_cmd::cargo::cargo_bin("scale-in-guard");
    let script = format!(
        "exec {} hook started --runner-root /missing 2>&-",
        program.display()
    );
    Command::new("sh").args(["-c", &script]).assert().success();
}
