use super::*;

const TOKEN: (&str, &str) = ("GITHUB_TOKEN", "the-token-hunter2");
const STORE_THERE: (&str, &str) = ("SCALE_IN_GUARD_STORE", "dynamodb://guard");

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Settings::read(variables.iter().map(owned)).map_err(|error| error.to_string())
}

/// With a store and a token, which every shim needs.
fn read_with(variables: &[(&str, &str)]) -> Result<Settings, String> {
    read(&[&[STORE_THERE, TOKEN], variables].concat())
}

#[test]
fn nothing_but_a_store_and_a_token_is_shadow_mode_with_the_default_policy() {
    let settings = read_with(&[]).unwrap();
    assert_eq!(settings.mode, Mode::Shadow);
    assert_eq!(settings.policy, Policy::default());
    assert_eq!(settings.repositories, Repositories::of_each_runner());
    assert_eq!(settings.api_url, API_URL);
    assert!(!settings.webhooks);
    assert!(settings.scope().unwrap_err().to_string().contains(SCOPE));
}

#[test]
fn every_variable_is_read() {
    let settings = read_with(&[
        (SCOPE, "org:acme"),
        (RUNNER_NAME, "template:ghr-{instance}"),
        (REPOSITORIES, "acme/atlas, acme/borealis"),
        (REPOSITORIES_ARE_ALL, "true"),
        (POLICY, "grace = \"10m\"\nmin_age = \"1m\""),
        (WEBHOOKS, "true"),
        (MODE, "live"),
        (API, "https://ghes.acme.example/api/v3"),
        ("SCALE_IN_GUARD_LOG", "warn,scale_in_guard=debug"),
        ("SCALE_IN_GUARD_REDIS_PASSWORD", "hunter2"),
        (LIMITS, "none"),
        ("GITHUB_ACTIONS", "what other programs read"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.scope().unwrap().to_string(), "org:acme");
    let rule = settings.runner_name.as_ref().unwrap();
    assert_eq!(rule.to_string(), "template:ghr-{instance}");
    let repositories = ["acme/atlas", "acme/borealis"].map(|name| name.parse().unwrap());
    assert_eq!(settings.repositories, Repositories::all(repositories));
    assert_eq!(settings.policy.grace, chrono::TimeDelta::minutes(10));
    assert_eq!(settings.mode, Mode::Live);
    assert!(settings.webhooks);
    assert_eq!(settings.limits, Limits::none());
    assert_eq!(settings.api_url, "https://ghes.acme.example/api/v3");
    assert!(!format!("{settings:?}").contains("hunter"), "{settings:?}");
}

#[test]
fn a_policy_may_lie_beside_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, "grace = \"7m\"").unwrap();
    let settings = read_with(&[(POLICY, &format!("file:{}", path.display()))]).unwrap();
    assert_eq!(settings.policy.grace, chrono::TimeDelta::minutes(7));
}

#[test]
fn what_is_not_understood_is_refused_with_its_name_and_what_to_write() {
    for (variable, value, said) in [
        ("SCALE_IN_GUARD_SCOPES", "org:acme", "SCALE_IN_GUARD_SCOPE,"),
        (STORE, "memory", "when AWS ends it"),
        (STORE, "postgres://:hunter2@x", "dynamodb://TABLE"),
        (SCOPE, "acme", "org:NAME"),
        (RUNNER_NAME, "endswith", "ends-with"),
        (REPOSITORIES, "atlas", "OWNER/NAME"),
        (REPOSITORIES_ARE_ALL, "true", REPOSITORIES),
        (REPOSITORIES_ARE_ALL, "yes", "true or false"),
        (POLICY, "grace = 5", "grace"),
        (POLICY, "graze = \"5m\"", "graze"),
        (POLICY, "file:nowhere.toml", "nowhere.toml"),
        (WEBHOOKS, "1", "true or false"),
        (LIMITS, "some", "none"),
        (MODE, "Live", "shadow"),
        ("SCALE_IN_GUARD_LOG", "=====", "warn,scale_in_guard=debug"),
        ("GITHUB_APP_ID", "7", "GITHUB_APP_PRIVATE_KEY"),
        ("GITHUB_APP_PRIVATE_KEY", "hunter2", "GITHUB_APP_ID"),
        ("GITHUB_APP_INSTALLATION_ID", "hunter2", "number"),
        ("GITHUB_APP_INSTALLATION_ID", "7", "GITHUB_APP_ID"),
        ("GITHUB_TOKEN_PARAMETER", "/github/token", "GITHUB_TOKEN"),
    ] {
        let token = match variable {
            "GITHUB_APP_ID" | "GITHUB_APP_PRIVATE_KEY" => ("GITHUB_TOKEN", ""),
            _ => TOKEN,
        };
        let error = read(&[STORE_THERE, token, (variable, value)]).expect_err(value);
        let starts = error.starts_with(variable) || error.contains(said);
        assert!(starts && error.contains(said), "{variable}: {error}");
        assert!(!error.contains("hunter2"), "{variable}: {error}");
    }
}

#[test]
fn a_token_beside_an_app_is_refused() {
    let app = [("GITHUB_APP_ID", "7"), ("GITHUB_APP_PRIVATE_KEY", "…")];
    assert!(read_with(&app).unwrap_err().contains("give one of them"));
}

#[test]
fn repositories_of_others_are_refused() {
    for (scope, said) in [
        ("repo:acme/atlas", "that repository alone"),
        ("org:other", "not of org:other"),
    ] {
        let error = read_with(&[(SCOPE, scope), (REPOSITORIES, "acme/atlas")]).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn what_is_set_to_nothing_is_not_set() {
    let settings = read_with(&[(MODE, ""), (POLICY, ""), ("GITHUB_APP_ID", "")]);
    assert_eq!(settings.unwrap().mode, Mode::Shadow);
    assert!(
        read(&[(STORE, ""), TOKEN])
            .unwrap_err()
            .contains("is not set")
    );
    let nobody = read(&[STORE_THERE, ("GITHUB_TOKEN", "")]).unwrap_err();
    assert!(nobody.contains("GITHUB_TOKEN is not set"), "{nobody}");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_parameters_names_its_feature() {
    let error = read(&[STORE_THERE, ("GITHUB_TOKEN_PARAMETER", "/github/token")]);
    assert!(error.unwrap_err().contains("`aws`"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_guard_is_that_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("guard.sqlite").display());
    let live = read(&[
        (STORE, &store),
        TOKEN,
        (MODE, "live"),
        (POLICY, "grace = \"7m\""),
    ]);
    let (guard, github) = live.unwrap().guard().await.unwrap();
    assert_eq!(guard.mode(), Mode::Live);
    assert_eq!(guard.policy().grace, chrono::TimeDelta::minutes(7));
    assert_eq!(github.api().host(), "api.github.com");
    let (guard, _) = read(&[(STORE, &store), TOKEN])
        .unwrap()
        .guard()
        .await
        .unwrap();
    assert_eq!(guard.mode(), Mode::Shadow);
}
