//! The runner's own folder, and what its configuration says about it.

use crate::runner::{NameError, RunnerId, RunnerName, Scope};
use serde_json::{Map, Value};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};
use thiserror::Error;

/// How long a `.runner` is read. A real one has less than 1 KiB.
const CONFIG_BYTES: u64 = 1024 * 1024;

/// What shows that a folder is a runner's, before it is configured and after.
const MARKS: [&str; 6] = [
    ".runner",
    "run.sh",
    "run.cmd",
    "config.sh",
    "bin/Runner.Listener",
    "bin/Runner.Listener.exe",
];

/// Why a runner's folder, or its configuration, is of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootError {
    /// There is no such folder.
    #[error("the runner's folder {} cannot be opened; give the folder that holds run.sh", .path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is no runner's.
    #[error(
        "{} is no runner's folder: it has neither .runner nor run.sh; give the folder into which the runner was unpacked",
        .path.display()
    )]
    NotARoot {
        /// The folder.
        path: PathBuf,
    },
    /// The runner is not configured yet.
    #[error(
        "the runner in {} is not configured: it has no .runner; run config.sh, or start it with a JIT configuration",
        .path.display()
    )]
    NotConfigured {
        /// The folder.
        path: PathBuf,
    },
    /// `.runner` cannot be read.
    #[error("{} cannot be read; run as the runner's user, or let this user read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `.runner` is longer than any runner writes it.
    #[error("{} is longer than 1 MiB, which no runner writes; configure the runner anew", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// `.runner` is no JSON object.
    #[error("{} is not what a runner writes; configure the runner anew", .path.display())]
    Unparsable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// `.runner` names no runner.
    #[error("{} has no agentName; configure the runner anew", .path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// What `.runner` names cannot be a runner's name.
    #[error("the agentName in {} is no runner's name; configure the runner anew", .path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NameError,
    },
    /// The `gitHubUrl` leads to no repository, organisation or enterprise.
    #[error(
        "the gitHubUrl {url:?} in {} leads to no repository, organisation or enterprise; configure the runner anew",
        .path.display()
    )]
    Url {
        /// The file.
        path: PathBuf,
        /// What it says.
        url: String,
    },
}

/// What a runner's `.runner` says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerConfig {
    /// Its registered name.
    pub name: RunnerName,
    /// Its registration's number.
    pub id: Option<RunnerId>,
    /// Where it is registered. A runner that was started with a JIT configuration does not know.
    pub scope: Option<Scope>,
}

/// Tells one state of `.runner` from another: two that differ mean that it was written between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigStamp {
    identity: Identity,
    length: u64,
    modified: Option<SystemTime>,
}

/// The folder into which a runner was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerRoot {
    path: PathBuf,
}

impl RunnerRoot {
    /// The runner in this folder, configured or not.
    ///
    /// # Errors
    /// [`RootError::NoFolder`], or [`RootError::NotARoot`] when nothing in it is a runner's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RootError> {
        let given = path.as_ref();
        let no_folder = |source| RootError::NoFolder {
            path: given.to_owned(),
            source,
        };
        let path = std::path::absolute(given).map_err(no_folder)?;
        fs::read_dir(&path).map_err(no_folder)?;
        // A file that may not be looked at is there.
        let is_there = |mark: &&str| path.join(mark).try_exists().unwrap_or(true);
        if !MARKS.iter().any(is_there) {
            return Err(RootError::NotARoot { path });
        }
        Ok(Self { path })
    }

    /// The folder, independent of the working directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder with its logs. It need not be there yet.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("_diag")
    }

    fn config_path(&self) -> PathBuf {
        self.path.join(".runner")
    }

    /// Which state `.runner` is in, without reading it: when this changes, the runner may have been
    /// registered anew. `None` while there is none.
    #[must_use]
    pub fn config_stamp(&self) -> Option<ConfigStamp> {
        let metadata = fs::metadata(self.config_path()).ok()?;
        Some(ConfigStamp {
            identity: Identity::of(&metadata),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Reads `.runner`.
    ///
    /// # Errors
    /// [`RootError`]: it is not there yet, cannot be read, or does not say who the runner is.
    pub fn read_config(&self) -> Result<RunnerConfig, RootError> {
        let path = self.config_path();
        let bytes = match read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(RootError::TooLong { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = self.path.clone();
                return Err(RootError::NotConfigured { path });
            }
            Err(source) => return Err(RootError::Unreadable { path, source }),
        };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let keys: Map<String, Value> = match serde_json::from_slice(bytes) {
            Ok(keys) => keys,
            Err(source) => return Err(RootError::Unparsable { path, source }),
        };
        let name = match text(&keys, "agentName") {
            Some(name) => RunnerName::new(name),
            None => return Err(RootError::NoName { path }),
        };
        let name = match name {
            Ok(name) => name,
            Err(source) => return Err(RootError::Name { path, source }),
        };
        let scope = match text(&keys, "gitHubUrl") {
            None => None,
            Some(url) => match scope_of(url) {
                Some(scope) => Some(scope),
                None => {
                    let url = url.chars().take(256).collect();
                    return Err(RootError::Url { path, url });
                }
            },
        };
        Ok(RunnerConfig {
            name,
            id: value(&keys, "agentId").and_then(number).map(RunnerId),
            scope,
        })
    }
}

/// `None` when it is too long.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = File::open(path)?;
    file.take(CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= CONFIG_BYTES);
    Ok(fits.then_some(bytes))
}

/// The runner writes its keys in camel case and reads them in any.
fn value<'a>(keys: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    keys.get(key).or_else(|| {
        keys.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    })
}

