//! Tables of the tests' own, and what they hold.

use crate::{
    moto::Moto,
    proxy::{Fate, Proxy},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, SharedCredentialsProvider, timeout::TimeoutConfig},
    types::AttributeValue,
};
use scale_in_guard::{
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::{DynamoError, DynamoStore},
};
use std::{
    error::Error,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const SECRET: &str = "a-secret-key-of-the-tests";

/// Whatever is bounded has ended by then, on any machine.
const BOUND: Duration = Duration::from_secs(120);

/// A new table at the shared server.
pub(crate) struct World {
    pub(crate) moto: Arc<Moto>,
    /// The way to it where one write is done at a time.
    pub(crate) door: Proxy,
    pub(crate) table: String,
    pub(crate) store: DynamoStore,
}

impl World {
    /// `None` where the server is not installed.
    pub(crate) async fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let moto = Moto::shared()?;
        let table = format!("guard-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let door = Proxy::before(moto.address, |_| Fate::Served);
        let store = store_at(&door.url(), &table);
        store.create_table().await.expect("a table");
        Some(Self {
            moto,
            door,
            table,
            store,
        })
    }

    /// The same table by another way.
    pub(crate) fn through(&self, url: &str) -> DynamoStore {
        store_at(url, &self.table)
    }

    /// DynamoDB without a store around it.
    pub(crate) fn client(&self) -> Client {
        Client::new(&config_at(&self.moto.url()))
    }

    /// Changes one attribute of the item of a runner's memory.
    pub(crate) async fn set(&self, name: &str, attribute: &str, value: AttributeValue) {
        let place = [
            ("pk", "memory|api.github.com|repo:acme/atlas".to_owned()),
            ("sk", format!("runner|{name}")),
        ];
        let mut update = self.client().update_item().table_name(&self.table);
        for (part, text) in place {
            update = update.key(part, AttributeValue::S(text));
        }
        update
            .update_expression("SET #name = :value")
            .expression_attribute_names("#name", attribute)
            .expression_attribute_values(":value", value)
            .send()
            .await
            .expect("an update");
    }
}

/// With time for a stand-in on a busy machine.
pub(crate) fn config_at(url: &str) -> SdkConfig {
    let patient = TimeoutConfig::builder()
        .operation_attempt_timeout(BOUND)
        .operation_timeout(BOUND);
    let config = hasty_config_at(url).into_builder();
    config.timeout_config(patient.build()).build()
}

/// With the store's own timeouts.
pub(crate) fn hasty_config_at(url: &str) -> SdkConfig {
    let credentials = Credentials::new(
        "AKIATESTS",
        SECRET,
        Some("a-session-token".into()),
        None,
        "tests",
    );
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

pub(crate) fn store_at(url: &str, table: &str) -> DynamoStore {
    DynamoStore::new(&config_at(url), table).expect("a store")
}

pub(crate) fn hasty_store_at(url: &str, table: &str) -> DynamoStore {
    DynamoStore::new(&hasty_config_at(url), table).expect("a store")
}

pub(crate) fn key_of(kind: Kind, name: &str) -> Key {
    let scope = "repo:acme/atlas".parse().expect("a scope");
    Key::of_runner(
        "api.github.com".into(),
        scope,
        kind,
        name.parse().expect("a name"),
    )
}

pub(crate) fn key(name: &str) -> Key {
    key_of(Kind::Memory, name)
}

pub(crate) async fn read(store: &impl Store, name: &str) -> Option<Record> {
    let records = store.read(&[key(name)]).await.expect("a read that works");
    records.into_iter().next().flatten()
}

/// Writes over whatever is there.
pub(crate) async fn write(store: &impl Store, key: &Key, value: &str) -> Version {
    let found = store
        .read(std::slice::from_ref(key))
        .await
        .expect("a read that works");
    let expected = found
        .into_iter()
        .next()
        .flatten()
        .map(|record| record.version);
    match store
        .swap(key, expected, value)
        .await
        .expect("a swap that works")
    {
        Swap::Done(version) => version,
        Swap::Conflict => panic!("nobody else writes"),
    }
}

/// Waits for what must end, sooner or later.
pub(crate) async fn ends<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work).await.expect("it ends")
}

/// The reason of DynamoDB's own, and the whole message, in which no credentials are.
pub(crate) fn refused<T: std::fmt::Debug>(met: Result<T, StoreError>) -> (DynamoError, String) {
    let error = met.expect_err("a refusal");
    let text = format!("{error} {error:?}");
    for secret in [SECRET, "a-session-token"] {
        assert!(!text.contains(secret), "{text}");
    }
    let source = error.source().expect("a reason");
    let reason = source
        .downcast_ref::<DynamoError>()
        .expect("one of DynamoDB's");
    (reason.clone(), error.to_string())
}
