//! A runner's host: its folder, its log as the runner writes it, and a process that stands for its listener.

use scale_in_guard::{
    clock::{Clock, SystemClock},
    time::Instant,
};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// How long a renewed lease is valid, as GitHub's server has it.
const LEASE: chrono::TimeDelta = chrono::TimeDelta::seconds(600);

/// One host, on which one runner after another is installed.
pub(crate) struct Host {
    root: PathBuf,
    page: Option<File>,
    listener: Option<Child>,
}

pub(crate) fn now() -> Instant {
    SystemClock.now()
}

/// The program that stands for a listener: it does nothing, and costs next to nothing.
pub(crate) fn idle_program(folder: &Path) -> PathBuf {
    let program = folder.join("listener");
    fs::copy("/bin/sleep", &program).expect("/bin/sleep");
    program
}

impl Host {
    /// A host without a runner. `idle` is the program of its listener, in the same file system.
    pub(crate) fn new(root: PathBuf, idle: &Path) -> Self {
        fs::create_dir_all(root.join("bin")).expect("a folder");
        fs::hard_link(idle, root.join("bin/Runner.Listener")).expect("a listener");
        Self {
            root,
            page: None,
            listener: None,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A new runner is installed, and listens: nothing is left of the one before.
    pub(crate) fn boot(&mut self, name: &str, id: u64) {
        self.shut_down();
        self.install(name, id);
        let listener = Command::new(self.root.join("bin/Runner.Listener"))
            .arg0("sleep")
            .arg("3600")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.listener = Some(listener.expect("it starts"));
    }

    /// The host is gone; its beacon has nobody to report any more.
    pub(crate) fn vanish(&mut self, place: usize) {
        self.shut_down();
        self.install(&format!("nobody-{place}"), 0);
    }

    fn install(&mut self, name: &str, id: u64) {
        let diag = self.root.join("_diag");
        if diag.exists() {
            fs::remove_dir_all(&diag).expect("the old log");
        }
        fs::create_dir(&diag).expect("a folder");
        let page = now().format("Runner_%Y%m%d-%H%M%S-utc.log").to_string();
        self.page = Some(File::create(diag.join(page)).expect("a page"));
        self.write(&[
            ("Listener", "Version: 2.336.0".to_owned()),
            ("BrokerMessageListener", "Session created.".to_owned()),
            ("Terminal", terminal("Listening for Jobs")),
        ]);
        // Last, and at once: whoever reads it finds the new log.
        let settings = format!(
            "{{\"agentId\": {id}, \"agentName\": \"{name}\", \"gitHubUrl\": \"https://github.com/acme\"}}"
        );
        let new = self.root.join(".runner.new");
        fs::write(&new, settings).expect("the settings");
        fs::rename(new, self.root.join(".runner")).expect("the settings");
    }

    fn shut_down(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            listener.kill().expect("it is killed");
            listener.wait().expect("it ends");
        }
    }

    /// A job arrives, and is sent to its worker.
    pub(crate) fn job_starts(&mut self, job: &str) {
        let plan = "7d9f2c10-0000-5000-a000-000000000000";
        self.write(&[
            (
                "JobDispatcher",
                format!("Job request 0 for plan {plan} job {job} received."),
            ),
            ("Terminal", terminal("Running job: build")),
            (
                "JobDispatcher",
                format!("Start renew job request 0 for job {job}."),
            ),
        ]);
        self.lease_renewed(job);
        self.write(&[(
            "JobDispatcher",
            format!("Send job request message to worker for job {job}."),
        )]);
    }

    pub(crate) fn lease_renewed(&mut self, job: &str) {
        let until = (now() + LEASE).format("%m/%d/%Y %H:%M:%S");
        self.write(&[(
            "JobDispatcher",
            format!("Successfully renew job {job}, job is valid till {until}"),
        )]);
    }

    pub(crate) fn job_ends(&mut self, job: &str) {
        self.write(&[
            (
                "JobDispatcher",
                format!("Worker finished for job {job}. Code: 100"),
            ),
            (
                "JobDispatcher",
                format!("finish job request for job {job} with result: Succeeded"),
            ),
            (
                "Terminal",
                terminal("Job build completed with result: Succeeded"),
            ),
            (
                "JobDispatcher",
                format!("Stop renew job request for job {job}."),
            ),
        ]);
    }

    fn write(&mut self, lines: &[(&str, String)]) {
        let stamp = now().format("%Y-%m-%d %H:%M:%SZ");
        let lines = lines
            .iter()
            .map(|(source, message)| format!("[{stamp} INFO {source}] {message}\n"));
        let page = self.page.as_mut().expect("it listens");
        page.write_all(lines.collect::<String>().as_bytes())
            .expect("the log");
    }
}

fn terminal(text: &str) -> String {
    format!("WRITE LINE: {}: {text}", now().format("%Y-%m-%d %H:%M:%SZ"))
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            let _ = listener.kill();
            let _ = listener.wait();
        }
    }
}
