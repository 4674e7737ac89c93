//! The table itself.

use super::{
    DynamoStore,
    error::DynamoError,
    item::{EXPIRES_AT, PARTITION, SORT},
};
use crate::store::StoreError;
use aws_sdk_dynamodb::{
    error::SdkError,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use std::time::Duration;

const DOING: &str = "making the table";

/// How often to look whether a new table serves, and how long to wait in between.
const LOOKS: usize = 60;
const PAUSE: Duration = Duration::from_secs(1);

impl DynamoStore {
    /// Makes the table, paid by request, with a time to live on `expires_at`; waits up to a minute until it serves. Where
    /// there is such a table already, it sees to its time to live. It may be called any number of times.
    ///
    /// It needs the permissions `dynamodb:CreateTable`, `dynamodb:DescribeTable`, `dynamodb:DescribeTimeToLive` and
    /// `dynamodb:UpdateTimeToLive`, which no guard needs.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it could not be made, or has another primary key.
    pub async fn create_table(&self) -> Result<(), StoreError> {
        self.make()
            .await
            .map_err(|error| self.unusable(DOING, error))
    }

    async fn make(&self) -> Result<(), DynamoError> {
        let asked = &self.asked;
        let [partition, sort] =
            [(PARTITION, KeyType::Hash), (SORT, KeyType::Range)].map(|(name, key)| {
                let attribute = AttributeDefinition::builder().attribute_name(name);
                let attribute = attribute.attribute_type(ScalarAttributeType::S).build();
                let key = KeySchemaElement::builder()
                    .attribute_name(name)
                    .key_type(key);
                (attribute, key.build())
            });
        // Each of these has all that its builder asks for.
        let all = |(attribute, key): (Result<_, _>, Result<_, _>)| attribute.ok().zip(key.ok());
        let mut create = self.reads.create_table().table_name(&asked.table);
        for (attribute, key) in [partition, sort].into_iter().filter_map(all) {
            create = create.attribute_definitions(attribute).key_schema(key);
        }
        match create.billing_mode(BillingMode::PayPerRequest).send().await {
            Ok(_) => {}
            Err(SdkError::ServiceError(met)) if met.err().is_resource_in_use_exception() => {}
            Err(error) => return Err(asked.failed("dynamodb:CreateTable", &error)),
        }
        self.wait().await?;
        self.expire().await
    }

    /// Waits until it serves.
    async fn wait(&self) -> Result<(), DynamoError> {
        let asked = &self.asked;
        for _ in 0..LOOKS {
            let look = self.reads.describe_table().table_name(&asked.table);
            let found = look.send().await;
            let found = found.map_err(|error| asked.failed("dynamodb:DescribeTable", &error))?;
            if let Some(table) = found.table() {
                self.check_key(table)?;
                if table.table_status() == Some(&TableStatus::Active) {
                    return Ok(());
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        let (table, region) = (asked.table.clone(), asked.region.clone());
        Err(DynamoError::NotYet { table, region })
    }

    fn check_key(&self, table: &TableDescription) -> Result<(), DynamoError> {
        let type_of = |name: &str| {
            let attributes = table.attribute_definitions().iter();
            let mut of_name = attributes.filter(|attribute| attribute.attribute_name() == name);
            of_name
                .next()
                .map_or("?", |found| found.attribute_type().as_str())
        };
        let part = |key: &KeySchemaElement| {
            let name = key.attribute_name();
            format!("{} {name} {}", key.key_type().as_str(), type_of(name))
        };
        let mut parts: Vec<_> = table.key_schema().iter().map(part).collect();
        parts.sort();
        match parts
            .iter()
            .map(String::as_str)
            .eq(["HASH pk S", "RANGE sk S"])
        {
            true => Ok(()),
            false => Err(DynamoError::OtherKey {
                table: self.asked.table.clone(),
                region: self.asked.region.clone(),
                found: parts.join(", "),
            }),
        }
    }

    /// Sees to it that garbage is deleted.
    async fn expire(&self) -> Result<(), DynamoError> {
        let asked = &self.asked;
        let look = self.reads.describe_time_to_live().table_name(&asked.table);
        let found = look.send().await;
        let found = found.map_err(|error| asked.failed("dynamodb:DescribeTimeToLive", &error))?;
        let known = found.time_to_live_description();
        let status = known.and_then(|known| known.time_to_live_status());
        if matches!(
            status,
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        ) {
            return Ok(());
        }
        let garbage = TimeToLiveSpecification::builder().enabled(true);
        let garbage = garbage.attribute_name(EXPIRES_AT).build().ok();
        let set = self.writes.update_time_to_live().table_name(&asked.table);
        let set = set.set_time_to_live_specification(garbage).send().await;
        set.map_err(|error| asked.failed("dynamodb:UpdateTimeToLive", &error))?;
        Ok(())
    }
}
