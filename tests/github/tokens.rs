//! Registration tokens and the gate: one flight for many, through a burst, and an error that says what to do.

use crate::world::*;
use chrono::TimeDelta;
use scale_in_guard::{
    clock::Clock,
    github::{
        App, AppKey, GateShut, GitHubBuilder, Jit, JitRequest, RegistrationTokens, SpawnGate,
    },
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::{
        ManualClock, TokioClock,
        fake_github::{FakeApp, Fault, NewRunner},
    },
};
use secrecy::ExposeSecret;
use std::time::Duration;

const ENDPOINT: &str = "/actions/runners/registration-token";

/// A GitHub whose time is tokio's, which is paused: it leaps from pause to pause.
struct Paused {
    clock: TokioClock,
    github: FakeGitHub,
    scope: Scope,
}

impl Paused {
    async fn new() -> Self {
        let clock = TokioClock::at("2026-05-04T09:00:00Z".parse().unwrap());
        let github = FakeGitHub::start(clock).await.unwrap();
        let scope: Scope = "org:acme".parse().unwrap();
        github.add_scope(&scope);
        Self {
            clock,
            github,
            scope,
        }
    }

    fn client(&self) -> GitHubBuilder {
        let client = GitHub::builder(self.github.token().to_owned());
        client.api_url(self.github.url()).clock(self.clock)
    }

    fn tokens(&self) -> RegistrationTokens {
        RegistrationTokens::new(self.client().build().unwrap())
    }

    fn fail_for(&self, fault: Fault, span: TimeDelta) {
        let now = self.clock.now();
        self.github.fail_between(ENDPOINT, fault, now, now + span);
    }
}

#[tokio::test(start_paused = true)]
async fn many_at_once_share_one_request_and_the_token_serves_until_it_is_near_its_end() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    let ask = || async {
        let token = tokens.registration_token(&world.scope).await.unwrap();
        token.token.expose_secret().to_owned()
    };
    let first = futures::future::join_all((0..50).map(|_| ask())).await;
    assert!(first.iter().all(|token| *token == first[0]));
    assert_eq!(world.github.registration_tokens(), 1);
    tokio::time::sleep(Duration::from_secs(44 * 60)).await;
    assert_eq!(ask().await, first[0], "it is good for a quarter of an hour");
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    let second = ask().await;
    assert_ne!(second, first[0]);
    assert_eq!(world.github.registration_tokens(), 2);
    let runner = NewRunner::named("r-1");
    tokio::time::sleep(Duration::from_secs(13 * 60)).await;
    let registered = world
        .github
        .register_with_token(&world.scope, &second, runner);
    assert!(registered.is_ok());
}

