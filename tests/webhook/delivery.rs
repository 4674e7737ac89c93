//! What is read from a body.

use crate::world::{noon, told};
use proptest::prelude::*;
use scale_in_guard::{
    ledger::Action,
    runner::RunnerRef,
    webhook::{Event, JobEvent, ParseError, parse},
};
use serde_json::{Value, json};

const SAMPLES: &str = include_str!("workflow_job-examples.json");

fn read(body: &[u8]) -> Result<Event, ParseError> {
    parse(Some("workflow_job"), Some("application/json"), body, noon())
}

fn job(body: &Value) -> JobEvent {
    match read(body.to_string().as_bytes()) {
        Ok(Event::Job(job)) => *job,
        other => panic!("{other:?}"),
    }
}

fn minimal() -> Value {
    serde_json::from_slice(&told("in_progress", 7).on(5, "r-1").body()).unwrap()
}

#[test]
fn githubs_samples_are_read() {
    let samples: Vec<Value> = serde_json::from_str(SAMPLES).unwrap();
    let read: Vec<_> = samples.iter().map(job).collect();
    let five = RunnerRef {
        id: RunnerRef::numbered(5).id,
        name: Some("GitHub Actions 5".into()),
    };
    let first = &read[0];
    assert_eq!(first.delivery.action, Action::Completed);
    assert_eq!(
        (first.delivery.job_id, first.delivery.attempt),
        (289_782_451, 1)
    );
    assert_eq!(first.delivery.runner, Some(five));
    assert_eq!(&*first.delivery.labels[0], "ubuntu-latest");
    assert_eq!(first.delivery.received_at, noon());
    assert_eq!(&*first.repository, "Codertocat/Hello-World");
    assert_eq!(first.organization.as_deref(), Some("Octocoders"));
    assert_eq!(first.scopes()[0].to_string(), "org:Codertocat");
    assert_eq!(read[1].delivery.action, Action::InProgress);
    assert_eq!(&*read[2].repository, "wolfy1339/github-events-schemas");
    // A queued job whose sample names a runner: it means nothing.
    assert_eq!(read[3].delivery.action, Action::Queued);
    assert_eq!(read[3].delivery.runner, None);
}

/// Replaces what is at a path.
fn with(path: &str, value: Value) -> Value {
    let mut body = minimal();
    *body.pointer_mut(path).unwrap() = value;
    body
}

#[test]
fn what_is_missing_or_odd_is_passed_over() {
    let nobody = |body: Value| assert_eq!(job(&body).delivery.runner, None, "{body}");
    let mut unnamed = with("/workflow_job/runner_id", json!(0));
    unnamed["workflow_job"]["runner_name"] = json!("");
    nobody(unnamed);
    let mut gone = minimal();
    let fields = gone["workflow_job"].as_object_mut().unwrap();
    fields.retain(|name, _| name == "id");
    assert_eq!(job(&gone).delivery.attempt, 1);
    assert!(job(&gone).delivery.labels.is_empty());
    nobody(gone);
    let named = RunnerRef::named("r-1");
    for id in [json!(0), json!(null), json!(-3), json!("5"), json!([5])] {
        assert_eq!(
            job(&with("/workflow_job/runner_id", id)).delivery.runner,
            Some(named.clone())
        );
    }
    let numbered = job(&with("/workflow_job/runner_name", json!(null)));
    assert_eq!(numbered.delivery.runner, Some(RunnerRef::numbered(5)));
    assert_eq!(
        job(&with("/action", json!("teleported"))).delivery.action,
        Action::Other
    );
    assert_eq!(
        job(&with("/action", json!(null))).delivery.action,
        Action::Other
    );
    for attempt in [json!(null), json!(0), json!("2"), json!(1e99)] {
        assert_eq!(
            job(&with("/workflow_job/run_attempt", attempt))
                .delivery
                .attempt,
            1
        );
    }
    // One label that cannot be read: nobody knows what it asks for.
    assert!(
        job(&with("/workflow_job/labels", json!(["linux", 7])))
            .delivery
            .labels
            .is_empty()
    );
    let mut more = minimal();
    more["surprise"] = json!({"a": [1, 2, 3]});
    more["workflow_job"]["deployment"] = json!(null);
    assert_eq!(job(&more), job(&minimal()));
}

#[test]
fn an_enterprise_has_the_job_as_well() {
    let mut body = minimal();
    body["enterprise"] = json!({"slug": "acme-inc"});
    let scopes = |body: &Value| {
        job(body)
            .scopes()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(scopes(&body), ["org:acme", "enterprise:acme-inc"]);
    body["enterprise"] = json!({"slug": "a/b"});
    assert_eq!(scopes(&body), ["org:acme"]);
}

#[test]
fn a_form_is_read_as_well() {
    let body = told("queued", 7).body();
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", std::str::from_utf8(&body).unwrap())
        .finish();
    let form_type = Some("application/x-www-form-urlencoded; charset=utf-8");
    let read_form = parse(Some("workflow_job"), form_type, form.as_bytes(), noon()).unwrap();
    assert_eq!(read_form, read(&body).unwrap());
    let empty = parse(Some("workflow_job"), form_type, b"other=1", noon());
    assert!(matches!(empty, Err(ParseError::NoPayload)));
}

#[test]
fn other_events_are_none_of_our_business() {
    let other = |event| parse(event, None, b"whatever", noon());
    assert!(matches!(other(Some("ping")), Ok(Event::Ping)));
    assert!(matches!(other(Some("push")), Ok(Event::Other)));
    assert!(matches!(other(None), Err(ParseError::NoEvent)));
}

#[test]
fn a_job_that_nobody_could_find_is_refused() {
    let refused = |body: Value| read(body.to_string().as_bytes()).unwrap_err();
    assert!(matches!(
        refused(with("/workflow_job/id", json!(null))),
        ParseError::NoJob
    ));
    assert!(matches!(
        refused(with("/workflow_job", json!(7))),
        ParseError::NoJob
    ));
    assert!(matches!(
        refused(with("/repository", json!({}))),
        ParseError::NoRepository
    ));
    for repository in ["acme", "acme/", "../x", "a b/c", "acme/a/b"] {
        let refused = refused(with("/repository/full_name", json!(repository)));
        assert!(matches!(refused, ParseError::Repository(_)), "{repository}");
    }
    for body in ["", "[]", "7", "{", "\u{feff}{}"] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(read(deep.as_bytes()).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_break_it(body: Vec<u8>, is_form: bool) {
        let kind = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
        let _ = parse(Some("workflow_job"), Some(kind), &body, noon());
    }

    #[test]
    fn no_odd_field_breaks_it(
        odd in any_json(),
        place in proptest::sample::select(vec![
            "/action", "/workflow_job/runner_id", "/workflow_job/runner_name",
            "/workflow_job/run_attempt", "/workflow_job/labels",
        ]),
    ) {
        let event = job(&with(place, odd));
        prop_assert_eq!(event.delivery.job_id, 7);
    }
}
