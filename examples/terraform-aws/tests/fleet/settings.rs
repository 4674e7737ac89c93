//! Variables and parameters that cannot be read: nothing is done, and the answer says which.

use crate::{
    function::{Function, MINUTE},
    world::{REPO, World},
};
use scale_in_guard::testing::Invocation;

#[tokio::test]
async fn what_cannot_be_read_is_told_by_its_name_and_nothing_is_done() {
    let Some(world) = World::new().await else {
        return;
    };
    let one = world.one(REPO, &[]).await;
    for (name, value, says) in [
        ("SCALE_DOWN_CONFIG", "[{]", "SCALE_DOWN_CONFIG"),
        ("SCALE_IN_GUARD_STORE", "memory", "SCALE_IN_GUARD_STORE"),
        ("SCALE_IN_GUARD_MODUS", "live", "SCALE_IN_GUARD_MODUS"),
        ("PARAMETER_GITHUB_APP_ID_NAME", "/nowhere", "/nowhere"),
        // That of the id holds no key.
        (
            "PARAMETER_GITHUB_APP_KEY_BASE64_NAME",
            &world.parameter("id"),
            "PEM",
        ),
        (
            "AWS_ENDPOINT_URL_SSM",
            "http://127.0.0.1:9",
            "the parameter",
        ),
        ("GHES_URL", "http://github.example.com", "http"),
    ] {
        let function = Function::start(&world.variables_with(name, value)).await;
        let failed = function.invoke(MINUTE).await;
        let Invocation::Failed(failure) = failed else {
            panic!("{name}: {failed:?}");
        };
        let text = failure["errorMessage"].as_str().unwrap();
        assert!(text.contains(says), "{name}: {text}");
        let logged = format!("{:?}", function.end());
        assert!(logged.contains(says), "{name}: {logged}");
    }
    assert_eq!(world.ec2.changes(), [""; 0]);
    assert!(world.runs(&one).await);
}
