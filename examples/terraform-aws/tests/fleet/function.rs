//! The built function as a process, under a Lambda of its own.

use scale_in_guard::testing::{FakeLambda, Invocation};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

pub(crate) struct Function {
    process: Child,
    lambda: FakeLambda,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

/// The timeout that the module gives its own scale-down.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

impl Function {
    pub(crate) async fn start(variables: &BTreeMap<String, String>) -> Self {
        let lambda = FakeLambda::start().await.expect("a port");
        let mut process = Command::new(env!("CARGO_BIN_EXE_scale-down"))
            .env_clear()
            .envs(lambda.environment())
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the function");
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (lines, written) = (process.stdout.take().expect("its log"), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line);
                let line =
                    line.unwrap_or_else(|error| panic!("{error}: no JSON on a line of its own"));
                written.lock().unwrap().push(line);
            }
        });
        Self {
            process,
            lambda,
            log,
            reader: Some(reader),
        }
    }

    pub(crate) async fn invoke(&self, timeout: Duration) -> Invocation {
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        self.lambda.invoke(event, timeout).await
    }

    /// One round: its summary. All that it logged is there then.
    pub(crate) async fn round(&self) -> Value {
        self.round_within(MINUTE).await
    }

    pub(crate) async fn round_within(&self, timeout: Duration) -> Value {
        let before = self.summaries();
        match self.invoke(timeout).await {
            Invocation::Answered(summary) => {
                while self.summaries() == before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                summary
            }
            other => panic!("{other:?}; the log: {:#?}", self.log()),
        }
    }

    /// How many rounds have logged their last line.
    fn summaries(&self) -> usize {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|line| line["message"] == "summary")
            .count()
    }

    /// Ends it: all that it logged.
    pub(crate) fn end(mut self) -> Vec<Value> {
        self.process.kill().ok();
        drop(self.reader.take().map(JoinHandle::join));
        self.log()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// The last line about an instance.
    pub(crate) fn last(&self, instance: &str) -> Option<Value> {
        let mut lines = self.log().into_iter().rev();
        lines.find(|line| line["message"] == "instance" && line["instance"] == instance)
    }

    /// Kills it on the spot, as nothing of its own can tell.
    pub(crate) fn kill(mut self) {
        self.process.kill().ok();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
