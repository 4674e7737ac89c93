//! What every store promises.

use crate::{
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, Swap, Version},
};
use chrono::TimeDelta;
use std::{collections::HashSet, fmt::Display, sync::Arc, time::Duration};
use tokio::{sync::Barrier, task::JoinSet};

const API: &str = "api.github.com";
const SCOPE: &str = "repo:acme/atlas";

/// How many writers meet at one key.
const RIVALS: usize = 32;

/// How many writers count together, and how far each of them counts.
const COUNTERS: usize = 16;
const STEPS: usize = 20;

/// Proves a [`Store`]. `make` gives a new and empty one for each case. Run it on a runtime with several
/// threads, so that its writers really meet.
///
/// ```
/// # #[tokio::main(flavor = "multi_thread")] async fn main() {
/// # use scale_in_guard::{stores::MemoryStore, testing::conformance};
/// conformance::store(async || MemoryStore::new()).await;
/// # }
/// ```
///
/// # Panics
/// When the store breaks a promise of its port.
pub async fn store<S: Store + 'static>(make: impl AsyncFn() -> S) {
    says_what_it_is(&make().await);
    never_written_is_none(&make().await).await;
    reads_in_the_order_of_the_keys(&make().await).await;
    swaps_what_it_expects(&make().await).await;
    refuses_what_it_does_not_expect(&make().await).await;
    versions_never_repeat(&make().await).await;
    tells_keys_apart(&make().await).await;
    gives_back_to_the_byte(&make().await).await;
    scans_a_scope_and_nothing_else(&make().await).await;
    records_grow_older(&make().await).await;
    one_of_many_wins(Arc::new(make().await)).await;
    loses_no_update(Arc::new(make().await)).await;
}

fn says_what_it_is(store: &impl Store) {
    assert!(
        !store.describe().trim().is_empty(),
        "a store says what it is, for messages"
    );
}

async fn never_written_is_none(store: &impl Store) {
    let keys = [memory_of("r-1"), of_scope(SCOPE, Kind::Fleet)];
    assert_eq!(
        read(store, &keys).await,
        [None, None],
        "what was never written reads as None"
    );
    assert_eq!(
        read(store, &[]).await,
        [],
        "a read of no keys gives no records"
    );
    let found = scan(store, API, SCOPE, Kind::Memory).await;
    assert_eq!(found, [], "an empty store has no records to scan");
}

async fn reads_in_the_order_of_the_keys(store: &impl Store) {
    for name in ["b", "c", "a"] {
        write(store, &memory_of(name), name).await;
    }
    let asked = ["c", "never written", "a", "b", "c"];
    let records = read(store, &asked.map(memory_of)).await;
    let values: Vec<_> = records.iter().map(value_of).collect();
    assert_eq!(
        values,
        [Some("c"), None, Some("a"), Some("b"), Some("c")],
        "a read gives one result for each key, in the order of the keys, also of a key that is there twice"
    );
    let many: Vec<_> = (0..1_000).map(|n| memory_of(&format!("r-{n}"))).collect();
    for key in many.iter().step_by(100) {
        write(store, key, &key.to_string()).await;
    }
    let records = read(store, &many).await;
    assert_eq!(
        records.len(),
        many.len(),
        "a read of 1,000 keys gives 1,000 results"
    );
    for (number, (key, record)) in many.iter().zip(&records).enumerate() {
        let written = (number % 100 == 0).then(|| key.to_string());
        assert_eq!(
            value_of(record),
            written.as_deref(),
            "a read of 1,000 keys keeps their order; at {key}"
        );
    }
}

