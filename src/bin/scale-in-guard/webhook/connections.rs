//! Connections: no more than so many, none of them idle or slow for ever, and each finished before the end.

use super::routes::Routes;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections at the same time. Further ones wait to be accepted.
const MOST: usize = 1_024;

/// How long a request's headers may take, and how long a connection may be idle.
const TO_ASK: Duration = Duration::from_secs(15);

/// How long the headers of a request may be, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// How long what was accepted may take once we are told to end: reading and writing have bounds of their own.
const TO_FINISH: Duration = Duration::from_secs(25);

/// Serves until `stop`, and then finishes what was begun.
pub(super) async fn serve(listener: TcpListener, routes: Routes, stop: impl Future<Output = ()>) {
    let routes = Arc::new(routes);
    let places = Arc::new(Semaphore::new(MOST));
    let (going, is_going) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accept = async {
            let place = match places.clone().try_acquire_owned() {
                Ok(place) => Ok(place),
                // Whoever waits now may be GitHub, and may give up.
                Err(_) => {
                    routes.is_full();
                    places.clone().acquire_owned().await
                }
            };
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        match (accepted, place) {
            (Ok((stream, _)), Ok(place)) => {
                let one = connection(stream, routes.clone(), is_going.clone());
                connections.spawn(async move {
                    one.await;
                    drop(place);
                });
            }
            // Out of sockets, most likely: wait until some are closed.
            _ => {
                routes.is_full();
                sleep(Duration::from_millis(10)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    going.send(true).ok();
    let finish = async { while connections.join_next().await.is_some() {} };
    timeout(TO_FINISH, finish).await.ok();
}

async fn connection(stream: TcpStream, routes: Arc<Routes>, mut is_going: watch::Receiver<bool>) {
    // Without it each answer waits some 40 ms for the client's acknowledgement.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TO_ASK)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // It ends with an error whenever the client cuts it.
        _ = connection.as_mut() => return,
        _ = is_going.wait_for(|going| *going) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await.ok();
}
