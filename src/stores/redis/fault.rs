//! What can be the matter with a Redis.

use crate::stores::url::Host;
use redis::{ErrorKind, RedisError};
use std::time::Duration;
use thiserror::Error;

/// Why a Redis could not be used. It is the source of a
/// [`StoreError::Unusable`](crate::store::StoreError::Unusable), and holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisFault {
    /// Nobody answers there, or not as a Redis does, or its certificate is not trusted.
    #[error(
        "{host} cannot be reached ({what}); see that the server runs, and the host, the port, and redis or rediss (TLS, ?ca=) in the store's URL"
    )]
    Unreachable {
        /// Who was tried last.
        host: String,
        /// What came back.
        what: String,
    },
    /// It did not answer in time. Nobody knows whether a write was done.
    #[error("no answer within {0:?}; see the server, and the network between")]
    Slow(Duration),
    /// The connection broke before the answer. Nobody knows whether a write was done.
    #[error("the connection broke before its answer ({0})")]
    Broken(String),
    /// It does not know the user, or the password is wrong or missing.
    #[error(
        "it refuses the credentials ({0}); see the user in the store's URL and the password in SCALE_IN_GUARD_REDIS_PASSWORD"
    )]
    Credentials(String),
    /// The user may not do this.
    #[error("the user may not do this ({0}); docs/stores.md has what its ACL must allow")]
    Forbidden(String),
    /// Its memory is full. What was kept can still be read.
    #[error("its memory is full ({0}); raise its maxmemory, and keep maxmemory-policy noeviction")]
    Full(String),
    /// It is a replica, or was made one.
    #[error("it is no primary ({0}); name the primary, or its sentinels by redis+sentinel://")]
    NoPrimary(String),
    /// It is one node of a cluster, and named as a server by itself.
    #[error("it is a node of a cluster; write its URL as redis+cluster://")]
    OfCluster,
    /// The scope's records are being moved from one node of the cluster to another.
    #[error(
        "the scope's records are being moved between nodes of the cluster ({0}); it works again when that has ended"
    )]
    Moving(String),
    /// It is up, and not ready: it loads its data, or the cluster has no quorum.
    #[error("it is not ready ({0})")]
    NotReady(String),
    /// There is a key among ours that we did not write.
    #[error("{key} is no key of ours ({what}); delete it")]
    Foreign {
        /// The key in Redis.
        key: String,
        /// What was found.
        what: &'static str,
    },
    /// It answered with another error.
    #[error("it refused: {0}")]
    Refused(String),
}

impl RedisFault {
    /// What an error says of a connection that did stand.
    pub(super) fn of(error: &RedisError) -> Self {
        let said = error.to_string();
        match error.code() {
            Some("OOM") => Self::Full(said),
            Some("WRONGPASS" | "NOAUTH") => Self::Credentials(said),
            Some("NOPERM") => Self::Forbidden(said),
            Some("READONLY") => Self::NoPrimary(said),
            Some("MOVED") => Self::OfCluster,
            Some("ASK" | "TRYAGAIN") => Self::Moving(said),
            Some("LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY") => Self::NotReady(said),
            // What a script could not do for a full memory comes with another code from some servers.
            _ if said.contains("OOM ") => Self::Full(said),
            Some(_) => Self::Refused(said),
            None if error.kind() == ErrorKind::AuthenticationFailed => Self::Credentials(said),
            None => Self::Broken(said),
        }
    }

    /// What an error says that came before a connection stood.
    pub(super) fn at_connecting(host: &Host, error: &RedisError) -> Self {
        match Self::of(error) {
            Self::Broken(what) => Self::Unreachable {
                host: host.to_string(),
                what,
            },
            other => other,
        }
    }

    /// Whether it was the server itself that spoke, and may go on serving: then the connection is good.
    pub(super) fn spares_connection(&self) -> bool {
        matches!(
            self,
            Self::Full(_) | Self::Forbidden(_) | Self::Foreign { .. } | Self::Refused(_)
        )
    }
}
