//! What the core costs. docs/performance.md has the numbers and the command.
#![allow(missing_docs, clippy::disallowed_methods, clippy::expect_used)] // a bench that cannot go on stops; criterion's macros write no docs

use chrono::TimeDelta;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scale_in_guard::{
    Decision, Engine, Memory, Policy, Runner,
    lease::Heartbeat,
    replay::Scenario,
    runner_log::{LogReader, parse},
};
use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};
use ten::{start, ten};

mod ten;

fn decisions(criterion: &mut Criterion) {
    let engine = Engine::new(Policy::default()).expect("the default policy");
    let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas").expect("a runner");
    for (name, occupied) in [("decide/hold", true), ("decide/terminate", false)] {
        let mut memory = Memory::default();
        let now = start() + TimeDelta::minutes(5);
        let _ = engine.decide(&runner, ten(start(), occupied), &mut memory, start());
        let evidence = ten(now, occupied);
        let decision = engine.decide(&runner, evidence.clone(), &mut memory.clone(), now);
        assert_eq!(
            matches!(decision, Decision::Hold(_)),
            occupied,
            "{}",
            decision.explain()
        );
        criterion.bench_function(name, |bencher| {
            // What is timed is the decision, not the making and dropping of what it is about.
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    let (evidence, mut memory) = (evidence.clone(), memory.clone());
                    let start = Instant::now();
                    let decision = engine.decide(&runner, evidence, &mut memory, now);
                    spent += start.elapsed();
                    let _ = black_box((decision, memory));
                }
                spent
            });
        });
    }
}

/// A log as a runner writes one: most lines mean nothing, one in eight concerns a lease.
fn log() -> String {
    let job = "8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21";
    let lines = [
        "[2026-05-14 02:00:49Z INFO JobDispatcher] Successfully renew job {job}, job is valid till 05/14/2026 02:10:49",
        "[2026-05-14 02:00:49Z INFO HostContext] Well known directory 'Root': '/home/runner'",
        "[2026-05-14 02:00:50Z INFO Terminal] WRITE LINE: 2026-05-14 02:00:50Z: Running job: Package & Publish",
        "[2026-05-14 02:00:50Z INFO ProcessInvokerWrapper]   Arguments: 'spawnclient 106 109'",
        "[2026-05-14 02:00:50Z INFO BrokerMessageListener] Received job status event. JobState: Busy",
        "[2026-05-14 02:00:51Z WARN BrokerServer] Back off 6.743 seconds before next retry. 4 attempt left.",
        "System.Threading.Tasks.TaskCanceledException: The operation was canceled.",
        "   at GitHub.Runner.Listener.JobDispatcher.RunAsync(AgentJobRequestMessage message, String orchestrationId)",
    ];
    let block = lines.join("\n").replace("{job}", job) + "\n";
    block.repeat(2_000)
}

fn log_lines(criterion: &mut Criterion) {
    let log = log();
    let mut group = criterion.benchmark_group("runner_log");
    group.throughput(Throughput::Bytes(log.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            log.lines()
                .filter_map(|line| parse(black_box(line)))
                .count()
        });
    });
    group.bench_function("fold", |bencher| {
        let policy = Policy::default();
        bencher.iter(|| {
            let mut reader = LogReader::default();
            let mut beacon = Heartbeat::new(start());
            for line in log.lines() {
                beacon.hear(reader.read(black_box(line)), start(), &policy);
            }
            beacon
        });
    });
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/desync-incident-1.json");
    let text = fs::read_to_string(path).expect("the mission's first incident");
    criterion.bench_function("replay/incident-1", |bencher| {
        bencher.iter(|| {
            let scenario: Scenario = serde_json::from_str(black_box(&text)).expect("a scenario");
            scenario.play().expect("the default policy").kills()
        });
    });
}

criterion_group!(benches, decisions, log_lines, replay);
criterion_main!(benches);
