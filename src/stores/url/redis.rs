//! `redis://…`, and its relations.

use super::{
    StoreUrlError,
    parts::{decode, encode, parameters},
};
use std::{env, fmt, path::PathBuf, str::FromStr};

/// The environment variable that holds the password of a Redis whose URL holds none. There it stands in no list of
/// processes and in no shell's history.
pub const REDIS_PASSWORD: &str = "SCALE_IN_GUARD_REDIS_PASSWORD";

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const SERVER: &str =
    "redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], with TLS rediss://…[?ca=FILE.pem]";
const CLUSTER: &str = "redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],HOST[:PORT],…, with TLS rediss+cluster://…[?ca=FILE.pem]";
const SENTINEL: &str = "redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],HOST[:PORT],…/PRIMARY[/DB], with TLS rediss+sentinel://…[?ca=FILE.pem]";

/// Where a Redis or a Valkey is, and as whom to speak to it.
///
/// | URL | what |
/// | --- | --- |
/// | `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]` | one server, port 6379 and database 0 by default |
/// | `redis+cluster://[…@]HOST[:PORT],…` | a cluster, by some of its nodes |
/// | `redis+sentinel://[…@]HOST[:PORT],…/PRIMARY[/DB]` | the primary that these sentinels (port 26379) know by this name; the user is the primary's |
///
/// With `rediss` in place of `redis` everything is TLS. `?ca=FILE.pem` then trusts the certificates in this file, in
/// place of the system's. In a user's name and in a password, `/ ? # @ : %` are written as `%2F` and so on.
/// Better leave the password out and give it in the environment, in [`REDIS_PASSWORD`].
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub(in crate::stores) form: Form,
    pub(in crate::stores) tls: bool,
    pub(in crate::stores) ca: Option<PathBuf>,
    pub(in crate::stores) user: Option<String>,
    pub(in crate::stores) password: Option<String>,
    /// At least one, and one alone where it is one server.
    pub(in crate::stores) hosts: Vec<Host>,
    pub(in crate::stores) database: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores) enum Form {
    Server,
    Cluster,
    Sentinel { primary: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::stores) struct Host {
    pub(in crate::stores) name: String,
    pub(in crate::stores) port: u16,
}

impl RedisAddress {
    /// The same address, with this password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The same address, with the password of [`REDIS_PASSWORD`] where it has none.
    #[must_use]
    pub fn with_password_of_environment(mut self) -> Self {
        let of_environment = || {
            env::var(REDIS_PASSWORD)
                .ok()
                .filter(|word| !word.is_empty())
        };
        self.password = self.password.or_else(of_environment);
        self
    }
}

/// What a scheme stands for.
fn scheme(name: &str) -> Option<(Form, bool)> {
    let (name, tls) = match name.strip_prefix("rediss") {
        Some(rest) => (rest, true),
        None => (name.strip_prefix("redis")?, false),
    };
    let form = match name {
        "" => Form::Server,
        "+cluster" => Form::Cluster,
        "+sentinel" => Form::Sentinel {
            primary: String::new(),
        },
        _ => return None,
    };
    Some((form, tls))
}

pub(super) fn is_scheme(name: &str) -> bool {
    scheme(name).is_some()
}

impl FromStr for RedisAddress {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let Some((form, tls)) = scheme(name) else {
            return Err(StoreUrlError::new("this names no Redis", SERVER));
        };
        let (write, port) = match form {
            Form::Server => (SERVER, PORT),
            Form::Cluster => (CLUSTER, PORT),
            Form::Sentinel { .. } => (SENTINEL, SENTINEL_PORT),
        };
        let wrong = |what: &'static str| StoreUrlError::new(what, write);
        let rest = rest.strip_prefix("//");
        let rest = rest.ok_or_else(|| wrong("two slashes come after the colon"))?;
        if rest.contains('#') {
            return Err(wrong("a # has no meaning here; in a password it is %23"));
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let mut address = Self {
            form,
            tls,
            ca: None,
            user: None,
            password: None,
            hosts: Vec::new(),
            database: 0,
        };
        for text in hosts.split(',') {
            address.hosts.push(host(text, port).ok_or_else(|| {
                wrong("a host or its port (1 to 65535) cannot be read; in a password / ? # @ : % are written as %2F and so on")
            })?);
        }
        if address.form == Form::Server && address.hosts.len() > 1 {
            return Err(StoreUrlError::new(
                "several hosts are a cluster or sentinels",
                "redis+cluster://… or redis+sentinel://…/PRIMARY",
            ));
        }
        if let Some(credentials) = credentials {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            let read = |text: &str| match decode(text) {
                Some(text) if !text.contains(['\0', '\r', '\n']) => Ok(text),
                _ => Err(wrong(
                    "the user or the password cannot be read; a % is written as %25",
                )),
            };
            address.user = Some(read(user)?).filter(|user| !user.is_empty());
            address.password = password.map(read).transpose()?;
            address.password = address.password.filter(|password| !password.is_empty());
        }
        let database = match &mut address.form {
            Form::Server => path,
            Form::Cluster if path.is_empty() => "",
            Form::Cluster => return Err(wrong("a cluster has no databases")),
            Form::Sentinel { primary } => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                let name = decode(name).filter(|name| !name.is_empty());
                *primary = name.ok_or_else(|| {
                    wrong("the primary's name is missing, by which the sentinels know it")
                })?;
                database
            }
        };
        if !database.is_empty() {
            let is_number = database.bytes().all(|byte| byte.is_ascii_digit());
            let number = database.parse().ok().filter(|_| is_number);
            address.database = number.ok_or_else(|| {
                wrong("a database is a number; in a password / is written as %2F")
            })?;
        }
        let parameters = query.map_or(Some(Vec::new()), parameters);
        let parameters = parameters
            .ok_or_else(|| wrong("each parameter is NAME=VALUE, once, and % is written as %25"))?;
        for (name, value) in parameters {
            match name {
                "ca" if !tls => return Err(wrong("?ca= goes with TLS alone")),
                "ca" if !value.is_empty() => address.ca = Some(value.into()),
                "ca" => return Err(wrong("?ca= names no file")),
                _ => return Err(wrong("it takes the parameter ca alone")),
            }
        }
        Ok(address)
    }
}

/// A host, and its port or the default one.
fn host(text: &str, default: u16) -> Option<Host> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            let is_of_ipv6 = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
            if !name.contains(':') || !name.chars().all(is_of_ipv6) {
                return None;
            }
            let port = if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':')?)
            };
            (name, port)
        }
        None => {
            let (name, port) = match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            };
            let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || !name.chars().all(is_of_a_name) {
                return None;
            }
            (name, port)
        }
    };
    let port = match port {
        None => default,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
    };
    let name = name.to_owned();
    (port != 0).then_some(Host { name, port })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Without the password.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.form {
            Form::Server => "://",
            Form::Cluster => "+cluster://",
            Form::Sentinel { .. } => "+sentinel://",
        })?;
        if let Some(user) = &self.user {
            write!(f, "{}@", encode(user, b"-._"))?;
        }
        for (number, host) in self.hosts.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{host}")?;
        }
        if let Form::Sentinel { primary } = &self.form {
            write!(f, "/{}", encode(primary, b"-._"))?;
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        match &self.ca {
            Some(ca) => write!(f, "?ca={}", encode(&ca.to_string_lossy(), b"-._/")),
            None => Ok(()),
        }
    }
}

/// Without the password.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}
