//! A function that remembers in DynamoDB, as one that is deployed does.

use crate::world::{REPO, World};
use scale_in_guard::stores::DynamoStore;

/// Windows of a second: nobody can make what DynamoDB dates older.
const SHORT: &str = "
grace = '1s'
job_pending = '0s'
evidence_max_age = '4s'
beacon_ttl = '400ms'
settle = '500ms'
";

#[tokio::test]
async fn what_is_remembered_in_a_table_lasts_from_one_function_to_the_next() {
    let Some(world) = World::new().await else {
        return;
    };
    let table = DynamoStore::new(&world.aws(), "scale-down").expect("a store");
    table.create_table().await.expect("a table");
    let world = world
        .with("SCALE_IN_GUARD_STORE", "dynamodb://scale-down")
        .with_policy(SHORT);
    let (first, one) = (world.function().await, world.one(REPO, &[]).await);
    let job = world.start_unflagged_job(&one);
    world.stays(&first, &one).await;
    world.github.finish_job(job);
    let drained = async |summary: &serde_json::Value| (summary["draining"] == 1).then_some(());
    world.until(&first, "it is drained", drained).await;
    drop(first);
    let second = world.function().await;
    world.until_gone(&second, &[&one]).await;
    let ours = world
        .ec2
        .terminations()
        .into_iter()
        .filter(|id| *id == one.id);
    assert_eq!(ours.count(), 1);
}