async fn swaps_what_it_expects(store: &(impl Store + 'static)) {
    let key = memory_of("r-1");
    let first = done(swap(store, &key, None, "first").await);
    let first = first.expect("a swap that expects no record is done where there is none");
    let was_read = |version, value: &str| {
        let value = value.to_owned();
        [Some(ageless(version, value))]
    };
    let keys = std::slice::from_ref(&key);
    assert_eq!(
        read(store, keys).await,
        was_read(first, "first"),
        "a read after a swap sees its value, with the version that the swap returned"
    );
    let second = done(swap(store, &key, Some(first), "second").await);
    let second = second.expect("a swap that expects the version that is there is done");
    assert_eq!(
        read(store, keys).await,
        was_read(second, "second"),
        "a read after the second swap sees its value, with the version that it returned"
    );
    let again = done(swap(store, &key, Some(second), "second").await);
    let again = again.expect("a swap that writes the same value again is done");
    assert_ne!(
        again, second,
        "a swap that writes the same value again makes another version"
    );
}

async fn refuses_what_it_does_not_expect(store: &impl Store) {
    let [key, other, missing] = ["r-1", "r-2", "r-3"].map(memory_of);
    let stale = write(store, &key, "first").await;
    let present = write(store, &key, "second").await;
    // Versions are a key's own: make sure that the other key is at one this key is not at.
    let mut foreign = write(store, &other, "other").await;
    if foreign == present {
        foreign = write(store, &other, "other").await;
    }
    assert_ne!(
        foreign, present,
        "a version never comes twice under one key; {foreign:?} did"
    );
    for (expected, what) in [
        (None, "none, where there is a record"),
        (Some(stale), "a version that was overwritten"),
        (Some(foreign), "the version of another key"),
        (Some(Version(u64::MAX)), "a version that never was"),
    ] {
        let conflict = swap(store, &key, expected, "wrong").await;
        assert_eq!(
            conflict,
            Swap::Conflict,
            "a swap that expects {what}, conflicts"
        );
    }
    let conflict = swap(store, &missing, Some(foreign), "wrong").await;
    assert_eq!(
        conflict,
        Swap::Conflict,
        "a swap that expects a version where no record is, conflicts"
    );
    let records = read(store, &[key, missing]).await;
    let value = "second".to_owned();
    let kept = ageless(present, value);
    assert_eq!(
        records,
        [Some(kept), None],
        "a swap that conflicts writes nothing"
    );
}

async fn versions_never_repeat(store: &impl Store) {
    let (key, other) = (memory_of("r-1"), memory_of("r-2"));
    let mut seen = HashSet::new();
    for round in 0..100 {
        // The same few values come again and again: a version is no digest of the value.
        let version = write(store, &key, if round % 2 == 0 { "a" } else { "b" }).await;
        assert!(
            seen.insert(version),
            "a version never comes twice under one key; {version:?} did"
        );
        write(store, &other, "beside").await;
    }
}

async fn tells_keys_apart(store: &impl Store) {
    let keys = keys_that_are_easily_confused();
    for (number, key) in keys.iter().enumerate() {
        let swapped = swap(store, key, None, &number.to_string()).await;
        assert!(
            matches!(swapped, Swap::Done(_)),
            "keys that differ name different records; {key:?} met the record of another one"
        );
    }
    let records = read(store, &keys).await;
    for (number, (key, record)) in keys.iter().zip(&records).enumerate() {
        assert_eq!(
            value_of(record),
            Some(number.to_string().as_str()),
            "keys that differ name different records; {key:?} has the value of another one"
        );
    }
}

async fn gives_back_to_the_byte(store: &impl Store) {
    let large = "0123456789abcdef".repeat(1 << 14);
    let values = [
        "",
        " ",
        " leading and trailing \t",
        "one\nline\r\nand another\r",
        r#"{"quotes":"'\"`","escapes":"\\ \n \u0000 %s ${x} {{x}} ;--"}"#,
        "'; DROP TABLE record; --",
        "e\u{301} \u{e9} \u{212b} \u{e5} \u{feff} \u{200b} \u{202e} \u{1F3F3}\u{FE0F}\u{200D}\u{1F308}",
        "\u{1}\u{7}\u{1b}[31m\u{1f}\u{7f}\u{85}\u{2028}\u{fffd}\u{10ffff}",
        "null",
        "007",
        "1e400",
        "9223372036854775808",
        large.as_str(),
    ];
    // Once over whatever was there, and once each under a key of its own.
    let one = memory_of("r-1");
    for (number, value) in values.into_iter().enumerate() {
        let own = memory_of(&format!("own-{number}"));
        for key in [&one, &own] {
            write(store, key, value).await;
            let records = read(store, std::slice::from_ref(key)).await;
            let shown: String = value.chars().take(80).collect();
            assert!(
                records.iter().map(value_of).eq([Some(value)]),
                "a value is given back to the byte; {} bytes that begin with {shown:?} were not",
                value.len(),
            );
        }
    }
    // Some keep no larger ones.
    let kept = read(store, std::slice::from_ref(&one)).await;
    let expected = kept.iter().flatten().next().map(|record| record.version);
    let larger = large.repeat(4);
    match store.swap(&one, expected, &larger).await {
        Ok(swapped) => {
            assert!(
                done(swapped).is_some(),
                "a swap of 1 MiB is done or an error"
            );
            let records = read(store, std::slice::from_ref(&one)).await;
            assert!(
                records.iter().map(value_of).eq([Some(&*larger)]),
                "a value of 1 MiB is given back to the byte, or refused when it is written"
            );
        }
        Err(_) => assert_eq!(
            read(store, std::slice::from_ref(&one)).await,
            kept,
            "a value that is too large for the store leaves what was there"
        ),
    }
}

async fn scans_a_scope_and_nothing_else(store: &impl Store) {
    let keys = keys_that_are_easily_confused();
    let mut written = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        let value = format!("record {number}");
        let version = write(store, &key, &value).await;
        written.push((key, ageless(version, value)));
    }
    let places: HashSet<_> = written.iter().map(|(key, _)| place_of(key)).collect();
    for place in &places {
        let (api, scope, kind) = place;
        let mut expected = written.clone();
        expected.retain(|(key, _)| place_of(key) == *place);
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut found = scan(store, api, &scope.to_string(), *kind).await;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(
            found, expected,
            "a scan finds every record of this kind in the scope, with its key and version, and nothing \
             else; of {kind:?} in {scope} at {api}"
        );
    }
    for (api, scope) in [
        (API, "repo:acme/atla"),
        (API, "repo:acme/%"),
        (API, "repo:acme/atla_"),
        (API, "repo:acme/*"),
        (API, "org:*"),
        ("%", SCOPE),
        ("*", SCOPE),
    ] {
        let found = scan(store, api, scope, Kind::Memory).await;
        assert_eq!(
            found,
            [],
            "a scan takes the names of its scope for names, not for patterns; of {scope} at {api:?}"
        );
    }
}

