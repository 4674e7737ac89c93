//! Runners from a file of JSON Lines.

use crate::Fault;
use chrono::{DateTime, Utc};
use scale_in_guard::{
    Runner, Scope,
    runner::{RunnerId, RunnerName},
};
use serde::Deserialize;
use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    sync::Arc,
};

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: RunnerName,
    id: Option<u64>,
    launched_at: Option<DateTime<Utc>>,
    #[serde(default)]
    labels: Vec<Arc<str>>,
    ephemeral: Option<bool>,
}

/// The runners of a file, and what is wrong with the lines that are none.
pub(crate) struct Runners {
    pub(crate) runners: Vec<Runner>,
    pub(crate) faults: Vec<String>,
}

/// Reads the runners of a scope from `path`; `-` is standard input. A bad line spoils no other.
///
/// # Errors
/// When the file cannot be read at all.
pub(crate) fn read(path: &Path, scope: &Scope) -> Result<Runners, Fault> {
    let unreadable = |error: io::Error| format!("{}: {error}", path.display());
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let mut runners = Vec::new();
    let mut faults = Vec::new();
    let mut lines = HashMap::new();
    for (index, line) in input.split(b'\n').enumerate() {
        let line = line.map_err(unreadable)?;
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let number = index + 1;
        let fault = |what: String| format!("{}:{number}: {what}", path.display());
        match serde_json::from_slice::<Line>(line) {
            Ok(line) => match lines.entry(line.name.clone()) {
                Entry::Vacant(free) => {
                    free.insert(number);
                    runners.push(line.of(scope));
                }
                Entry::Occupied(first) => faults.push(fault(format!(
                    "{} stands in line {} already",
                    line.name,
                    first.get()
                ))),
            },
            Err(error) => faults.push(fault(plainly(&error))),
        }
    }
    Ok(Runners { runners, faults })
}

/// What is wrong, and in which column; the line is that of the file.
fn plainly(error: &serde_json::Error) -> String {
    let what = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match what.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => what,
    }
}

impl Line {
    fn of(self, scope: &Scope) -> Runner {
        Runner {
            name: self.name,
            id: self.id.map(RunnerId),
            scope: scope.clone(),
            launched_at: self.launched_at,
            labels: self.labels,
            ephemeral: self.ephemeral,
        }
    }
}