#[tokio::test(start_paused = true)]
async fn each_scope_has_its_own() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    let other: Scope = "org:zenith".parse().unwrap();
    world.github.add_scope(&other);
    let one = tokens.registration_token(&world.scope).await.unwrap();
    let other = tokens.registration_token(&other).await.unwrap();
    assert_ne!(one.token.expose_secret(), other.token.expose_secret());
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_outlasted_and_one_that_lasts_ends_in_an_error_that_says_all() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    world.fail_for(Fault::html(502), TimeDelta::seconds(90));
    let began = tokio::time::Instant::now();
    tokens.registration_token(&world.scope).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(90));

    let tokens = world.tokens();
    world.github.clear_requests();
    world.fail_for(Fault::html(502), TimeDelta::minutes(10));
    let began = tokio::time::Instant::now();
    let asks = (0..20).map(|_| tokens.registration_token(&world.scope));
    let errors = futures::future::join_all(asks).await;
    assert!(began.elapsed() <= Duration::from_secs(120), "patience");
    let error = errors[0].as_ref().unwrap_err().clone();
    assert!(
        errors
            .iter()
            .all(|other| other.as_ref().unwrap_err() == &error)
    );
    let requests = world.github.request_count();
    assert!(
        (8..=40).contains(&requests),
        "{requests} requests in two minutes"
    );
    let told = error.to_string();
    let retry_at = error.retry_at.unwrap();
    for said in [
        "no registration token for org:acme",
        "POST /orgs/acme/actions/runners/registration-token: 502",
        "GitHub was asked for ",
        "try again at 2026-05-04T09:0",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    // Paused time may leap over an answer that the kernel still carries: then a request more was tried than came.
    let tried = (requests..=requests + 3).map(|times| format!("tried {times} times"));
    assert!(
        tried.into_iter().any(|said| told.contains(&said)),
        "{requests}: {told}"
    );
    // Until then nobody asks again, and all hear the same.
    let again = tokens.registration_token(&world.scope).await.unwrap_err();
    assert_eq!((again, world.github.request_count()), (error, requests));
    let rest = (retry_at - world.clock.now()).to_std().unwrap();
    tokio::time::sleep(rest).await;
    world.github.clear_faults();
    tokens.registration_token(&world.scope).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_no_patience_mends_ends_at_once_and_names_the_permission() {
    let write = "organization_self_hosted_runners:write";
    for (fault, said) in [
        (
            Fault::lacks_permission("organization_self_hosted_runners=write"),
            write,
        ),
        (Fault::status(404), write),
        (Fault::status(401), "the token was refused"),
        (Fault::status(422), "422"),
        (Fault::status(451), "legal"),
        (Fault::Malformed, "not what GitHub documents"),
    ] {
        let world = Paused::new().await;
        let tokens = world.tokens();
        world.github.fail(ENDPOINT, fault.clone(), None);
        let error = tokens.registration_token(&world.scope).await.unwrap_err();
        assert_eq!(error.retry_at, None, "{fault:?}");
        assert_eq!(world.github.request_count(), 1, "{fault:?}");
        assert!(error.to_string().contains(said), "{error}");
        // Whoever mended it need not wait.
        world.github.clear_faults();
        tokens.registration_token(&world.scope).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_ends_in_time_is_waited_for_and_another_is_not() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    world.github.fail(ENDPOINT, Fault::slow_down(60), Some(1));
    let began = tokio::time::Instant::now();
    tokens.registration_token(&world.scope).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(60));
    assert_eq!(world.github.request_count(), 2);

    let world = Paused::new().await;
    let tokens = world.tokens();
    world.github.fail(ENDPOINT, Fault::slow_down(1800), None);
    let error = tokens.registration_token(&world.scope).await.unwrap_err();
    let in_half_an_hour = error.retry_at.unwrap() - world.clock.now();
    assert_eq!(in_half_an_hour.num_minutes(), 30);
    assert_eq!(world.github.request_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_goes_on_without_whoever_began_it() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    world.fail_for(Fault::html(502), TimeDelta::seconds(20));
    let hasty = tokens.registration_token(&world.scope);
    let hasty = tokio::time::timeout(Duration::from_secs(1), hasty).await;
    assert!(hasty.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let requests = world.github.request_count();
    tokens.registration_token(&world.scope).await.unwrap();
    assert_eq!(world.github.request_count(), requests, "it was at hand");
}

#[tokio::test(start_paused = true)]
async fn the_gate_lets_so_many_through_and_is_shut_while_github_fails() {
    let world = Paused::new().await;
    let gate = SpawnGate::new(world.tokens(), 2);
    let first = gate.enter(&world.scope).await.unwrap();
    let second = gate.enter(&world.scope).await.unwrap();
    assert_eq!(gate.free(), 0);
    let full = gate.try_enter(&world.scope).await.unwrap_err();
    assert_eq!(full, GateShut::Full);
    let waiting = gate.enter(&world.scope);
    let waiting = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert!(waiting.is_err(), "it waits for a place");
    drop(first);
    let third = gate.enter(&world.scope).await.unwrap();
    assert_eq!(
        third.token().token.expose_secret(),
        second.token().token.expose_secret()
    );

    let shut = SpawnGate::new(world.tokens(), 2);
    world.github.fail(ENDPOINT, Fault::html(502), None);
    let error = shut.enter(&world.scope).await.unwrap_err();
    assert!(matches!(&error, GateShut::Registration(_)), "{error}");
    assert_eq!(shut.free(), 2, "no place is taken");
    let requests = world.github.request_count();
    // All who come now hear it at once.
    let again = shut.enter(&world.scope).await.unwrap_err();
    assert_eq!((again, world.github.request_count()), (error, requests));
}

#[tokio::test(start_paused = true)]
async fn no_debug_shows_a_token() {
    let world = Paused::new().await;
    let tokens = world.tokens();
    let gate = SpawnGate::new(tokens.clone(), 2);
    let spawn = gate.enter(&world.scope).await.unwrap();
    let told = format!("{tokens:?} {gate:?} {spawn:?} {:?}", spawn.token());
    assert!(
        !told.contains(spawn.token().token.expose_secret()),
        "{told}"
    );
    assert!(!told.contains(world.github.token()), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_just_in_time_runner_goes_through_the_gate_and_shows_the_scope_as_ours() {
    let world = Paused::new().await;
    let store = std::sync::Arc::new(MemoryStore::new());
    let gate = SpawnGate::new(world.tokens().noted_in(store.clone()), 1);
    let request = JitRequest::builder(world.scope.clone(), "i-1".parse().unwrap());
    let request = request.label("linux").build().unwrap();
    world
        .github
        .fail("/generate-jitconfig", Fault::status(403), Some(1));
    let shut = gate.enter_jit(&request).await.unwrap_err();
    assert!(matches!(&shut, GateShut::Jit(_)), "{shut}");
    assert_eq!(gate.free(), 1);
    let scope = &world.scope;
    assert!(store.scan("", scope, Kind::Fleet).await.unwrap().is_empty());
    let spawn = gate.enter_jit(&request).await.unwrap();
    assert!(matches!(spawn.jit(), Jit::Issued { .. }));
    assert_eq!(gate.free(), 0);
    let api = world.client().build().unwrap().api().host();
    assert_eq!(store.scan(&api, scope, Kind::Fleet).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_app_outlasts_a_burst_that_keeps_it_from_its_own_token_too() {
    let world = Paused::new().await;
    let app = FakeApp::new(31, "Iv23liFAKE").installed(7, "acme");
    world.github.install_app(&app);
    let app = App::new("Iv23liFAKE", AppKey::pem(FakeGitHub::app_key()).unwrap()).unwrap();
    let client = GitHub::app(app).api_url(world.github.url());
    let client = client.clock(world.clock).build().unwrap();
    // A guard has found out that GitHub is down.
    let now = world.clock.now();
    let end = now + TimeDelta::seconds(70);
    world.github.fail_between("", Fault::html(502), now, end);
    let hasty = client.within(Duration::from_secs(5));
    for _ in 0..4 {
        hasty.runners(&world.scope).await.unwrap_err();
    }
    let tokens = RegistrationTokens::new(client);
    let began = tokio::time::Instant::now();
    tokens.registration_token(&world.scope).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_nobody_from_a_token() {
    #[derive(Debug)]
    struct Hanging;
    #[async_trait::async_trait]
    impl Store for Hanging {
        fn describe(&self) -> String {
            "hanging".to_owned()
        }
        async fn read(&self, _: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
            std::future::pending().await
        }
        async fn scan(
            &self,
            _: &str,
            _: &Scope,
            _: Kind,
        ) -> Result<Vec<(Key, Record)>, StoreError> {
            std::future::pending().await
        }
        async fn swap(&self, _: &Key, _: Option<Version>, _: &str) -> Result<Swap, StoreError> {
            std::future::pending().await
        }
    }
    let world = Paused::new().await;
    let tokens = world.tokens().noted_in(Hanging);
    let asked = tokens.registration_token(&world.scope);
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
    assert!(asked.is_ok_and(|token| token.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_no_token_and_no_error_live_longer() {
    let clock = ManualClock::at("2026-05-04T10:00:00Z".parse().unwrap());
    let github = FakeGitHub::start(clock.clone()).await.unwrap();
    let scope: Scope = "org:acme".parse().unwrap();
    github.add_scope(&scope);
    let client = GitHub::builder(github.token().to_owned()).api_url(github.url());
    let client = client.clock(clock.clone()).build().unwrap();
    let tokens = RegistrationTokens::new(client).patience(Duration::from_secs(1));
    tokens.registration_token(&scope).await.unwrap();
    clock.advance(TimeDelta::hours(-1));
    tokio::time::advance(Duration::from_secs(50 * 60)).await;
    github.fail(ENDPOINT, Fault::html(502), None);
    tokens.registration_token(&scope).await.unwrap_err();
    // The rest after it is half a minute, whatever the clock shows.
    clock.advance(TimeDelta::hours(-1));
    tokio::time::advance(Duration::from_secs(31)).await;
    github.clear_faults();
    tokens.registration_token(&scope).await.unwrap();
}
