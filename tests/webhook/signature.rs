//! Whom a receiver believes.

use scale_in_guard::webhook::{Secrets, SecretsError, SignatureError, sign, verify};

const HELLO: &[u8] = b"Hello, World!";
const OF_HELLO: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn secrets(secrets: &[&str]) -> Secrets {
    Secrets::new(secrets.iter().copied()).unwrap()
}

#[test]
fn githubs_own_example_fits() {
    let ours = secrets(&["It's a Secret to Everybody"]);
    assert_eq!(verify(&ours, Some(OF_HELLO), HELLO), Ok(()));
    assert_eq!(sign("It's a Secret to Everybody", HELLO), OF_HELLO);
    let upper = format!("sha256={}", OF_HELLO[7..].to_uppercase());
    assert_eq!(verify(&ours, Some(&upper), HELLO), Ok(()));
}

#[test]
fn every_secret_counts_while_they_are_rotated() {
    let both = secrets(&["old", "new"]);
    for (signed_with, fits) in [("old", true), ("new", true), ("other", false), ("", false)] {
        let header = sign(signed_with, HELLO);
        assert_eq!(
            verify(&both, Some(&header), HELLO).is_ok(),
            fits,
            "{signed_with}"
        );
    }
    let header = sign("old", HELLO);
    assert_eq!(
        verify(&secrets(&["new"]), Some(&header), HELLO),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn what_is_no_signature_is_refused() {
    let ours = secrets(&["It's a Secret to Everybody"]);
    let digits = &OF_HELLO[7..];
    let long = format!("sha256={digits}00");
    let odd = format!("sha256={}é", &digits[..62]);
    for header in [
        "",
        "sha256=",
        "sha1=757107",
        digits,
        &long,
        &long[..70],
        &odd,
        " sha256=",
    ] {
        assert_eq!(
            verify(&ours, Some(header), HELLO),
            Err(SignatureError::Malformed),
            "{header}"
        );
    }
    assert_eq!(verify(&ours, None, HELLO), Err(SignatureError::Missing));
    let mut wrong = OF_HELLO.to_owned();
    wrong.replace_range(70..71, if wrong.ends_with('7') { "8" } else { "7" });
    for (header, body) in [(&*wrong, HELLO), (OF_HELLO, b"Hello, World?".as_slice())] {
        assert_eq!(
            verify(&ours, Some(header), body),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn nobody_can_sign_with_nothing_and_nobody_sees_a_secret() {
    assert_eq!(
        Secrets::new(Vec::<String>::new()).unwrap_err(),
        SecretsError::None
    );
    assert_eq!(
        Secrets::new(["fine", ""]).unwrap_err(),
        SecretsError::Empty(2)
    );
    let shown = format!("{:?}", secrets(&["hunter2"]));
    assert!(!shown.contains("hunter2"), "{shown}");
}
