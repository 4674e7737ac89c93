//! `replay`: incidents, played.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on stops

use assert_cmd::Command;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn guard() -> Command {
    Command::cargo_bin("scale-in-guard").expect("the program")
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenarios")
        .join(name)
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str], input: &str) -> Ran {
    let output = guard()
        .args(arguments)
        .write_stdin(input)
        .output()
        .expect("it runs");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// A scenario of one ask, which expects `verdict`.
fn story(name: &str, verdict: &str) -> Value {
    json!({
        "scenario": name,
        "runner": {"name": "r-1", "scope": "org:acme"},
        "timeline": [
            {"at": "2026-05-14T02:00:00Z", "registration": {"busy": false, "status": "online"}},
            {"at": "2026-05-14T02:00:01Z", "ask": {"expect": verdict}},
        ],
    })
}

#[test]
fn the_incidents_are_told_line_by_line() {
    let ran = run(&["replay", path(&scenario("desync-incident-2.json"))], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for said in [
        "busy: false, online  ◄ LIES: the runner has a job",
        "terminate ✗ kills the job",
        "· lease_live: the lease of job 5a9c6e18-e2d3-5f47-8b61-7c0f9d3a1b43 is live until 2026-05-14T02:10:00Z",
        "would have killed the job at 2026-05-14 02:00:11Z, and again at 2026-05-14 02:05:11Z; the guard killed none.",
        "every expectation met",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "no colours in a pipe");
    assert_eq!(ran.err, "", "quiet in a pipe");
}

#[test]
fn json_is_one_line_an_ask_and_one_a_scenario() {
    let ran = run(
        &[
            "replay",
            "--json",
            path(&scenario("desync-incident-2.json")),
        ],
        "",
    );
    assert_eq!(ran.code, Some(0));
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (last, asks) = lines.split_last().expect("lines");
    assert_eq!(
        *last,
        json!({"scenario": "desync-incident-2", "asks": 5, "kills": 0, "unmet": 0})
    );
    assert_eq!(asks.len(), 5);
    let keys: Vec<_> = asks[1].as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["at", "reasons", "retry_at", "scenario", "truth", "verdict"]
    );
    assert_eq!(asks[1]["verdict"], "hold");
    assert_eq!(asks[1]["truth"], "occupied");
    assert_eq!(asks[1]["at"], "2026-05-14T02:00:11Z");
    let codes: Vec<_> = asks[1]["reasons"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reason| &reason["code"])
        .collect();
    assert!(codes.contains(&&json!("lease_live")), "{codes:?}");
    assert_eq!(asks[4]["verdict"], "terminate");
    assert_eq!(asks[4]["reasons"], json!([]));
    assert_eq!(asks[4]["retry_at"], Value::Null);
}

#[test]
fn what_is_unmet_exits_with_1() {
    let input = format!("{}\n", story("impatient", "terminate"));
    let ran = run(&["replay", "-"], &input);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out.contains("the scenario demands: terminate"),
        "{}",
        ran.out
    );
}

#[test]
fn a_faulty_line_is_named_and_the_others_are_played() {
    let good = story("good", "hold");
    let input = format!("{good}\n\n{{\"scenario\": \"cut\n{good}\n");
    let ran = run(&["replay", "--json", "-"], &input);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.out
            .lines()
            .filter(|line| line.contains("\"kills\""))
            .count(),
        2
    );
    assert!(ran.err.starts_with("-:3:"), "{}", ran.err);
}

#[test]
fn a_fault_in_a_file_is_named_by_file_line_and_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.json");
    let shown = path(&file);
    let whole = serde_json::to_string_pretty(&story("x", "hold")).expect("JSON");
    for (broken, place, says) in [
        (String::new(), "1:1", "no scenario"),
        (
            whole.replace("\"org:acme\"", "\"team:acme\""),
            "5:",
            "no scope",
        ),
        (
            whole.replace("\"ask\"", "\"asks\""),
            "",
            "unknown field `asks`",
        ),
        (whole.replace("02:00:01", "01:59:59"), "", "not sorted"),
        (whole.replace("\"online\"", "\"napping\""), "", "online"),
        (
            whole.replace("\"hold\"", "\"maybe\""),
            "",
            "unknown variant `maybe`",
        ),
        (
            whole.replace(
                "\"timeline\"",
                "\"policy\": {\"grcae\": \"1m\"}, \"timeline\"",
            ),
            "",
            "grcae",
        ),
        (
            whole.replace(
                "\"timeline\"",
                "\"policy\": {\"grace\": \"-1m\"}, \"timeline\"",
            ),
            "",
            "grace: ",
        ),
        (
            whole.replace(
                "\"timeline\"",
                "\"policy\": {\"grace\": \"1h\", \"max_observation_gap\": \"5m\"}, \"timeline\"",
            ),
            "",
            "max_observation_gap (5m) and grace (1h)",
        ),
        (
            whole.replace("\"timeline\"", "\"witnesses\": [\"oracle\"], \"timeline\""),
            "",
            "unknown variant `oracle`",
        ),
        (
            whole.replace(
                "{\n        \"expect\": \"hold\"\n      }",
                "{}, \"log\": []",
            ),
            "",
            "exactly one of",
        ),
    ] {
        fs::write(&file, broken).expect("a file");
        let ran = run(
            &["replay", shown, path(&scenario("desync-incident-1.json"))],
            "",
        );
        assert_eq!(ran.code, Some(2), "{says}");
        assert!(
            ran.err.starts_with(&format!("{shown}:{place}")),
            "{says}: {}",
            ran.err
        );
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert!(
            ran.out.contains("desync-incident-1"),
            "the others are still played"
        );
    }
}

