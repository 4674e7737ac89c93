//! What the store knows of the runners behind some names.

use super::KeptFor;
use crate::{
    fence::{Fence, State},
    memory::Memory,
    records::Records,
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, StoreError},
};
use serde::de::DeserializeOwned;

/// What keeps the registration of each of these names, in their order. A record of a name counts for whichever
/// runner has that name now: a name that is used again stays too long rather than going too soon.
pub(super) async fn keep(
    records: &Records,
    scope: &Scope,
    names: &[&str],
) -> Result<Vec<Option<KeptFor>>, StoreError> {
    let names: Vec<_> = names
        .iter()
        .map(|name| RunnerName::new(name).ok())
        .collect();
    let keys_of = |name: &RunnerName| -> [Key; 3] {
        [
            records.of_host(scope, Kind::Heartbeat, name),
            records.of_host(scope, Kind::Fence, name),
            records.of_runner(scope, Kind::Memory, name),
        ]
    };
    let keys: Vec<Key> = names.iter().flatten().flat_map(keys_of).collect();
    let mut found = records.read_unparsed(&keys).await?.into_iter();
    let mut of_next = || {
        let mut next = || found.next().flatten();
        (next(), next(), next())
    };
    Ok(names
        .iter()
        .map(|name| match name {
            Some(_) => spoke(of_next()),
            None => Some(KeptFor::Unreadable),
        })
        .collect())
}

fn spoke(
    (heartbeat, fence, memory): (Option<Record>, Option<Record>, Option<Record>),
) -> Option<KeptFor> {
    // Whatever stands in it: a beacon wrote it.
    if heartbeat.is_some() {
        return Some(KeptFor::Host);
    }
    let fence = fence.map(|record| parse::<Fence>(&record));
    let memory = memory.map(|record| parse::<Memory>(&record));
    match fence {
        Some(None) => return Some(KeptFor::Unreadable),
        Some(Some(fence)) if matches!(fence.state(), State::Taken { .. }) => {
            return Some(KeptFor::Host);
        }
        _ => {}
    }
    match memory? {
        None => Some(KeptFor::Unreadable),
        Some(memory) if memory.beacon_heard_at().is_some() => Some(KeptFor::Host),
        Some(memory) => memory.was_occupied().then_some(KeptFor::Job),
    }
}

fn parse<T: DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_str(&record.value).ok()
}
