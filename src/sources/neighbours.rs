//! The listed runners of a machine, found by its id in their names.

use crate::instance::InstanceId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Where in the names of a listing a text of some length stands.
type Pieces = HashMap<Box<[u8]>, Vec<usize>>;

/// The names of a listing. What stands in them is sorted once for each length of ids: a scope has thousands of names,
/// and each of as many runners asks.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    names: Vec<Arc<str>>,
    by_length: Mutex<HashMap<usize, Arc<Pieces>>>,
}

impl Neighbours {
    pub(super) fn of(names: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            names: names.into_iter().collect(),
            by_length: Mutex::default(),
        }
    }

    /// Every name in which the machine's id stands.
    pub(super) fn on(&self, machine: &InstanceId) -> Vec<Arc<str>> {
        let id = machine.as_str().to_ascii_lowercase();
        let pieces = self.pieces(id.len());
        let at = pieces.get(id.as_bytes()).map_or(&[][..], Vec::as_slice);
        let names = at.iter().filter_map(|&at| self.names.get(at));
        names.filter(|name| machine.is_in(name)).cloned().collect()
    }

    fn pieces(&self, length: usize) -> Arc<Pieces> {
        let mut by_length = self
            .by_length
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pieces = by_length.entry(length).or_insert_with(|| {
            let mut pieces = Pieces::new();
            for (at, name) in self.names.iter().enumerate() {
                let name = name.to_ascii_lowercase();
                for piece in name.as_bytes().windows(length) {
                    let found = pieces.entry(piece.into()).or_default();
                    if found.last() != Some(&at) {
                        found.push(at);
                    }
                }
            }
            Arc::new(pieces)
        });
        Arc::clone(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_with_the_id_in_it_is_found() {
        let names = [
            "i-06cbe048",
            "ghr-I-06CBE048-2",
            "i-06cbe0481",
            "other",
            "i-06cbe048_i-06cbe048",
        ];
        let neighbours = Neighbours::of(names.map(Arc::from));
        let on = |id: &str| neighbours.on(&id.parse().unwrap());
        let found: Vec<_> = on("i-06cbe048").iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["i-06cbe048", "ghr-I-06CBE048-2", "i-06cbe048_i-06cbe048"]
        );
        assert_eq!(on("i-06cbe0481").len(), 1);
        assert!(on("i-0000").is_empty());
        assert!(on(&"i".repeat(64)).is_empty(), "longer than any name");
    }
}
