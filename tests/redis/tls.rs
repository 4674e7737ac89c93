//! TLS, with a certificate that only `?ca=` makes trusted.

use crate::server::{Server, fault, is_installed, memory, open, read, value, write};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use scale_in_guard::stores::{RedisAddress, RedisFault, RedisStore};
use std::fs;

/// A server with a certificate for this name.
fn server(name: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (
        folder.path().join("it's.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (certificate, key) = (certificate.to_owned(), key.to_owned());
    let arguments = [
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "open-sesame",
    ];
    Server::start_in(folder, &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_trusted_is_spoken_to_and_no_other() {
    if !is_installed() {
        return;
    }
    let server = server("localhost");
    let (port, ca) = (server.port, server.path("it's.pem"));
    let ca = ca.to_str().unwrap();
    let trusted = format!("rediss://:open-sesame@localhost:{port}?ca={ca}");
    let store = open(&trusted);
    write(&store, &memory("r-1"), "over TLS").await;
    assert_eq!(
        value(&store, &memory("r-1")).await.as_deref(),
        Some("over TLS")
    );
    for (url, why) in [
        (
            format!("rediss://:open-sesame@localhost:{port}"),
            "not trusted",
        ),
        (
            format!("rediss://:open-sesame@127.0.0.1:{port}?ca={ca}"),
            "another name",
        ),
        (format!("redis://:open-sesame@localhost:{port}"), "no TLS"),
    ] {
        let refused = fault(read(&open(&url), &memory("r-1")).await);
        assert!(
            matches!(refused, RedisFault::Unreachable { .. }),
            "{why}: {refused:?}"
        );
    }
    let missing = format!("{trusted}.missing")
        .parse::<RedisAddress>()
        .unwrap();
    let error = RedisStore::new(missing).expect_err("no file").to_string();
    assert!(error.contains("?ca="), "{error}");
    assert!(!error.contains("sesame"), "{error}");
}