/// A beacon that died must not seem alive: the age of its heartbeat grows, from nothing, until it is written
/// anew.
async fn records_grow_older(store: &impl Store) {
    let (key, untouched) = (memory_of("r-1"), memory_of("r-2"));
    let age_of = async |key: &Key| {
        let records = read_with_age(store, std::slice::from_ref(key)).await;
        let record = records.into_iter().flatten().next();
        record.map_or(TimeDelta::MIN, |record| record.age)
    };
    let began = tokio::time::Instant::now();
    write(store, &key, "first").await;
    write(store, &untouched, "first").await;
    // As long as it takes for the store's clock to move: some count in whole seconds.
    let limit = Duration::from_secs(5);
    while age_of(&key).await < TimeDelta::milliseconds(2) && began.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let grown = age_of(&key).await;
    // Such a one may be a second off when it writes, and another when it reads.
    let longest = began.elapsed() + Duration::from_secs(2);
    assert!(
        grown >= TimeDelta::milliseconds(2) && grown.to_std().is_ok_and(|grown| grown <= longest),
        "the age of a record grows with the time since it was written; it is {grown} after {:?}",
        began.elapsed()
    );
    write(store, &key, "first").await;
    let (anew, other) = (age_of(&key).await, age_of(&untouched).await);
    assert!(
        anew < other,
        "a record that is written anew, also with the same value, is new again, and no other is; \
         it is {anew} old, and the other {other}"
    );
    let found = store.scan(API, &scope(SCOPE), Kind::Memory).await;
    let mut found = worked(found, "a scan of ages").into_iter();
    let scanned = found.find(|(found, _)| *found == untouched);
    assert!(
        scanned.is_some_and(|(_, record)| record.age >= other),
        "a scan tells the age of a record as a read does"
    );
}

