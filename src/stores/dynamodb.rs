//! Records in a DynamoDB table, which guards and beacons anywhere may share.
//!
//! What lies where in the table: [`place`]; how a record is an item: [`item`]; by whose clock it ages: [`server_time`].

mod error;
mod item;
mod place;
mod reading;
mod retry;
mod server_time;
mod table;

pub use self::error::DynamoError;
use self::{
    error::Asked,
    item::{LARGEST_VERSION, NO_VERSION, PARTITION, VERSION, next_version, number},
    place::{Extent, Place},
    server_time::{Heard, ServerTime},
};
use crate::{
    runner::Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    time::Instant,
};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::{Client, config, error::SdkError, types::AttributeValue};
use std::fmt;

/// Records in a DynamoDB table. Guards and beacons on any machine, and Lambdas, may share it.
///
/// Every read is strongly consistent, and every swap is one conditional write. A write whose answer is lost is an error,
/// for nobody knows whether it was done; one that DynamoDB refused for now is tried again, up to 3 times in 3 s. Each
/// request has 3 s, and each try of it 2 s.
///
/// A record's age is reckoned by the clock of DynamoDB's servers, from the `Date` header of their answers, whatever the
/// clocks of those who write and read say. It is up to two seconds and one round trip more than it is, and never less.
///
/// A value may have about 400 KB; a larger one is refused before it is sent ([`DynamoError::TooLarge`]). A runner's
/// records may be deleted 30 days after the last write.
///
/// `docs/stores-dynamodb.md` has the table, the least permissions and what a look costs.
pub struct DynamoStore {
    /// Tries again whatever failed for now.
    reads: Client,
    /// Tries again only what was refused.
    writes: Client,
    asked: Asked,
    name: String,
    time: ServerTime,
}

impl DynamoStore {
    /// The store in this table, with the credentials and, where none is given, the region of the environment, the
    /// profile, the container or the machine, as every AWS tool finds them. `endpoint` is for a stand-in or a private one:
    /// `http://127.0.0.1:8000`. It does not ask for the table: one that is away now may be there later.
    ///
    /// ```no_run
    /// # async fn connected() -> Result<(), scale_in_guard::store::StoreError> {
    /// use scale_in_guard::stores::DynamoStore;
    ///
    /// let store = DynamoStore::connect("scale-in-guard", Some("eu-central-1"), None).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when nothing says in which region it is.
    pub async fn connect(
        table: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Self, StoreError> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(retry::timeouts(None));
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self::new(&loader.load().await, table)
    }

    /// The store in this table, for a program that has its own AWS configuration: its region, credentials and endpoint
    /// are used, and its timeouts where it sets any. Retries are the store's own.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it names no region.
    pub fn new(config: &SdkConfig, table: &str) -> Result<Self, StoreError> {
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(StoreError::Unusable {
                store: format!("dynamodb://{table}"),
                doing: "finding its region",
                source: DynamoError::NoRegion.into(),
            });
        };
        let endpoint = config.endpoint_url().map(without_user);
        let endpoint = endpoint.map_or_else(String::new, |url| format!("&endpoint={url}"));
        let timeouts = retry::timeouts(config.timeout_config());
        let config = config::Builder::from(config)
            .timeout_config(timeouts)
            .retry_config(retry::retries());
        let careful = config.clone().retry_classifier(retry::OnlyIfRefused);
        Ok(Self {
            reads: Client::from_conf(config.build()),
            writes: Client::from_conf(careful.build()),
            name: format!("dynamodb://{table}?region={region}{endpoint}"),
            asked: Asked {
                table: table.to_owned(),
                region,
            },
            time: ServerTime::default(),
        })
    }

    fn unusable(&self, doing: &'static str, source: DynamoError) -> StoreError {
        StoreError::Unusable {
            store: self.name.clone(),
            doing,
            source: source.into(),
        }
    }

    /// What time it is at DynamoDB at the least. Before its first answer, this record is read to get one.
    async fn now(&self, place: &Place) -> Result<Instant, DynamoError> {
        if self.time.at_least().is_none() {
            self.read_all(std::slice::from_ref(place)).await?;
        }
        self.time.at_least().ok_or(DynamoError::NoDate)
    }

    async fn put(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, DynamoError> {
        let place = Place::of(key);
        let now = self.now(&place).await?;
        let version = next_version(expected, now);
        let item = item::item(key, &place, version, value, now)?;
        let request = self.writes.put_item().table_name(&self.asked.table);
        let request = request
            .set_item(Some(item))
            .expression_attribute_names("#pk", PARTITION);
        let request = match expected {
            None => request.condition_expression("attribute_not_exists(#pk)"),
            Some(NO_VERSION) => request
                .condition_expression(
                    "attribute_exists(#pk) AND (NOT attribute_type(#version, :number) OR #version < :one OR #version > :largest)",
                )
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":largest", number(LARGEST_VERSION)),
            Some(Version(expected)) => request
                .condition_expression("attribute_exists(#pk) AND #version = :expected")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":expected", number(expected)),
        };
        let heard = Heard::default();
        let put = request.customize().interceptor(heard.clone()).send().await;
        self.learn(&heard);
        match put {
            Ok(_) => Ok(Swap::Done(version)),
            Err(SdkError::ServiceError(met))
                if met.err().is_conditional_check_failed_exception() =>
            {
                Ok(Swap::Conflict)
            }
            Err(error) => Err(self.asked.failed("dynamodb:PutItem", &error)),
        }
    }
}

/// The clients would show all of their configuration.
impl fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamoStore").field(&self.name).finish()
    }
}

#[async_trait]
impl Store for DynamoStore {
    fn describe(&self) -> String {
        self.name.clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let places: Vec<_> = keys.iter().map(Place::of).collect();
        let found = self.read_all(&places).await;
        let found = found.map_err(|error| self.unusable("reading", error))?;
        Ok(places
            .iter()
            .map(|place| found.get(place).cloned())
            .collect())
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let extent = Extent::of(Key::of_scope(api.into(), scope.clone(), kind));
        let found = self.read_extent(&extent).await;
        found.map_err(|error| self.unusable("reading a whole scope", error))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let swapped = self.put(key, expected, value).await;
        swapped.map_err(|error| self.unusable("writing", error))
    }
}

/// A URL without the user and password that it may name.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    match scheme {
        "" => host.to_owned(),
        scheme => format!("{scheme}://{host}"),
    }
}