fn text<'a>(keys: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = value(keys, key)?.as_str()?;
    (!text.trim().is_empty()).then_some(text)
}

/// The registration's number; 0 is none.
fn number(value: &Value) -> Option<u64> {
    let number = value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok())?;
    (number > 0).then_some(number)
}

/// Where a URL such as people give to `config.sh` leads: one segment after the host, or two, as the runner
/// itself reads it.
fn scope_of(url: &str) -> Option<Scope> {
    let (scheme, rest) = url.trim().split_once("://")?;
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let rest = rest.split(['?', '#']).next()?;
    let (host, path) = rest.split_once('/')?;
    if host.is_empty() {
        return None;
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let (first, second, third) = (segments.next()?, segments.next(), segments.next());
    let scope = match (second, third) {
        (None, None) => format!("org:{first}"),
        (Some(name), None) if first.eq_ignore_ascii_case("enterprises") => {
            format!("enterprise:{name}")
        }
        (Some(name), None) => {
            format!("repo:{first}/{}", name.strip_suffix(".git").unwrap_or(name))
        }
        (_, Some(_)) => return None,
    };
    scope.parse().ok()
}

/// Which file it is, as far as the system tells: another under the same path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device and number. Numbers are used again, hence the date.
    #[cfg(unix)]
    node: (u64, u64),
    created: Option<SystemTime>,
}

impl Identity {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            #[cfg(unix)]
            node: (metadata.dev(), metadata.ino()),
            created: metadata.created().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// As version 2.336.0 writes it, with the byte-order mark of .NET.
    const CONFIGURED: &str = "\u{feff}{\r\n  \"agentId\": 18700,\r\n  \"agentName\": \"i-06cbe04821ccba677\",\r\n  \
        \"poolId\": 1,\r\n  \"poolName\": \"Default\",\r\n  \"ephemeral\": true,\r\n  \
        \"serverUrl\": \"https://pipelines.actions.githubusercontent.com/abc/\",\r\n  \
        \"gitHubUrl\": \"https://github.com/acme/atlas\",\r\n  \"workFolder\": \"_work\",\r\n  \"useV2Flow\": true\r\n}";

