//! Runners from a file of JSON Lines.

use crate::Fault;
use chrono::{DateTime, Utc};
use scale_in_guard::{
    Runner, Scope,
    instance::InstanceId,
    runner::{RunnerId, RunnerName},
};
use serde::Deserialize;
use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

/// No runner needs more, in bytes; a file without line ends is none.
const LONGEST_LINE: usize = 64 << 10;

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
    instance: Option<InstanceId>,
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
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let mut runners = Vec::new();
    let mut faults = Vec::new();
    let mut lines = HashMap::new();
    for number in 1.. {
        let fault = |what: String| format!("{}:{number}: {what}", path.display());
        let Some(line) = read_line(&mut *input).map_err(unreadable)? else {
            break;
        };
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line);
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if line.len() > LONGEST_LINE {
            faults.push(fault(format!("longer than {LONGEST_LINE} bytes")));
            continue;
        }
        if !line.starts_with(b"{") {
            faults.push(fault(
                "no JSON object such as {\"name\": \"r-1\"}".to_owned(),
            ));
            continue;
        }
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

/// Reads a line, of one that is too long only as much as shows that.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let longest = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    let read = (&mut *input)
        .take(longest + 2)
        .read_until(b'\n', &mut line)?;
    if read > LONGEST_LINE && !line.ends_with(b"\n") {
        skip_line(input)?;
    }
    Ok((read > 0).then_some(line))
}

/// Skips what is left of a line, without keeping it.
fn skip_line(input: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (skipped, is_over) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(skipped);
        if is_over {
            return Ok(());
        }
    }
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
            instance: self.instance,
        }
    }
}
