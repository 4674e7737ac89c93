//! Linux's `/proc`.

use super::{RootProcesses, RunnerRoot};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How much of a command line is read. The program's path comes first.
const START: u64 = 16 * 1024;

/// How many words of a command line may be the program's path, where an emulator runs it.
const WORDS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Listener,
    Worker,
}

impl Role {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"Runner.Listener" => Some(Self::Listener),
            b"Runner.Worker" => Some(Self::Worker),
            _ => None,
        }
    }

    fn of(program: &Path) -> Option<Self> {
        Self::named(program.file_name()?.as_bytes())
    }
}

/// A runner's process.
struct Found {
    role: Role,
    /// Its program, where anything tells.
    program: Option<PathBuf>,
}

/// Where a runner's programs are.
struct Home {
    /// Its folder as it was given, and without links.
    paths: [PathBuf; 2],
    /// Its `bin`, which may be a link that leads out of its folder.
    bin: Option<PathBuf>,
}

impl Home {
    fn of(root: &RunnerRoot) -> Self {
        let given = root.path().to_owned();
        let real = fs::canonicalize(&given).unwrap_or_else(|_| given.clone());
        Self {
            bin: fs::canonicalize(real.join("bin")).ok(),
            paths: [given, real],
        }
    }

    /// Whether the program is `bin*/…` in this runner's folder. A self-update makes a `bin.2.336.0`.
    fn holds(&self, program: &Path) -> bool {
        let Some(folder) = program.parent() else {
            return false;
        };
        let is_bin = |name: &OsStr| name.as_bytes().starts_with(b"bin");
        let in_root = folder.file_name().is_some_and(is_bin)
            && (folder.parent()).is_some_and(|root| self.paths.iter().any(|path| path == root));
        in_root || self.bin.as_deref() == Some(folder)
    }
}

/// `None` when the processes cannot be listed: then nothing is known.
pub(super) fn scan<'a>(
    proc: &Path,
    roots: impl IntoIterator<Item = &'a RunnerRoot>,
) -> Option<Vec<(PathBuf, RootProcesses)>> {
    let mut seen: Vec<(&RunnerRoot, Home, RootProcesses)> = roots
        .into_iter()
        .map(|root| (root, Home::of(root), RootProcesses::default()))
        .collect();
    let mut any = false;
    for entry in fs::read_dir(proc).ok()? {
        let entry = entry.ok()?;
        if !entry.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        any = true;
        let folder = entry.path();
        let Some(Found { role, program }) = look_at(&folder) else {
            continue;
        };
        if is_over(&folder) {
            continue;
        }
        let Some(program) = program else {
            if role == Role::Worker {
                for (_, _, of_root) in &mut seen {
                    of_root.unattributed_worker = true;
                }
            }
            continue;
        };
        let homes = seen.iter().filter(|(_, home, _)| home.holds(&program));
        let is_shared = homes.count() > 1;
        for (_, home, of_root) in &mut seen {
            match role {
                _ if !home.holds(&program) => {}
                Role::Worker => of_root.worker = true,
                // Of runners that share a `bin`, it is one's only: it proves nothing about the others.
                Role::Listener => {
                    of_root.listener |= !is_shared;
                    of_root.log_deleted |= !is_shared && writes_to_a_deleted_log(&folder);
                }
            }
        }
    }
    // We are a process ourselves: where there is none, that is no list of processes.
    any.then(|| {
        seen.into_iter()
            .map(|(root, _, of_root)| (root.path().to_owned(), of_root))
            .collect()
    })
}

/// Whether a listener has a page of its log open that is not there any more: what it writes, nobody can read. Its
/// files are shown to its own user alone; where they are not, nothing is known.
fn writes_to_a_deleted_log(folder: &Path) -> bool {
    let files = fs::read_dir(folder.join("fd")).into_iter().flatten();
    let mut open = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    open.any(|path| {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let is_log = path
            .parent()
            .is_some_and(|folder| folder.ends_with("_diag"));
        is_log && name.starts_with(b"Runner_") && name.ends_with(b"-utc.log (deleted)")
    })
}

/// A runner's process, by its program's link, its command line, or its bare name. What vanishes meanwhile is none.
fn look_at(folder: &Path) -> Option<Found> {
    let link = fs::read_link(folder.join("exe")).ok().map(undeleted);
    let by_link = link.as_deref().and_then(Role::of);
    // A program outside of what we can reach has no place: "(unreachable)/…".
    let program = link.filter(|program| program.is_absolute());
    if let (Some(role), Some(_)) = (by_link, &program) {
        return Some(Found { role, program });
    }
    let comm = start_of(&folder.join("comm")).unwrap_or_default();
    let by_name = Role::named(comm.trim_ascii_end());
    if program.is_some() && by_name.is_none() {
        return None;
    }
    let line = start_of(&folder.join("cmdline")).unwrap_or_default();
    let words = match by_name {
        Some(_) => WORDS,
        None => 1,
    };
    let words = || line.split(|&byte| byte == 0).take(words);
    let by_word = |word: &[u8]| {
        let path = Path::new(OsStr::from_bytes(word));
        Some((Role::of(path)?, path.to_owned()))
    };
    let named = words()
        .filter_map(by_word)
        .find(|(_, path)| path.is_absolute());
    if let Some((role, path)) = named {
        return Some(Found {
            role,
            program: Some(without_links(path)),
        });
    }
    if program.is_some() {
        return None; // another program that bears the name
    }
    let role = by_link
        .or(by_name)
        .or_else(|| words().find_map(by_word).map(|(role, _)| role))?;
    Some(Found {
        role,
        program: None,
    })
}

/// The link of a program whose file was deleted says so at its end: a self-update does that.
fn undeleted(link: PathBuf) -> PathBuf {
    match link.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => link,
    }
}

fn without_links(program: PathBuf) -> PathBuf {
    let real = |program: &Path| {
        let folder = fs::canonicalize(program.parent()?).ok()?;
        Some(folder.join(program.file_name()?))
    };
    real(&program).unwrap_or(program)
}

/// Whether it has ended, and only its parent has not asked how.
fn is_over(folder: &Path) -> bool {
    match start_of(&folder.join("stat")) {
        // "pid (name) state …", where the name may hold anything.
        Ok(stat) => {
            let after_name = stat.rsplit(|&byte| byte == b')').next();
            let state = after_name.and_then(|rest| rest.trim_ascii_start().first());
            matches!(state, Some(b'Z' | b'X' | b'x'))
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(start)
}
