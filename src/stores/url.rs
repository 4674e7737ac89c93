//! A store as it is named in one line: on the command line, in an environment variable, in a file.

mod dynamo;
mod parts;
mod redis;

pub use self::{
    dynamo::DynamoAddress,
    redis::{REDIS_PASSWORD, RedisAddress},
};
#[cfg(feature = "redis")]
pub(super) use self::{
    parts::{decode, encode},
    redis::{Form, Host},
};
use super::MemoryStore;
use crate::store::{Store, StoreError};
use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr, sync::Arc};
use thiserror::Error;

/// Which store, and where.
///
/// | URL | store |
/// | --- | --- |
/// | `memory` | [`MemoryStore`]: in this process |
/// | `sqlite:PATH` | `SqliteStore` (feature `sqlite`): a file for the processes of one machine |
/// | `redis://…`, `redis+cluster://…`, `redis+sentinel://…`, each with `rediss` for TLS | `RedisStore` (feature `redis`); see [`RedisAddress`] |
/// | `dynamodb://TABLE?region=…&endpoint=…` | DynamoDB (feature `dynamodb`); see [`DynamoAddress`] |
///
/// It is read strictly: what is not understood is an error. Neither `Display` nor `Debug` shows a password.
///
/// ```
/// use scale_in_guard::stores::StoreUrl;
///
/// let url: StoreUrl = "rediss://guard:hunter2@redis.internal/3".parse()?;
/// assert_eq!(url.to_string(), "rediss://guard@redis.internal:6379/3");
/// # Ok::<_, scale_in_guard::stores::StoreUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// In this process.
    Memory,
    /// A SQLite file.
    Sqlite(PathBuf),
    /// Redis, or Valkey.
    Redis(RedisAddress),
    /// A table of DynamoDB.
    Dynamo(DynamoAddress),
}

/// Why a text names no store. It shows nothing of a text that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}; write {form}")]
pub struct StoreUrlError {
    what: Cow<'static, str>,
    form: &'static str,
}

impl StoreUrlError {
    fn new(what: impl Into<Cow<'static, str>>, form: &'static str) -> Self {
        let what = what.into();
        Self { what, form }
    }
}

/// Every form, for whoever wrote none of them.
const FORMS: &str = "sqlite:PATH, redis://[USER@]HOST[:PORT][/DB] (rediss:// with TLS), \
    redis+cluster://HOST:PORT,…, redis+sentinel://HOST:PORT,…/PRIMARY, dynamodb://TABLE[?region=…] or memory";

const SQLITE: &str = "sqlite:PATH, such as sqlite:/var/lib/scale-in-guard/guard.sqlite";

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(StoreUrlError::new("this names no store", FORMS));
        };
        match scheme {
            "sqlite" => Ok(Self::Sqlite(file(rest)?)),
            "dynamodb" => Ok(Self::Dynamo(text.parse()?)),
            _ if redis::is_scheme(scheme) => Ok(Self::Redis(text.parse()?)),
            _ => Err(StoreUrlError::new("this names no store we know", FORMS)),
        }
    }
}

/// What stands after `sqlite:` is a path as it is: nothing in it is decoded.
fn file(path: &str) -> Result<PathBuf, StoreUrlError> {
    let wrong = |what| Err(StoreUrlError::new(what, SQLITE));
    match path {
        "" => wrong("no file is named"),
        _ if path.starts_with('~') => {
            wrong("nothing makes a folder of ~ here: give the whole path")
        }
        _ if path.starts_with("file:") => wrong("a path is wanted, not a URI"),
        _ if path.starts_with("//") => wrong("a path is wanted, with one slash"),
        _ if path.contains('\0') => wrong("no path holds a null"),
        _ => Ok(path.into()),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(address) => address.fmt(f),
            Self::Dynamo(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl StoreUrl {
    /// Opens it. A file is created where there is none. A server is not spoken to yet: one that is away does not
    /// keep this from succeeding, and each operation tries anew.
    ///
    /// A Redis whose URL holds no password takes it from the environment, [`REDIS_PASSWORD`].
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when a file cannot be opened, or this build has no such store: then it names the
    /// feature to build with.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Memory => Ok(Arc::new(MemoryStore::new())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || super::SqliteStore::open(path));
                let opened = opened.await.map_err(|broken| self.unusable(broken))?;
                Ok(Arc::new(opened?))
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => Err(self.not_built("sqlite")),
            #[cfg(feature = "redis")]
            Self::Redis(address) => {
                let address = address.clone().with_password_of_environment();
                Ok(Arc::new(super::RedisStore::new(address)?))
            }
            #[cfg(not(feature = "redis"))]
            Self::Redis(_) => Err(self.not_built("redis")),
            #[cfg(feature = "dynamodb")]
            Self::Dynamo(DynamoAddress {
                table,
                region,
                endpoint,
            }) => {
                let table =
                    super::DynamoStore::connect(table, region.as_deref(), endpoint.as_deref());
                Ok(Arc::new(table.await?))
            }
            #[cfg(not(feature = "dynamodb"))]
            Self::Dynamo(_) => Err(self.not_built("dynamodb")),
        }
    }

    #[cfg(not(all(feature = "dynamodb", feature = "redis", feature = "sqlite")))]
    fn not_built(&self, feature: &str) -> StoreError {
        self.unusable(format!(
            "this build has no such store: build scale-in-guard with its feature `{feature}`"
        ))
    }

    fn unusable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Unusable {
            store: self.to_string(),
            doing: "opening it",
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests;