async fn one_of_many_wins(store: Arc<impl Store + 'static>) {
    let key = memory_of("r-1");
    let mut expected = None;
    for round in 0..8 {
        let start = Arc::new(Barrier::new(RIVALS));
        let mut rivals = JoinSet::new();
        for rival in 0..RIVALS {
            let (store, key, start) = (Arc::clone(&store), key.clone(), Arc::clone(&start));
            rivals.spawn(async move {
                start.wait().await;
                let value = format!("{round} {rival}");
                (swap(&*store, &key, expected, &value).await, value)
            });
        }
        let ended = rivals.join_all().await;
        let winners: Vec<_> = ended
            .into_iter()
            .filter_map(|(swap, value)| done(swap).map(|version| ageless(version, value)))
            .collect();
        assert_eq!(
            winners.len(),
            1,
            "of several swaps that expect the same version, one is done; of {RIVALS} at once these were: \
             {winners:?}"
        );
        let stands = read(&*store, std::slice::from_ref(&key)).await;
        assert!(
            stands.iter().flatten().eq(&winners),
            "what stands after a race is what the winner wrote; {stands:?} is not {winners:?}"
        );
        expected = winners.first().map(|record| record.version);
    }
}

async fn loses_no_update(store: Arc<impl Store + 'static>) {
    let key = memory_of("counter");
    let mut counters = JoinSet::new();
    for counter in 0..COUNTERS {
        let (store, key) = (Arc::clone(&store), key.clone());
        counters.spawn(async move {
            for _ in 0..STEPS {
                increment(&*store, &key, counter).await;
            }
        });
    }
    counters.join_all().await;
    let all = (COUNTERS * STEPS).to_string();
    let records = read(&*store, std::slice::from_ref(&key)).await;
    let counted = records.iter().find_map(value_of);
    assert_eq!(
        counted,
        Some(all.as_str()),
        "no update is lost when {COUNTERS} tasks count to {STEPS} by reading and swapping"
    );
}

