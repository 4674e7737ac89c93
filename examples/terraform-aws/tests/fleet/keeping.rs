//! What stays although nothing holds it: by the module's own variables and tags, or because nothing is to be done.

use crate::world::{ORG, REPO, World};
use serde_json::Value;

fn always(count: usize, eviction: &str) -> String {
    format!(
        r#"[{{"cron":"* * * * * *","timeZone":"UTC","idleCount":{count},"evictionStrategy":"{eviction}"}}]"#
    )
}

#[tokio::test]
async fn idle_counts_are_kept_for_each_owner_and_by_idle_runners_alone() {
    let Some(world) = World::new().await else {
        return;
    };
    let world = world.with("SCALE_DOWN_CONFIG", &always(1, "oldest_first"));
    let busy = world.some(2, ORG, &[]).await;
    let jobs: Vec<_> = busy
        .iter()
        .map(|one| world.start_unflagged_job(one))
        .collect();
    world.some(3, ORG, &[]).await;
    world.some(2, REPO, &[]).await;
    let function = world.function().await;
    let one_of_each = async |summary: &Value| {
        let running = world.running().await.len();
        (running == busy.len() + 2 && summary["idle_kept"] == 2).then_some(())
    };
    world
        .until(&function, "one of each owner is left", one_of_each)
        .await;
    let summary = world.round(&function).await;
    assert_eq!(summary["held"]["idle_kept"], 2, "{summary}");
    // The busy ones become idle: then they count, and one of the three is enough.
    for job in jobs {
        world.github.finish_job(job);
    }
    let two_left = async |_: &Value| (world.running().await.len() == 2).then_some(());
    world
        .until(&function, "one of each owner is left", two_left)
        .await;
    assert_eq!(world.killed(), [""; 0]);
    for _ in 0..3 {
        world.round(&function).await;
    }
    assert_eq!(world.running().await.len(), 2);
}

#[tokio::test]
async fn an_instance_to_be_left_alone_is_until_its_tag_is_gone() {
    let Some(world) = World::new().await else {
        return;
    };
    let bypassed = [("ghr:bypass-removal", "true"), ("ghr:orphan", "true")];
    let (function, one) = (world.function().await, world.one(REPO, &bypassed).await);
    world.stays(&function, &one).await;
    assert!(world.github.is_registered(&one.scope, &one.name));
    let summary = world.round(&function).await;
    assert_eq!(summary["bypassed"], 1, "{summary}");
    let untag = aws_sdk_ec2::Client::new(&world.aws())
        .delete_tags()
        .resources(&one.id)
        .tags(
            aws_sdk_ec2::types::Tag::builder()
                .key("ghr:bypass-removal")
                .build(),
        );
    untag.send().await.unwrap();
    world.until_gone(&function, &[&one]).await;
}

#[tokio::test]
async fn shadow_mode_changes_nothing() {
    let Some(world) = World::new().await else {
        return;
    };
    for mode in ["shadow", ""] {
        let idle = world.one(REPO, &[]).await;
        let world = &world;
        let shadow = world.variables_with("SCALE_IN_GUARD_MODE", mode);
        let function = crate::function::Function::start(&shadow).await;
        let would_go = async |summary: &Value| {
            let told = function.last(&idle.id)?;
            (told["decision"] == "would_go").then(|| summary.clone())
        };
        let summary = world.until(&function, "it would go", would_go).await;
        assert_eq!(summary["mode"], "shadow", "{summary}");
        assert!(world.runs(&idle).await);
        assert!(world.github.is_registered(&idle.scope, &idle.name));
    }
    assert_eq!(world.ec2.changes(), [""; 0]);
    let requests = world.github.requests();
    let writes = requests.iter().filter(|request| request.method == "DELETE");
    assert_eq!(writes.count(), 0);
}

#[tokio::test]
async fn a_young_instance_is_left_alone() {
    let Some(world) = World::new().await else {
        return;
    };
    let world = world.with("MINIMUM_RUNNING_TIME_IN_MINUTES", "60");
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    let held = async |_: &Value| {
        let told = function.last(&one.id)?;
        (told["codes"] == serde_json::json!(["minimum_running_time"])).then_some(())
    };
    world.until(&function, "nothing else holds it", held).await;
    assert!(world.runs(&one).await);
    assert!(world.github.is_registered(&one.scope, &one.name));
}

#[tokio::test]
async fn two_runners_on_one_instance_go_together_or_not_at_all() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(ORG, &[]).await);
    let other = world.register(&one.id, ORG, "linux-2");
    let job = world.start_unflagged_job(&other);
    world.stays(&function, &one).await;
    assert!(
        world.github.is_registered(&one.scope, &one.name),
        "the idle one is not even drained"
    );
    world.github.finish_job(job);
    world.until_gone(&function, &[&one]).await;
    let ours = world
        .ec2
        .terminations()
        .into_iter()
        .filter(|id| *id == one.id);
    assert_eq!(ours.count(), 1);
}
