//! Standard error, which may be closed or full: that must change no answer.

use std::{
    fmt,
    io::{self, Write},
};

/// Tells the person at the terminal. Where nobody can be told, nothing else changes.
pub(crate) fn tell(what: impl fmt::Display) {
    writeln!(io::stderr(), "{what}").ok();
}
