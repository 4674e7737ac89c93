use super::*;

fn parse(text: &str) -> Result<StoreUrl, String> {
    text.parse()
        .map_err(|error: StoreUrlError| error.to_string())
}

#[test]
fn every_form_is_read_and_shown_without_its_password() {
    for (text, shown) in [
        ("memory", "memory"),
        ("sqlite:guard.sqlite", "sqlite:guard.sqlite"),
        (
            "sqlite:/var/lib/a:b@c?d#e%41",
            "sqlite:/var/lib/a:b@c?d#e%41",
        ),
        ("redis://localhost", "redis://localhost:6379"),
        ("redis://localhost/", "redis://localhost:6379"),
        (
            "redis://:hunter2@10.0.0.1:7000/3",
            "redis://10.0.0.1:7000/3",
        ),
        ("redis://guard@r", "redis://guard@r:6379"),
        ("rediss://a%40b:h%2Funter2@r", "rediss://a%40b@r:6379"),
        (
            "rediss://r?ca=/etc/my%20ca.pem",
            "rediss://r:6379?ca=/etc/my%20ca.pem",
        ),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("redis://[::1]", "redis://[::1]:6379"),
        (
            "redis+cluster://u:hunter2@a,b:7001",
            "redis+cluster://u@a:6379,b:7001",
        ),
        ("rediss+cluster://a", "rediss+cluster://a:6379"),
        (
            "redis+sentinel://:hunter2@a,b/guards",
            "redis+sentinel://a:26379,b:26379/guards",
        ),
        (
            "rediss+sentinel://a:1/my%2Fguards/2",
            "rediss+sentinel://a:1/my%2Fguards/2",
        ),
        ("dynamodb://guard", "dynamodb://guard"),
        (
            "dynamodb://guard?endpoint=http%3A%2F%2F127.0.0.1:8000&region=eu-central-1",
            "dynamodb://guard?region=eu-central-1&endpoint=http://127.0.0.1:8000",
        ),
    ] {
        let url = parse(text).expect(text);
        assert_eq!(url.to_string(), shown);
        assert!(!format!("{url:?}").contains("hunter"), "{url:?}");
        // What is shown is a URL again, of the same store.
        assert_eq!(parse(shown).expect(shown).to_string(), shown);
    }
}

#[test]
fn a_password_is_decoded() {
    let Ok(StoreUrl::Redis(address)) = parse("redis://u%3As:p%2F%40%3a%25w@h") else {
        panic!("a Redis")
    };
    assert_eq!(address.user.as_deref(), Some("u:s"));
    assert_eq!(address.password.as_deref(), Some("p/@:%w"));
    let address = address.password("another");
    assert_eq!(address.password.as_deref(), Some("another"));
}

#[test]
fn what_is_not_understood_is_refused_with_what_to_write() {
    for (text, said) in [
        ("", "sqlite:PATH"),
        ("redis", "redis://"),
        ("Memory", "memory"),
        ("postgres://x", "sqlite:PATH"),
        ("sqlite:", "no file"),
        ("sqlite:~/guard.sqlite", "the whole path"),
        ("sqlite:file:guard.sqlite", "not a URI"),
        ("sqlite:///guard.sqlite", "one slash"),
        ("redis:localhost", "two slashes"),
        ("redis://", "host"),
        ("redis://:hunter2@", "host"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:+1", "port"),
        ("redis://h:", "port"),
        ("redis://h h", "host"),
        ("redis://::1", "host"),
        ("redis://[localhost]", "host"),
        ("redis://a,b", "redis+cluster://"),
        ("redis://h/x", "number"),
        ("redis://h/+1", "number"),
        ("redis://h/1/2", "number"),
        ("redis://:hunter/2@h", "%2F"),
        ("redis://:hunter#2@h", "%23"),
        ("redis://:hunter%2@h", "%25"),
        ("redis://:hunter%zz@h", "%25"),
        ("redis://h?ca=x", "TLS"),
        ("rediss://h?ca=", "no file"),
        ("rediss://h?ca=a&ca=b", "once"),
        ("rediss://h?insecure=1", "alone"),
        ("redis+cluster://a,b/1", "databases"),
        ("redis+cluster://a,", "host"),
        ("redis+sentinel://a,b", "primary's name"),
        ("redis+unix://a", "sqlite:PATH"),
        ("redis+cluster:a", "redis+cluster://"),
        ("dynamodb:guard", "dynamodb://TABLE"),
        ("dynamodb://ab", "3 to 255"),
        ("dynamodb://a/b/c", "3 to 255"),
        ("dynamodb://guard?region=", "region"),
        ("dynamodb://guard?region=EU", "region"),
        ("dynamodb://guard?endpoint=ftp://x", "http://"),
        ("dynamodb://guard?endpoint=http://u:p@x", "http://"),
        ("dynamodb://guard?regoin=x", "alone"),
        ("dynamodb://guard?region", "NAME=VALUE"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.contains("hunter"), "{text}: {error}");
    }
}

#[cfg(not(feature = "dynamodb"))]
#[tokio::test]
async fn a_build_without_a_store_names_its_feature() {
    let url: StoreUrl = "dynamodb://guard?region=eu-central-1".parse().unwrap();
    let error = url.open().await.expect_err("no such store").to_string();
    assert!(error.contains("`dynamodb`"), "{error}");
}
