//! Scenarios from files and from standard input, with the place of every fault.

use scale_in_guard::replay::Scenario;
use std::{
    fs,
    io::{self, BufRead},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why a scenario could not be read.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// What is in it is no scenario.
    #[error("{}:{line}:{column}: {what}", .path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        column: usize,
        what: String,
    },
}

impl Fault {
    /// A fault in a line of standard input; one that is cut off may belong to a longer text.
    fn in_line(path: &Path, line: usize, error: &serde_json::Error) -> Self {
        let mut fault = Self::malformed(path, line, error);
        if let Self::Malformed { what, .. } = &mut fault
            && error.is_eof()
        {
            what.push_str(" (standard input holds one scenario a line; name a file to read one of many lines)");
        }
        fault
    }

    fn malformed(path: &Path, line: usize, error: &serde_json::Error) -> Self {
        let what = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self::Malformed {
            path: path.to_owned(),
            line,
            column: error.column().max(1),
            what: what.strip_suffix(&place).unwrap_or(&what).to_owned(),
        }
    }
}

/// Hands every scenario of `path` to `each`, or the fault in its place. `-` is standard input: JSON
/// Lines, a scenario a line, where a bad line spoils no other. A file holds one scenario, or several
/// after one another.
///
/// # Errors
/// Whatever `each` fails with: the rest is not read.
pub(crate) fn scenarios(
    path: &Path,
    mut each: impl FnMut(Result<Scenario, Fault>) -> io::Result<()>,
) -> io::Result<()> {
    if path == Path::new("-") {
        return lines(path, io::stdin().lock(), each);
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return each(Err(Fault::Unreadable {
                path: path.to_owned(),
                error,
            }));
        }
    };
    let mut found = false;
    for scenario in serde_json::Deserializer::from_slice(without_mark(&bytes)).into_iter() {
        found = true;
        each(scenario.map_err(|error| Fault::malformed(path, error.line().max(1), &error)))?;
    }
    if !found {
        each(Err(nothing(path)))?;
    }
    Ok(())
}

fn lines(
    path: &Path,
    mut input: impl BufRead,
    mut each: impl FnMut(Result<Scenario, Fault>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut found = false;
    for number in 1.. {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                return each(Err(Fault::Unreadable {
                    path: path.to_owned(),
                    error,
                }));
            }
        }
        let text = without_mark(&line).trim_ascii_end();
        if text.trim_ascii().is_empty() {
            continue;
        }
        found = true;
        each(serde_json::from_slice(text).map_err(|error| Fault::in_line(path, number, &error)))?;
    }
    if !found {
        each(Err(nothing(path)))?;
    }
    Ok(())
}

fn nothing(path: &Path) -> Fault {
    let what = "there is no scenario in it".to_owned();
    Fault::Malformed {
        path: path.to_owned(),
        line: 1,
        column: 1,
        what,
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}
