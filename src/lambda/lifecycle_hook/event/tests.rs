use super::*;
use serde_json::json;

fn notification(transition: &str) -> Value {
    json!({
        "LifecycleHookName": "runners", "AccountId": "123456789012", "RequestId": "1", "Service": "AWS Auto Scaling",
        "LifecycleTransition": transition, "AutoScalingGroupName": "linux", "EC2InstanceId": "i-06cbe04821ccba677",
        "LifecycleActionToken": "87654321-4321-4321-4321-210987654321", "Time": "2026-05-14T02:00:00.000Z",
        "Origin": "AutoScalingGroup", "Destination": "EC2",
    })
}

fn terminating() -> Value {
    notification("autoscaling:EC2_INSTANCE_TERMINATING")
}

fn of_event_bridge(detail: &Value) -> Value {
    json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "source": "aws.autoscaling",
        "detail-type": "EC2 Instance-terminate Lifecycle Action", "account": "123456789012",
        "resources": ["arn:aws:autoscaling:…"], "detail": detail,
    })
}

fn of_sns(message: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:…", "Message": message.to_string()})
}

fn of_sqs(body: &Value) -> Value {
    json!({"Records": [{"messageId": "m-1", "receiptHandle": "…", "body": body.to_string()}]})
}

fn only(event: Event) -> Result<Wanted, Unreadable> {
    match event {
        Event::Direct(wanted) => Ok(wanted),
        Event::Batch(mut messages) => {
            assert_eq!(messages.len(), 1);
            let (id, wanted) = messages.remove(0);
            assert_eq!(id, "m-1");
            wanted
        }
    }
}

fn read(event: &Value) -> Result<Wanted, Unreadable> {
    Event::read(event).and_then(only)
}

#[test]
fn a_termination_is_read_in_every_wrapping() {
    let bare = terminating();
    let action = LifecycleAction {
        group: "linux".to_owned(),
        hook: "runners".to_owned(),
        instance: "i-06cbe04821ccba677".parse().unwrap(),
        token: Some("87654321-4321-4321-4321-210987654321".to_owned()),
    };
    let bridged = of_event_bridge(&bare);
    for event in [
        bare.clone(),
        bridged.clone(),
        of_sqs(&bare),
        of_sqs(&bridged),
        of_sqs(&of_sns(&bare)),
        of_sqs(&of_sns(&bridged)),
    ] {
        let wanted = read(&event).unwrap();
        assert_eq!(wanted, Wanted::Termination(action.clone()), "{event}");
    }
}

#[test]
fn a_launch_and_a_test_want_nothing() {
    let launch = notification("autoscaling:EC2_INSTANCE_LAUNCHING");
    let test = json!({"Event": "autoscaling:TEST_NOTIFICATION", "AutoScalingGroupName": "linux"});
    for event in [&launch, &test, &of_sqs(&launch), &of_sqs(&of_sns(&test))] {
        assert!(matches!(read(event), Ok(Wanted::Nothing(_))), "{event}");
    }
}

#[test]
fn what_is_nothing_of_a_hook_is_said() {
    let mut nobody = terminating();
    nobody["EC2InstanceId"] = json!("i 1");
    let mut hookless = terminating();
    hookless
        .as_object_mut()
        .unwrap()
        .remove("LifecycleHookName");
    let wrapped = (0..5).fold(terminating(), |event, _| of_sns(&event));
    for (event, said) in [
        (json!({}), "no LifecycleTransition"),
        (json!([]), "no LifecycleTransition"),
        (json!({"Records": 7}), "none of SQS"),
        (json!({"Records": [{"body": "{}"}]}), "messageId"),
        (
            json!({"Records": [{"messageId": "m-1", "body": "hello"}]}),
            "no JSON",
        ),
        (notification("autoscaling:EC2_INSTANCE_DANCING"), "DANCING"),
        (nobody, "no instance's id"),
        (hookless, "LifecycleHookName"),
        (wrapped, "too often"),
    ] {
        let unreadable = read(&event).unwrap_err().to_string();
        assert!(unreadable.contains(said), "{event}: {unreadable}");
        assert!(!unreadable.contains("87654321"), "{unreadable}");
    }
}

#[test]
fn one_message_that_cannot_be_read_spoils_no_other() {
    let body = terminating().to_string();
    let event =
        json!({"Records": [{"messageId": "a", "body": "?"}, {"messageId": "b", "body": body}]});
    let Ok(Event::Batch(messages)) = Event::read(&event) else {
        panic!("a batch")
    };
    assert!(messages[0].1.is_err());
    assert!(matches!(messages[1].1, Ok(Wanted::Termination(_))));
}
