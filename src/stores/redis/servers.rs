//! The servers of one address: which one holds a scope's records, and the connections to them.
//!
//! No command is sent twice but where the server said that it did not do it: it does not know the script, or another
//! node of the cluster has the records. What ends a connection is forgotten with it, and the next question connects
//! anew.

use super::{connect::Connector, fault::RedisFault, script::Script};
use crate::stores::url::{Form, Host, RedisAddress};
use redis::{Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd, pipe};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::OnceCell, time::timeout};

/// How long one question may take, with connecting and all redirections.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A cluster that sends us on and on is not whole.
const REDIRECTIONS: usize = 5;

/// One connection. Who needs it while it is made waits for it.
type Line = Arc<OnceCell<MultiplexedConnection>>;

#[derive(Debug)]
pub(super) struct Servers {
    address: RedisAddress,
    connector: Connector,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lines: HashMap<Host, Line>,
    /// Who holds the records of a scope, by its tag.
    homes: HashMap<String, Host>,
}

/// Bounds a question.
pub(super) async fn in_time<T>(
    question: impl Future<Output = Result<T, RedisFault>>,
) -> Result<T, RedisFault> {
    let answer = timeout(PATIENCE, question).await;
    answer.unwrap_or(Err(RedisFault::Slow(PATIENCE)))
}

impl Servers {
    pub(super) fn new(address: RedisAddress) -> io::Result<Self> {
        Ok(Self {
            connector: Connector::new(&address)?,
            address,
            known: Mutex::default(),
        })
    }

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Runs a script where the records of this scope are.
    pub(super) async fn run(
        &self,
        tag: &str,
        script: &Script,
        keys: &[String],
        arguments: &[&str],
    ) -> Result<Value, RedisFault> {
        let (mut used, mut is_sent) = (None, false);
        let mut answer = in_time(async {
            let (mut host, mut asking) = (self.home(tag).await?, false);
            for _ in 0..REDIRECTIONS {
                let line = self.line(&host);
                used = Some((host.clone(), line.clone()));
                is_sent = false;
                let mut connection = self.connected(&host, &line).await?;
                is_sent = true;
                let mut answer =
                    send(&mut connection, script.by_name(keys, arguments), asking).await;
                if answer
                    .as_ref()
                    .is_err_and(|error| error.code() == Some("NOSCRIPT"))
                {
                    answer = send(&mut connection, script.in_full(keys, arguments), asking).await;
                }
                let error = match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                host = self
                    .redirection(&host, &error)
                    .ok_or_else(|| RedisFault::of(&error))?;
                asking = error.code() == Some("ASK");
                if !asking {
                    self.known().homes.insert(tag.to_owned(), host.clone());
                }
            }
            let what = format!("{REDIRECTIONS} nodes sent on to another one");
            Err(RedisFault::Moving(what))
        })
        .await;
        if let (Err(RedisFault::Slow(patience)), false) = (&answer, is_sent) {
            let host = used
                .as_ref()
                .map_or_else(String::new, |(host, _): &(Host, Line)| host.to_string());
            let what = format!("no connection within {patience:?}");
            answer = Err(RedisFault::Unreachable { host, what });
        }
        if let Err(fault) = &answer
            && !fault.spares_connection()
        {
            self.forget(tag, used);
        }
        answer
    }

    /// The connection over which the records of this scope are reached now. It stays with its server.
    pub(super) async fn connection(&self, tag: &str) -> Result<MultiplexedConnection, RedisFault> {
        in_time(async {
            let host = self.home(tag).await?;
            self.connected(&host, &self.line(&host)).await
        })
        .await
    }

    /// Who holds the records of this scope, as far as is known: a cluster tells where that is wrong.
    async fn home(&self, tag: &str) -> Result<Host, RedisFault> {
        let known = self.known().homes.get(tag).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let tries = u32::try_from(self.address.hosts.len()).unwrap_or(u32::MAX);
        // None of several that is dead takes the time of the next.
        let patience = PATIENCE / tries.saturating_add(1);
        let mut last = RedisFault::Slow(PATIENCE);
        for host in &self.address.hosts {
            let found = async {
                match &self.address.form {
                    Form::Server => Ok(host.clone()),
                    Form::Cluster => {
                        self.connected(host, &self.line(host)).await?;
                        Ok(host.clone())
                    }
                    Form::Sentinel { primary } => {
                        let primary = self.connector.primary(host, primary).await?;
                        self.must_be_primary(&primary).await?;
                        Ok(primary)
                    }
                }
            };
            match timeout(patience, found).await {
                Ok(Ok(home)) => {
                    let mut known = self.known();
                    known.homes.insert(tag.to_owned(), home.clone());
                    return Ok(home);
                }
                Ok(Err(fault)) => last = fault,
                Err(_) => {
                    last = RedisFault::Unreachable {
                        host: host.to_string(),
                        what: format!("no answer within {patience:?}"),
                    };
                }
            }
        }
        Err(last)
    }

    /// Sentinels may be late to know of a failover.
    async fn must_be_primary(&self, host: &Host) -> Result<(), RedisFault> {
        let mut connection = self.connected(host, &self.line(host)).await?;
        let role = cmd("ROLE").query_async::<Value>(&mut connection).await;
        let role = role.map_err(|error| RedisFault::of(&error))?;
        let is_primary = match role {
            Value::Array(parts) => {
                matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master")
            }
            _ => false,
        };
        if is_primary {
            return Ok(());
        }
        // It may become one: then over another connection.
        self.known().lines.remove(host);
        Err(RedisFault::NoPrimary(format!("{host} says so itself")))
    }

    async fn connected(
        &self,
        host: &Host,
        line: &Line,
    ) -> Result<MultiplexedConnection, RedisFault> {
        let connection = line.get_or_try_init(|| self.connector.server(host)).await?;
        Ok(connection.clone())
    }

    fn line(&self, host: &Host) -> Line {
        self.known().lines.entry(host.clone()).or_default().clone()
    }

    /// Where a node of a cluster sends us. An empty host stands for its own.
    fn redirection(&self, from: &Host, error: &RedisError) -> Option<Host> {
        if self.address.form != Form::Cluster {
            return None;
        }
        let (node, _slot) = error.redirect_node()?;
        let (name, port) = node.rsplit_once(':')?;
        let name = if name.is_empty() { &from.name } else { name };
        let (name, port) = (name.to_owned(), port.parse().ok()?);
        Some(Host { name, port })
    }

    /// Forgets a connection that is of no more use, unless somebody has made a new one since.
    fn forget(&self, tag: &str, used: Option<(Host, Line)>) {
        let mut known = self.known();
        known.homes.remove(tag);
        if let Some((host, line)) = used
            && known
                .lines
                .get(&host)
                .is_some_and(|known| Arc::ptr_eq(known, &line))
        {
            known.lines.remove(&host);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Both maps are whole after each call, whoever panicked in between.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `asking`: the server takes it although the records are only about to be its own.
async fn send(
    connection: &mut MultiplexedConnection,
    command: Cmd,
    asking: bool,
) -> RedisResult<Value> {
    if !asking {
        return command.query_async(connection).await;
    }
    let mut both = pipe();
    both.cmd("ASKING").ignore().add_command(command);
    let (answer,) = both.query_async(connection).await?;
    Ok(answer)
}
