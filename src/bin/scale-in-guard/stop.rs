//! Somebody tells this process to end.

use crate::Fault;

/// Ends when somebody tells this process to end.
#[cfg(unix)]
pub(crate) fn stop() -> Result<impl Future<Output = ()>, Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Ends when somebody tells this process to end.
#[cfg(not(unix))]
pub(crate) fn stop() -> Result<impl Future<Output = ()>, Fault> {
    Ok(async move {
        tokio::signal::ctrl_c().await.ok();
    })
}
