//! The beacon's reporter: what it asks of the table, and that a guard hears it.

use crate::{
    proxy::{Fate, Proxy},
    world::World,
};
use scale_in_guard::{
    beacon::{Reporter, Word},
    beat::Beat,
    clock::{Clock, SystemClock},
    fence::Fence,
    lease::{Heartbeat, HostJob, Report},
    policy::Policy,
    store::{Key, Kind, Store},
};
use serde_json::Value;

/// What its credentials must allow, and no more: `dynamodb:LeadingKeys` is compared with these. moto enforces no policy,
/// so the requests themselves are looked at.
#[tokio::test]
async fn a_beacon_touches_only_the_partition_of_its_runner() {
    let Some(world) = World::new().await else {
        return;
    };
    let proxy = Proxy::before(world.moto.address, |_| Fate::Served);
    let (scope, name) = ("org:Acme".parse().unwrap(), "r-1".parse().unwrap());
    let (clock, policy) = (SystemClock, Policy::default());
    let now = clock.now();
    let mut heartbeat = Heartbeat::new(now);
    let mut reporter = Reporter::new(world.through(&proxy.url()), &scope, &name, None, now);
    let word = |heartbeat: &Heartbeat, started| Word {
        heartbeat: heartbeat.clone(),
        started,
        going: false,
    };
    reporter
        .report(&word(&heartbeat, false), &clock)
        .await
        .expect("a report");
    let (job, at) = (HostJob::new("job-1"), clock.now());
    heartbeat.hear(Report::Started { job, at }, at, &policy);
    reporter
        .report(&word(&heartbeat, true), &clock)
        .await
        .expect("a report");
    // Another run of it, which goes on from there.
    let mut anew = Reporter::new(
        world.through(&proxy.url()),
        &scope,
        &name,
        None,
        clock.now(),
    );
    anew.report(&word(&heartbeat, false), &clock)
        .await
        .expect("a report");

    let requests = proxy.requests();
    for request in &requests {
        assert!(
            matches!(&*request.operation, "BatchGetItem" | "PutItem"),
            "{request:?}"
        );
        let partitions = partitions(&request.body);
        assert!(!partitions.is_empty(), "{request:?}");
        for partition in partitions {
            assert_eq!(partition, "host|*|org:acme|r-1", "{request:?}");
        }
    }
    assert!(proxy.count("PutItem") >= 4, "{requests:?}");

    let key = |kind| Key::of_runner("*".into(), scope.clone(), kind, name.clone());
    let keys = [key(Kind::Heartbeat), key(Kind::Fence)];
    let read = world.store.read(&keys).await.expect("a read");
    let [Some(beat), Some(fence)] = &read[..] else {
        panic!("{read:?}")
    };
    let told: Beat = serde_json::from_str(&beat.value).expect("a beat");
    assert_eq!(told.sequence, 3);
    let taken: Fence = serde_json::from_str(&fence.value).expect("a fence");
    assert_eq!(taken.epoch(), 1);
}

/// The partition keys of a request, wherever they stand in it.
fn partitions(body: &Value) -> Vec<String> {
    match body {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match name.as_str() {
                "pk" => vec![value["S"].as_str().expect("a text").to_owned()],
                _ => partitions(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(partitions).collect(),
        _ => vec![],
    }
}
