#![cfg(unix)]

use super::*;
use std::{fs, os::unix::fs::symlink};
use tempfile::TempDir;

/// A host with runners and processes.
struct Host {
    folder: TempDir,
    pids: u32,
}

const NONE: RootProcesses = RootProcesses {
    listener: false,
    worker: false,
    unattributed_worker: false,
    log_deleted: false,
};
const LISTENER: RootProcesses = RootProcesses {
    listener: true,
    ..NONE
};
const WORKER: RootProcesses = RootProcesses {
    worker: true,
    ..NONE
};
const ANYBODYS: RootProcesses = RootProcesses {
    unattributed_worker: true,
    ..NONE
};

/// What `/proc` shows of one process. An `exe` that is empty cannot be read.
struct Shown<'a> {
    exe: &'a str,
    comm: &'a str,
    cmdline: &'a str,
    state: char,
}

const WORKS: Shown<'static> = Shown {
    exe: "",
    comm: "Runner.Worker",
    cmdline: "",
    state: 'S',
};

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        let mut host = Self { folder, pids: 0 };
        host.runs("/sbin/init");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(path)
    }

    fn runner(&self, name: &str) -> RunnerRoot {
        let root = self.path(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("run.sh"), "").unwrap();
        RunnerRoot::open(root).unwrap()
    }

    fn shows(&mut self, shown: &Shown<'_>) -> u32 {
        self.pids += 1;
        let folder = self.path("proc").join(self.pids.to_string());
        fs::create_dir(&folder).unwrap();
        if !shown.exe.is_empty() {
            symlink(shown.exe, folder.join("exe")).unwrap();
        }
        fs::write(folder.join("comm"), format!("{}\n", shown.comm)).unwrap();
        fs::write(folder.join("cmdline"), shown.cmdline).unwrap();
        let stat = format!("{} (a) S (b) {} 1 2 3", self.pids, shown.state);
        fs::write(folder.join("stat"), stat).unwrap();
        self.pids
    }

    /// A process of which everything can be read.
    fn runs(&mut self, exe: &str) -> u32 {
        let comm = exe.rsplit('/').next().unwrap().to_owned();
        self.shows(&Shown {
            exe,
            comm: &comm,
            cmdline: &format!("{exe}\0run\0"),
            state: 'S',
        })
    }

    fn seen(&self, roots: &[&RunnerRoot]) -> Vec<RootProcesses> {
        let processes = Processes::scan_in(&self.path("proc"), roots.iter().copied());
        let of = |root| processes.of(root).unwrap();
        roots.iter().map(|root| of(root)).collect()
    }

    fn at(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }
}

#[test]
fn each_runner_has_its_own_processes() {
    let mut host = Host::new();
    let (a, ab, c) = (host.runner("a"), host.runner("ab"), host.runner("c"));
    host.runs(&host.at("a/bin/Runner.Listener"));
    host.runs(&host.at("ab/bin.2.336.0/Runner.Worker"));
    host.runs(&host.at("c/bin/Runner.PluginHost"));
    host.runs(&host.at("c/externals/Runner.Worker"));
    host.runs(&host.at("c/bin/deeper/Runner.Worker"));
    host.runs(&host.at("c/_work/bin/Runner.Worker"));
    host.runs("/elsewhere/bin/Runner.Worker");
    assert_eq!(host.seen(&[&a, &ab, &c]), [LISTENER, WORKER, NONE]);
}

#[test]
fn a_program_that_a_self_update_deleted_still_runs() {
    let mut host = Host::new();
    let a = host.runner("a");
    host.runs(&(host.at("a/bin.2.300.0/Runner.Worker") + " (deleted)"));
    assert_eq!(host.seen(&[&a]), [WORKER]);
}

#[test]
fn links_are_followed() {
    let mut host = Host::new();
    let real = host.runner("real");
    symlink(host.path("real"), host.path("link")).unwrap();
    let link = RunnerRoot::open(host.path("link")).unwrap();
    // Its `bin` leads out of its folder.
    let split = host.runner("split");
    fs::remove_dir(host.path("split/bin")).unwrap();
    fs::create_dir(host.path("programs")).unwrap();
    symlink(host.path("programs"), host.path("split/bin")).unwrap();

    let pid = host.runs(&host.at("real/bin/Runner.Worker"));
    assert_eq!(host.seen(&[&real, &link, &split]), [WORKER, WORKER, NONE]);
    fs::remove_dir_all(host.path("proc").join(pid.to_string())).unwrap();

    // By its command line, where its program's link cannot be read.
    let cmdline = host.at("link/bin/Runner.Worker") + "\0spawnclient\0";
    let pid = host.shows(&Shown {
        cmdline: &cmdline,
        ..WORKS
    });
    assert_eq!(host.seen(&[&real, &link, &split]), [WORKER, WORKER, NONE]);
    fs::remove_dir_all(host.path("proc").join(pid.to_string())).unwrap();

    host.runs(&host.at("programs/Runner.Worker"));
    assert_eq!(host.seen(&[&real, &link, &split]), [NONE, NONE, WORKER]);
}

#[test]
fn a_listener_of_programs_that_two_share_proves_nothing() {
    let mut host = Host::new();
    let (a, b) = (host.runner("a"), host.runner("b"));
    fs::create_dir(host.path("programs")).unwrap();
    for root in ["a/bin", "b/bin"] {
        fs::remove_dir(host.path(root)).unwrap();
        symlink(host.path("programs"), host.path(root)).unwrap();
    }
    host.runs(&host.at("programs/Runner.Listener"));
    assert_eq!(host.seen(&[&a, &b]), [NONE, NONE]);
    host.runs(&host.at("programs/Runner.Worker"));
    assert_eq!(host.seen(&[&a, &b]), [WORKER, WORKER]);
}