    fn configured(config: &[u8]) -> (TempDir, Result<RunnerConfig, RootError>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".runner"), config).unwrap();
        let config = RunnerRoot::open(folder.path()).unwrap().read_config();
        (folder, config)
    }

    #[test]
    fn a_configured_runner_is_read_with_its_byte_order_mark() {
        let (_folder, config) = configured(CONFIGURED.as_bytes());
        let config = config.unwrap();
        assert_eq!(config.name.as_str(), "i-06cbe04821ccba677");
        assert_eq!(config.id, Some(RunnerId(18700)));
        assert_eq!(config.scope, Some("repo:acme/atlas".parse().unwrap()));
    }

    #[test]
    fn a_jit_runner_knows_no_scope() {
        for url in ["", r#","gitHubUrl":"""#, r#","gitHubUrl":null"#] {
            let json = format!(r#"{{"AgentId":"7","AGENTNAME":"jit"{url}}}"#);
            let (_folder, config) = configured(json.as_bytes());
            let config = config.unwrap();
            assert_eq!(
                (config.id, config.scope),
                (Some(RunnerId(7)), None),
                "{url}"
            );
            assert_eq!(config.name.as_str(), "jit");
        }
    }

    #[test]
    fn the_key_as_the_runner_writes_it_comes_first() {
        let (_folder, config) = configured(br#"{"AGENTNAME":"other","agentName":"mine"}"#);
        assert_eq!(config.unwrap().name.as_str(), "mine");
    }

    #[test]
    fn a_url_leads_to_a_scope_on_any_host() {
        for (url, scope) in [
            ("https://github.com/acme/atlas", "repo:acme/atlas"),
            ("https://github.com/acme/atlas/", "repo:acme/atlas"),
            ("https://github.com/acme/atlas.git", "repo:acme/atlas"),
            ("HTTP://ghes.local:8443/acme/atlas.git/", "repo:acme/atlas"),
            ("https://github.com/acme", "org:acme"),
            ("https://acme.ghe.com/acme/", "org:acme"),
            ("https://github.com/enterprises/big", "enterprise:big"),
            ("https://ghes.local/Enterprises/big/?a=b", "enterprise:big"),
            ("https://github.com/enterprises", "org:enterprises"),
        ] {
            assert_eq!(scope_of(url), Some(scope.parse().unwrap()), "{url}");
        }
        for url in [
            "github.com/acme",
            "https://github.com",
            "https://github.com/",
            "https:///acme",
            "ftp://github.com/acme",
            "https://github.com/acme/atlas/tree",
            "https://github.com/acme/..",
            "https://github.com/ac me",
        ] {
            assert_eq!(scope_of(url), None, "{url}");
            let json = format!(r#"{{"agentName":"a","gitHubUrl":"{url}"}}"#);
            let (_folder, config) = configured(json.as_bytes());
            assert!(matches!(config, Err(RootError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn what_is_no_runner_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = RunnerRoot::open(folder.path().join("missing"));
        assert!(matches!(missing, Err(RootError::NoFolder { .. })));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            RunnerRoot::open(&file),
            Err(RootError::NoFolder { .. })
        ));
        let empty = RunnerRoot::open(folder.path());
        assert!(matches!(empty, Err(RootError::NotARoot { .. })));

        fs::write(folder.path().join("run.sh"), "").unwrap();
        let root = RunnerRoot::open(folder.path()).unwrap();
        assert!(matches!(
            root.read_config(),
            Err(RootError::NotConfigured { .. })
        ));
        assert_eq!(root.config_stamp(), None);
        fs::create_dir(folder.path().join(".runner")).unwrap();
        assert!(matches!(
            root.read_config(),
            Err(RootError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_broken_configuration_says_what_is_wrong() {
        use RootError::{Name, NoName, TooLong, Unparsable};
        let long = vec![b' '; 1024 * 1024 + 1];
        for (config, kind) in [
            (&b""[..], "unparsable"),
            (b"{", "unparsable"),
            (b"[]", "unparsable"),
            (b"{}", "no name"),
            (br#"{"agentName":""}"#, "no name"),
            (br#"{"agentName":7}"#, "no name"),
            (br#"{"agentName":" a"}"#, "name"),
            (&long, "too long"),
        ] {
            let (_folder, found) = configured(config);
            let found = found.unwrap_err();
            let found_kind = match found {
                Unparsable { .. } => "unparsable",
                NoName { .. } => "no name",
                Name { .. } => "name",
                TooLong { .. } => "too long",
                _ => "another",
            };
            assert_eq!(found_kind, kind, "{found}");
            assert!(found.to_string().contains(".runner"), "{found}");
        }
    }

    #[test]
    fn a_registration_anew_changes_the_stamp() {
        let (folder, _) = configured(br#"{"agentName":"a"}"#);
        let root = RunnerRoot::open(folder.path()).unwrap();
        let before = root.config_stamp();
        assert_eq!(before, root.config_stamp());
        let path = folder.path().join(".runner");
        fs::write(&path, br#"{"agentName":"ab"}"#).unwrap();
        assert_ne!(before, root.config_stamp());
        fs::remove_file(path).unwrap();
        assert_eq!(root.config_stamp(), None);
    }
}
