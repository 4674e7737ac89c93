//! Reading: many records at once, and all of one kind. Every read is strongly consistent.

use super::{
    DynamoStore,
    error::DynamoError,
    item::{Item, PARTITION, SORT, place_of, primary_key, record},
    place::{Extent, Place},
    retry::{PAUSE, TRIES},
    server_time::{Answer, Heard},
};
use crate::store::{Key, Record};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeSet, HashMap};

/// How many keys DynamoDB takes in one request.
const BATCH: usize = 100;

/// How many requests of one read are under way at a time.
const AT_A_TIME: usize = 8;

pub(super) type Found = HashMap<Place, Record>;

impl DynamoStore {
    /// The records at these places. Each place is asked for once, as DynamoDB wants it.
    pub(super) async fn read_all(&self, places: &[Place]) -> Result<Found, DynamoError> {
        let places: BTreeSet<_> = places.iter().collect();
        let places: Vec<_> = places.into_iter().collect();
        let batches: Vec<_> = places
            .chunks(BATCH)
            .map(|batch| self.read_batch(batch))
            .collect();
        let found: Vec<Found> = stream::iter(batches)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads up to a hundred. An answer holds 16 MB at the most, and less while the table is asked too much: what it left
    /// out is asked for again, at once where it did a part, else after a pause.
    async fn read_batch(&self, places: &[&Place]) -> Result<Found, DynamoError> {
        let mut found = Found::new();
        let mut left: Vec<Item> = places.iter().map(|place| primary_key(place)).collect();
        let (mut in_vain, mut pause) = (0, PAUSE);
        while !left.is_empty() {
            let before = left.len();
            let keys = KeysAndAttributes::builder().set_keys(Some(left));
            let keys = keys.consistent_read(true).build().ok();
            let request = self.reads.batch_get_item();
            let request = request
                .set_request_items(keys.map(|keys| [(self.asked.table.clone(), keys)].into()));
            let heard = Heard::default();
            let read = request.customize().interceptor(heard.clone()).send().await;
            self.learn(&heard);
            let read = read.map_err(|error| self.asked.failed("dynamodb:BatchGetItem", &error))?;
            let answer = heard.answer().ok_or(DynamoError::NoDate)?;
            let items = read
                .responses
                .into_iter()
                .flat_map(HashMap::into_values)
                .flatten();
            found.extend(items.filter_map(|item| placed(&item, answer)));
            let unprocessed = read
                .unprocessed_keys
                .into_iter()
                .flat_map(HashMap::into_values);
            left = unprocessed.flat_map(|keys| keys.keys).collect();
            if left.len() < before {
                continue;
            }
            in_vain += 1;
            if in_vain >= TRIES {
                return Err(self.asked.throttled());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(found)
    }

    /// Every record of one kind in a scope, page by page.
    pub(super) async fn read_extent(
        &self,
        extent: &Extent,
    ) -> Result<Vec<(Key, Record)>, DynamoError> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let heard = Heard::default();
            let page = match extent.is_one_partition() {
                true => self.query(extent, next, &heard).await,
                false => self.scan_table(extent, next, &heard).await,
            };
            self.learn(&heard);
            let (items, last) = page?;
            let answer = heard.answer().ok_or(DynamoError::NoDate)?;
            let placed = items.iter().filter_map(|item| placed(item, answer));
            found.extend(placed.filter_map(|(place, record)| Some((extent.key(&place)?, record))));
            match last {
                Some(last) if !last.is_empty() => next = Some(last),
                _ => return Ok(found),
            }
        }
    }

    /// A page of a partition.
    async fn query(
        &self,
        extent: &Extent,
        from: Option<Item>,
        heard: &Heard,
    ) -> Result<(Vec<Item>, Option<Item>), DynamoError> {
        let request = self
            .reads
            .query()
            .table_name(&self.asked.table)
            .consistent_read(true);
        let request = request
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", PARTITION)
            .expression_attribute_values(":pk", AttributeValue::S(extent.place.partition.clone()))
            .set_exclusive_start_key(from);
        let page = request.customize().interceptor(heard.clone()).send().await;
        let page = page.map_err(|error| self.asked.failed("dynamodb:Query", &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    /// A page of the whole table: what hosts write lies in a partition for each runner, and a second index would lag.
    async fn scan_table(
        &self,
        extent: &Extent,
        from: Option<Item>,
        heard: &Heard,
    ) -> Result<(Vec<Item>, Option<Item>), DynamoError> {
        let request = self
            .reads
            .scan()
            .table_name(&self.asked.table)
            .consistent_read(true);
        let request = request
            .filter_expression("begins_with(#pk, :pk) AND #sk = :sk")
            .expression_attribute_names("#pk", PARTITION)
            .expression_attribute_names("#sk", SORT)
            .expression_attribute_values(":pk", AttributeValue::S(extent.place.partition.clone()))
            .expression_attribute_values(":sk", AttributeValue::S(extent.place.sort.clone()))
            .set_exclusive_start_key(from);
        let page = request.customize().interceptor(heard.clone()).send().await;
        let page = page.map_err(|error| self.asked.failed("dynamodb:Scan", &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    pub(super) fn learn(&self, heard: &Heard) {
        if let Some(answer) = heard.answer() {
            self.time.learn(answer);
        }
    }
}

fn placed(item: &Item, answer: Answer) -> Option<(Place, Record)> {
    Some((place_of(item)?, record(item, answer.given_by())))
}
