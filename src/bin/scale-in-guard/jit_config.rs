//! `scale-in-guard jit-config`: registers a just-in-time runner, and prints what it is started with.

use crate::{
    Fault, credentials::Credentials, deployment::Place, refusal::is_for_the_caller, terminal::tell,
};
use clap::{Args, ValueEnum};
use scale_in_guard::{
    github::{IfTaken, Jit, JitRequest, JitTried, RegistrationTokens},
    runner::RunnerName,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::{io::Write, process::ExitCode, time::Duration};

/// Register a just-in-time runner, and print the config that its program is started with, alone on standard output
///
/// What is printed is a SECRET: whoever has it can be this runner, and take its jobs. Pipe it to where it is used;
/// GitHub shows it once. It goes nowhere else: not into the log, and not into an error.
///
/// Where GitHub's answer is lost, it looks whether the runner was registered all the same, and goes on by
/// --if-taken: nothing is registered twice under one name. It takes 30 s at the most. That the scope is yours is
/// remembered in the store, as for registration-token.
///
/// The token is read from GITHUB_TOKEN, and is a secret too: it must be able to write (a repository's
/// administration:write, an organisation's organization_self_hosted_runners:write; of an enterprise a classic token
/// with manage_runners:enterprise).
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  the runner is registered, and its config was printed
  1  not now: the name is taken, a limit is spent, GitHub has trouble; standard error says which, and when to ask again
  2  wrong usage, or GitHub refused the token, its permissions or the request; or the config could not be printed
  3  the name is registered already, and was left as it is (--if-taken adopt): nothing was printed. If this very call
     may have registered it, and its answer was lost, it is 1: no instance has its config

What may be left of a call that failed is named: registrations without a runner, which GitHub keeps for a day or
more. scale-in-guard ghosts finds and removes them.

Example, on an instance that is coming up:
  config=$(scale-in-guard jit-config --scope org:acme --name \"$(hostname)\" --label linux,x64) &&
    ./run.sh --jitconfig \"$config\"")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    credentials: Credentials,

    /// The runner's name: 64 characters at the most
    #[arg(long, value_name = "NAME")]
    name: RunnerName,

    /// Its labels, 1 to 100: repeat it, or separate them by commas. It gets no others
    #[arg(long, value_name = "LABEL", required = true, value_delimiter = ',')]
    label: Vec<String>,

    /// The number of its runner group
    #[arg(long, value_name = "N", default_value_t = 1)]
    runner_group: u64,

    /// The folder that its jobs work in, below that of the runner [default: GitHub's, _work]
    #[arg(long, value_name = "FOLDER")]
    work_folder: Option<String>,

    /// What to do where the name is registered already, perhaps by this very call
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Taken::Replace)]
    if_taken: Taken,

    /// Print one line of JSON, with the config in it: a secret as a whole; see docs/json.md
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Taken {
    /// Leave it, and end with 3: the instance has its config already
    Adopt,
    /// Remove it if it never connected, and ask again; else end with 1
    Replace,
    /// Leave it, and ask under NAME with six random digits
    FreshName,
}

impl From<Taken> for IfTaken {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Adopt => Self::Adopt,
            Taken::Replace => Self::Replace,
            Taken::FreshName => Self::FreshName,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let request = arguments.request()?;
    let place = &arguments.place;
    let registrar = RegistrationTokens::new(place.github(&arguments.credentials)?)
        .patience(Duration::from_secs(30))
        .noted_in(place.store().await?);
    match registrar.jit_config(&request).await {
        Ok(jit) => arguments.tell_of(&jit),
        Err(error) => {
            tell(format_args!("scale-in-guard: {error}"));
            if arguments.json {
                let why = json!({"message": error.to_string(), "retry_at": error.retry_at()});
                print(&shown("failed", error.tried(), why))?;
            }
            let is_ours = error.github().is_some_and(is_for_the_caller);
            Ok(ExitCode::from(if is_ours { 2 } else { 1 }))
        }
    }
}

impl Arguments {
    fn request(&self) -> Result<JitRequest, Fault> {
        let request = JitRequest::builder(self.place.scope.clone(), self.name.clone())
            .labels(self.label.iter().map(String::as_str))
            .runner_group(self.runner_group)
            .if_taken(self.if_taken.into());
        let request = match &self.work_folder {
            Some(folder) => request.work_folder(folder.as_str()),
            None => request,
        };
        Ok(request.build()?)
    }

    fn tell_of(&self, jit: &Jit) -> Result<ExitCode, Fault> {
        let (runner, scope) = (jit.runner(), &self.place.scope);
        let about = format!("{:?} as {} in {scope}", &*runner.name, runner.id);
        let row = json!({"id": runner.id, "name": runner.name});
        match jit {
            Jit::Issued { config, tried, .. } => {
                tell(format_args!("registered {about}{tried}"));
                let config = config.expose_secret();
                let told = match self.json {
                    true => {
                        let issued = json!({"runner": row, "encoded_jit_config": config});
                        shown("issued", tried, issued)
                    }
                    false => format!("{config}\n"),
                };
                print(&told).map_err(|error| {
                    format!(
                        "the config could not be printed ({error}), and GitHub shows it once: registration {} stays behind, to be removed as a ghost",
                        runner.id
                    )
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Jit::Adopted { tried, .. } => {
                tell(format_args!(
                    "registered already, and left as it is: {about}; GitHub shows its config no more{tried}"
                ));
                if self.json {
                    print(&shown("adopted", tried, json!({"runner": row})))?;
                }
                // What this call may have registered itself, no instance has a config for.
                let is_ours = tried.left_behind.contains(&runner.id);
                Ok(ExitCode::from(if is_ours { 1 } else { 3 }))
            }
        }
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A line of JSON: what became of it, what was tried, and `more`.
fn shown(outcome: &str, tried: &JitTried, more: Value) -> String {
    let mut line = json!({
        "jit_config": outcome,
        "asked": tried.asked,
        "removed": tried.removed,
        "left_behind": tried.left_behind,
        "unaccounted": tried.unaccounted,
    });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    format!("{line}\n")
}
