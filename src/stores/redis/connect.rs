//! One connection to one server.

use super::{
    fault::RedisFault,
    script::{READ, SWAP},
};
use crate::stores::url::{Host, RedisAddress};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult, TlsCertificates, Value, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
    pipe,
};
use std::{fmt, fs, io};

/// How to connect to any server of one address.
pub(super) struct Connector {
    tls: Option<TlsCertificates>,
    /// As whom; the password never leaves it.
    login: RedisConnectionInfo,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads the file of certificates, where one is named.
    pub(super) fn new(address: &RedisAddress) -> io::Result<Self> {
        let root_cert = address.ca.as_ref().map(fs::read).transpose()?;
        let tls = address.tls.then_some(TlsCertificates {
            client_tls: None,
            root_cert,
        });
        if tls.is_some() {
            // Its TLS takes the process's cryptography, and there may be none yet. Whoever has chosen one keeps it.
            rustls::crypto::aws_lc_rs::default_provider()
                .install_default()
                .ok();
        }
        // A user with the least rights may not name its client.
        let mut login = RedisConnectionInfo::default()
            .set_db(address.database.into())
            .set_skip_set_lib_name();
        if let Some(user) = &address.user {
            login = login.set_username(user);
        }
        if let Some(password) = &address.password {
            login = login.set_password(password);
        }
        Ok(Self { tls, login })
    }

    /// Connects to a server that holds records.
    pub(super) async fn server(&self, host: &Host) -> Result<MultiplexedConnection, RedisFault> {
        let connected = self.connect(host, self.login.clone()).await;
        let mut connection = connected.map_err(|error| RedisFault::at_connecting(host, &error))?;
        prepare(host, &mut connection).await;
        Ok(connection)
    }

    /// Which server the sentinel at `host` holds for the primary of this name.
    pub(super) async fn primary(&self, host: &Host, name: &str) -> Result<Host, RedisFault> {
        let ask = async {
            let login = RedisConnectionInfo::default().set_skip_set_lib_name();
            let mut sentinel = self.connect(host, login).await?;
            let mut question = cmd("SENTINEL");
            question.arg("get-master-addr-by-name").arg(name);
            question.query_async(&mut sentinel).await
        };
        let found: RedisResult<Option<(String, u16)>> = ask.await;
        match found {
            Ok(Some((name, port))) => Ok(Host { name, port }),
            Ok(None) => Err(RedisFault::NoPrimary(format!(
                "the sentinel at {host} knows none by the name {name}"
            ))),
            Err(error) => Err(RedisFault::at_connecting(host, &error)),
        }
    }

    /// Whoever calls bounds the time.
    async fn connect(
        &self,
        host: &Host,
        login: RedisConnectionInfo,
    ) -> RedisResult<MultiplexedConnection> {
        let (name, port) = (host.name.clone(), host.port);
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(name, port),
            Some(_) => ConnectionAddr::TcpTls {
                host: name,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(login)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match &self.tls {
            None => Client::open(info)?,
            Some(tls) => Client::build_with_tls(info, tls.clone())?,
        };
        let unbounded = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        client
            .get_multiplexed_async_connection_with_config(&unbounded)
            .await
    }
}

/// Tells the server our scripts, for users who may only name them, and looks whether it may forget records. Neither has
/// to be allowed.
async fn prepare(host: &Host, connection: &mut MultiplexedConnection) {
    let mut questions = pipe();
    questions.add_command(READ.load());
    questions.add_command(SWAP.load());
    questions.cmd("INFO").arg("memory");
    questions.ignore_errors();
    let answers: RedisResult<Vec<RedisResult<Value>>> = questions.query_async(connection).await;
    let Some(Ok(info)) = answers.ok().and_then(|mut answers| answers.pop()) else {
        return;
    };
    let Ok(info) = redis::from_redis_value::<String>(info) else {
        return;
    };
    let policy = info
        .lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"));
    if let Some(policy) = policy.filter(|policy| *policy != "noeviction") {
        tracing::warn!(
            store = %host, policy,
            "this Redis may forget records to make room, also a fence that a job took; set its maxmemory-policy to noeviction"
        );
    }
}