/// Reads and swaps until a number is one larger. Whoever loses gives way for a while, each for another one: a store that
/// takes milliseconds would else be busy with conflicts alone.
async fn increment(store: &impl Store, key: &Key, counter: usize) {
    for pause in (0..=20).chain(std::iter::repeat(20)) {
        let records = read(store, std::slice::from_ref(key)).await;
        let found = records.into_iter().flatten().next();
        let number: usize = found.as_ref().map_or(0, |record| {
            let number = record.value.parse();
            number.expect("a value is given back to the byte; a number was not")
        });
        let next = number.saturating_add(1).to_string();
        let expected = found.map(|record| record.version);
        if let Swap::Done(_) = swap(store, key, expected, &next).await {
            return;
        }
        let pause = u64::try_from(pause * counter).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Keys that all differ, each from some other one by very little.
fn keys_that_are_easily_confused() -> Vec<Key> {
    let mut keys = Vec::new();
    for api in [
        API,
        "API.github.com",
        "api.github.com ",
        "github.example/api",
    ] {
        keys.push(of_runner(api, SCOPE, Kind::Memory, "r-1"));
    }
    for scope in [
        "repo:a/b",
        "repo:A/b",
        "repo:a/B",
        "repo:a/bb",
        "repo:a/b:c",
        "repo:a/_",
        "repo:a/%",
        "repo:a/*",
        "repo:a/'",
        "org:a",
        "org:A",
        "org:a:b",
        "org:a%",
        "org:a_",
        "org:repo:a",
        "enterprise:a",
        "org:e\u{301}",
        "org:\u{e9}",
    ] {
        for kind in [Kind::Memory, Kind::Shadow, Kind::Fleet, Kind::Ghosts] {
            keys.push(of_scope(scope, kind));
            keys.push(of_runner(API, scope, kind, "r-1"));
        }
    }
    for name in [
        "r-1",
        "R-1",
        "r -1",
        "r-11",
        "r_1",
        "r%1",
        "r*1",
        "r?1",
        "r'1",
        "r\"1",
        "r\\1",
        "r/1",
        "r:1",
        "r|1",
        "r#1",
        "r;1",
        "%",
        "_",
        "*",
        "'",
        "''",
        "/",
        ":",
        "memory",
        "None",
        "null",
        "NULL",
        "0",
        "00",
        "e\u{301}",
        "\u{e9}",
        "\u{c9}",
        "\u{e5}",
        "\u{212b}",
        "\u{df}",
        "ss",
        "\u{131}",
        "i",
        "I",
        "\u{130}",
        "\u{ff11}",
        "\u{200b}",
        "\u{1F3F3}",
    ] {
        keys.push(of_runner(API, "org:names", Kind::Memory, name));
    }
    // No name holds a control character, so that one may stand between the parts of a key. An API's may.
    keys.push(of_runner("api\u{1f}repo:a/b", SCOPE, Kind::Memory, "r-1"));
    keys.push(of_runner("api", SCOPE, Kind::Memory, "repo:a/b r-1"));
    // The parts of these two, one after the other, are the same text.
    keys.push(of_runner(API, "org:x", Kind::Memory, "memory:y"));
    keys.push(of_runner(API, "org:x:memory", Kind::Memory, "y"));
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    keys
}

fn scope(text: &str) -> Scope {
    text.parse().expect("the suite's own scopes are scopes")
}

fn of_runner(api: &str, of: &str, kind: Kind, name: &str) -> Key {
    let name = RunnerName::new(name).expect("the suite's own names are names");
    Key::of_runner(api.into(), scope(of), kind, name)
}

fn of_scope(of: &str, kind: Kind) -> Key {
    Key::of_scope(API.into(), scope(of), kind)
}

fn memory_of(name: &str) -> Key {
    of_runner(API, SCOPE, Kind::Memory, name)
}

fn place_of(key: &Key) -> (&str, &Scope, Kind) {
    (key.api(), key.scope(), key.kind())
}

/// A record as the cases compare it: its age is a case of its own.
fn ageless(version: Version, value: String) -> Record {
    Record {
        version,
        value,
        age: TimeDelta::zero(),
    }
}

fn value_of(record: &Option<Record>) -> Option<&str> {
    record.as_ref().map(|record| record.value.as_str())
}

fn done(swap: Swap) -> Option<Version> {
    match swap {
        Swap::Done(version) => Some(version),
        Swap::Conflict => None,
    }
}

/// What came back, or the end of the suite: nothing here gives a store a reason to fail.
fn worked<T, E: Display>(result: Result<T, E>, doing: impl Display) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            panic!("a store that is in order does its work; {doing} met an error: {error}")
        }
    }
}

async fn read_with_age(store: &impl Store, keys: &[Key]) -> Vec<Option<Record>> {
    worked(
        store.read(keys).await,
        format_args!("a read of {} keys", keys.len()),
    )
}

async fn read(store: &impl Store, keys: &[Key]) -> Vec<Option<Record>> {
    let records = read_with_age(store, keys).await.into_iter();
    let ageless = |record: Record| ageless(record.version, record.value);
    records.map(|record| record.map(ageless)).collect()
}

async fn scan(store: &impl Store, api: &str, of: &str, kind: Kind) -> Vec<(Key, Record)> {
    let found = worked(
        store.scan(api, &scope(of), kind).await,
        format_args!("a scan of {of}"),
    );
    let ageless = |(key, record): (Key, Record)| (key, ageless(record.version, record.value));
    found.into_iter().map(ageless).collect()
}

async fn swap(store: &impl Store, key: &Key, expected: Option<Version>, value: &str) -> Swap {
    worked(
        store.swap(key, expected, value).await,
        format_args!("a swap of {key}"),
    )
}

/// Writes over whatever is there. Nobody else does meanwhile.
async fn write(store: &impl Store, key: &Key, value: &str) -> Version {
    let records = read(store, std::slice::from_ref(key)).await;
    let present = records.into_iter().flatten().next();
    let expected = present.map(|record| record.version);
    match swap(store, key, expected, value).await {
        Swap::Done(version) => version,
        Swap::Conflict => {
            panic!(
                "a swap that expects what was just read is done where nobody else writes; at {key}"
            )
        }
    }
}
