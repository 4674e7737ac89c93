//! A connection that is cut in the middle of a write: before the server had it, or after, before we heard of it.

use crate::server::{fault, memory, open, read, server_or_skip, write};
use scale_in_guard::{
    store::{Store, Swap},
    stores::RedisFault,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// What makes the proxy cut.
const MARK: &[u8] = b"cut-here";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    BeforeTheServer,
    BeforeTheAnswer,
}

/// Passes everything on until the mark comes; then it cuts that connection. It counts the marks.
async fn proxy(server: u16, cut: Cut) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let marks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&marks);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(pass_on(client, server, cut, Arc::clone(&counted)));
        }
    });
    (port, marks)
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, cut: Cut, marks: Arc<AtomicUsize>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let command = &asked[..length];
                if command.windows(MARK.len()).any(|part| part == MARK) {
                    marks.fetch_add(1, Ordering::SeqCst);
                    if cut == Cut::BeforeTheAnswer {
                        server.write_all(command).await.unwrap();
                        // The answer has come: the server did it.
                        assert!(server.read(&mut answered).await.unwrap() > 0);
                    }
                    return;
                }
                server.write_all(command).await.unwrap();
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                client.write_all(&answered[..length]).await.unwrap();
            }
        }
    }
}

async fn is_an_error_and_goes_on(cut: Cut, then: &str) {
    let server = server_or_skip!();
    let (port, marks) = proxy(server.port, cut).await;
    let store = open(&format!("redis://127.0.0.1:{port}"));
    let version = write(&store, &memory("r-1"), "first").await;
    let broken = fault(store.swap(&memory("r-1"), Some(version), "cut-here").await);
    assert!(matches!(broken, RedisFault::Broken(_)), "{broken:?}");
    assert_eq!(marks.load(Ordering::SeqCst), 1, "a write is sent once");
    let stands = read(&store, &memory("r-1")).await.unwrap().unwrap();
    assert_eq!(stands.value, then);
    assert_eq!(stands.version == version, cut == Cut::BeforeTheServer);
    let next = store
        .swap(&memory("r-1"), Some(stands.version), "next")
        .await;
    assert!(matches!(next.unwrap(), Swap::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_did_not_arrive_is_an_error() {
    is_an_error_and_goes_on(Cut::BeforeTheServer, "first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_an_error_and_not_repeated() {
    is_an_error_and_goes_on(Cut::BeforeTheAnswer, "cut-here").await;
}

/// Reading again harms nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_over_a_connection_that_broke_while_it_was_idle_is_made_anew() {
    let server = server_or_skip!();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let store = open(&format!("redis://{}", listener.local_addr().unwrap()));
    let port = server.port;
    let (cut, mut cuts) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = cuts.recv() => {}
            }
        }
    });
    write(&store, &memory("r-1"), "first").await;
    for _ in 0..3 {
        cut.send(()).await.unwrap();
        let kept = read(&store, &memory("r-1")).await.unwrap();
        assert_eq!(kept.unwrap().value, "first");
    }
}
