//! The person at the terminal: who it is, what is said, and standard error, which may be closed or full: that must
//! change no answer.

use std::{
    env, fmt,
    io::{self, Write},
};

/// Tells the person at the terminal. Where nobody can be told, nothing else changes.
pub(crate) fn tell(what: impl fmt::Display) {
    writeln!(io::stderr(), "{what}").ok();
}

/// Prints what was done. Where that cannot be printed it is told, and done all the same: nothing else changes.
pub(crate) fn print_done(what: &str) {
    let mut out = anstream::stdout().lock();
    let printed = out.write_all(what.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = printed {
        tell(format_args!(
            "scale-in-guard: it is done, but cannot be printed: {error}"
        ));
    }
}

/// One line that says something: it stands in a list.
pub(crate) fn words(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say something".to_owned()),
        text if text.chars().any(char::is_control) => Err("write it in one line".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The user's name.
pub(crate) fn user() -> String {
    let named = ["USER", "LOGNAME", "USERNAME"];
    let mut given = named.iter().filter_map(|name| env::var(name).ok());
    // One that says nothing names nobody.
    let user = given.find_map(|name| words(&name).ok());
    user.unwrap_or_else(|| "unknown".to_owned())
}