#[test]
fn what_is_no_text_or_no_file_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("binary.json");
    fs::write(&file, [0xff, 0xfe, 0x00]).expect("a file");
    let ran = run(&["replay", path(&file)], "");
    assert_eq!(ran.code, Some(2));
    let missing = folder.path().join("missing.json");
    let ran = run(&["replay", path(&missing)], "");
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("missing.json: cannot be read"),
        "{}",
        ran.err
    );
    assert_eq!(run(&["replay"], "").code, Some(2), "no file at all");
    assert_eq!(
        run(&["replay", "-"], "").code,
        Some(2),
        "nothing on standard input"
    );
}

#[test]
fn a_file_may_hold_several_scenarios_and_a_mark() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("several.jsonl");
    fs::write(
        &file,
        format!("\u{feff}{}\n{}\n", story("a", "hold"), story("b", "hold")),
    )
    .expect("a file");
    let ran = run(&["replay", path(&file)], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("2 scenarios, 2 asks"), "{}", ran.out);
}

#[test]
fn the_page_is_written_and_stands_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("story.html");
    let ran = run(
        &[
            "replay",
            "--html",
            path(&page),
            path(&scenario("desync-incident-2.json")),
        ],
        "",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let html = fs::read_to_string(&page).expect("a page");
    assert!(
        html.starts_with("<!") && html.contains("desync-incident-2") && html.contains("lease_live")
    );
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn the_page_never_overwrites_a_scenario() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.json");
    let text = story("mine", "hold").to_string();
    fs::write(&file, &text).expect("a file");
    let ran = run(&["replay", "--html", path(&file), path(&file)], "");
    assert_eq!(ran.code, Some(2));
    assert_eq!(fs::read_to_string(&file).expect("the file"), text);
}

#[test]
fn nothing_that_a_scenario_writes_steers_the_terminal() {
    let mut told = story("\u{1b}]0;title\u{7}", "hold");
    told["about"] = "\u{1b}[2J\u{202e}".into();
    told["timeline"] = json!([
        {"at": "2026-05-14T02:00:00Z", "truth": {"job": "\u{9b}31m", "state": "started"}},
        {"at": "2026-05-14T02:00:00Z", "lease": {"job": "x\nforged line", "renewed_at": "2026-05-14T02:00:00Z"}},
        {"at": "2026-05-14T02:00:01Z", "ask": {}},
    ]);
    let ran = run(&["replay", "-"], &format!("{told}\n"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!ran.out.contains(steers), "{:?}", ran.out);
    assert!(
        !ran.out.lines().any(|line| line.starts_with("forged")),
        "{}",
        ran.out
    );
}

#[test]
fn repeats_without_end_are_refused() {
    let mut told = story("beats", "hold");
    let until = "2026-05-14T12:00:00Z";
    for (every, says) in [("1ns", "1ms"), ("1ms", "reports")] {
        told["timeline"][0] = json!({"at": "2026-05-14T02:00:00Z", "lease": {"listening": true, "every": every, "until": until}});
        let ran = run(&["replay", "-"], &format!("{told}\n"));
        assert_eq!(ran.code, Some(2));
        assert!(
            ran.err.contains("every: ") && ran.err.contains(says),
            "{}",
            ran.err
        );
    }
    let beat = json!({"at": "2026-05-14T02:00:00Z", "lease": {"listening": true, "every": "1s", "until": "2026-05-20T02:00:00Z"}});
    told["timeline"] = vec![beat; 3].into();
    let ran = run(&["replay", "-"], &format!("{told}\n"));
    assert_eq!(ran.code, Some(2), "the limit is the scenario's");
}

#[test]
fn a_pretty_scenario_on_standard_input_is_told_where_it_belongs() {
    let pretty = serde_json::to_string_pretty(&story("x", "hold")).expect("JSON");
    let ran = run(&["replay", "-"], &pretty);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("one scenario a line"), "{}", ran.err);
}

#[test]
fn help_says_what_the_exit_status_means() {
    let ran = run(&["replay", "--help"], "");
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("Exit status: 0"), "{}", ran.out);
}