#[test]
fn a_worker_of_which_nothing_tells_could_be_anybodys() {
    for (exe, comm, cmdline, found) in [
        ("", "Runner.Worker", "", ANYBODYS),
        ("", "Runner.Worker", "./bin/Runner.Worker\0a\0", ANYBODYS),
        ("", ".NET TP", "Runner.Worker\0a\0", ANYBODYS),
        ("(unreachable)/bin/Runner.Worker", "a", "", ANYBODYS),
        ("", "Runner.Worker", "/elsewhere/bin/Runner.Worker\0", NONE),
        ("/usr/bin/python3", "Runner.Worker", "python3\0", NONE),
        ("", "Runner.Listener", "", NONE),
        ("", "vim", "vim\0Runner.Worker\0", NONE),
        ("", "kworker/0:1", "", NONE),
    ] {
        let mut host = Host::new();
        let (a, b) = (host.runner("a"), host.runner("b"));
        let state = 'S';
        let shown = Shown {
            exe,
            comm,
            cmdline,
            state,
        };
        host.shows(&shown);
        assert_eq!(
            host.seen(&[&a, &b]),
            [found, found],
            "{exe} {comm} {cmdline}"
        );
    }
}

#[test]
fn an_emulator_runs_a_worker() {
    let mut host = Host::new();
    let a = host.runner("a");
    let cmdline = format!(
        "/usr/bin/qemu-aarch64\0{}\0",
        host.at("a/bin/Runner.Worker")
    );
    let exe = "/usr/bin/qemu-aarch64";
    host.shows(&Shown {
        exe,
        cmdline: &cmdline,
        ..WORKS
    });
    assert_eq!(host.seen(&[&a]), [WORKER]);
}

#[test]
fn a_zombie_is_no_process() {
    let mut host = Host::new();
    let a = host.runner("a");
    let exe = &host.at("a/bin/Runner.Worker");
    for state in ['Z', 'X', 'x'] {
        host.shows(&Shown { state, ..WORKS });
        host.shows(&Shown {
            exe,
            state,
            ..WORKS
        });
    }
    assert_eq!(host.seen(&[&a]), [NONE]);
    for state in ['R', 'D', 'T'] {
        let pid = host.shows(&Shown {
            exe,
            state,
            ..WORKS
        });
        assert_eq!(host.seen(&[&a]), [WORKER], "{state}");
        fs::remove_dir_all(host.path("proc").join(pid.to_string())).unwrap();
    }
    // Gone between two reads.
    let pid = host.shows(&Shown { exe, ..WORKS });
    fs::remove_file(host.path("proc").join(pid.to_string()).join("stat")).unwrap();
    assert_eq!(host.seen(&[&a]), [NONE]);
}

#[test]
fn where_no_process_is_listed_nothing_is_known() {
    let host = Host::new();
    let a = host.runner("a");
    let b = host.runner("b");
    let missing = Processes::scan_in(&host.path("missing"), [&a]);
    assert_eq!(missing.of(&a), None);
    let empty = Processes::scan_in(&host.path("a"), [&a]);
    assert_eq!(empty.of(&a), None);
    assert_eq!(Processes::unknown().of(&a), None);
    let other = Processes::scan_in(&host.path("proc"), [&b]);
    assert_eq!((other.of(&a), other.of(&b)), (None, Some(NONE)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_real_process_is_seen_until_it_is_gone() {
    let host = Host::new();
    let (a, b) = (host.runner("a"), host.runner("b"));
    let program = host.path("a/bin/Runner.Worker");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = loop {
        // Another test's fork may hold the copy open for writing.
        match std::process::Command::new(&program).arg("600").spawn() {
            Ok(child) => break child,
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            Err(error) => panic!("{error}"),
        }
    };
    let look = || {
        let processes = Processes::scan([&a, &b]);
        (
            processes.of(&a).unwrap().worker,
            processes.of(&b).unwrap().worker,
        )
    };
    let running = look();
    fs::remove_file(&program).unwrap();
    let deleted = look();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((running, deleted), ((true, false), (true, false)));
    assert_eq!(look(), (false, false));
}

#[test]
fn a_listener_that_writes_to_a_page_that_was_deleted_is_noticed() {
    let mut host = Host::new();
    let root = host.runner("r-1");
    let exe = root.path().join("bin/Runner.Listener");
    let pid = host.shows(&Shown {
        exe: exe.to_str().unwrap(),
        comm: "Runner.Listener",
        ..WORKS
    });
    let seen = |host: &Host| {
        Processes::scan_in(&host.path("proc"), [&root])
            .of(&root)
            .unwrap()
    };
    // Its files are not shown to us.
    assert!(seen(&host).listener && !seen(&host).log_deleted);
    let files = host.path("proc").join(pid.to_string()).join("fd");
    fs::create_dir(&files).unwrap();
    let page = root.path().join("_diag/Runner_20260514-020000-utc.log");
    symlink(&page, files.join("20")).unwrap();
    let other = root
        .path()
        .join("_diag/Worker_20260514-020000-utc.log (deleted)");
    symlink(other, files.join("21")).unwrap();
    assert!(!seen(&host).log_deleted);
    symlink(format!("{} (deleted)", page.display()), files.join("22")).unwrap();
    assert!(seen(&host).log_deleted);
}
