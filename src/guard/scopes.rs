//! Which scopes a store knows: an index, for whoever does not know where to look.

use crate::{
    records::Records,
    runner::Scope,
    store::{Kind, Store, StoreError},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many scopes the index has at the most.
const MOST: usize = 1_000;

/// A scope that a guard decided in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownScope {
    /// The GitHub's host.
    pub api: Arc<str>,
    /// The scope, in lower case.
    pub scope: Scope,
}

/// The scopes in which guards on this store keep histories: 1,000 at the most.
///
/// # Errors
/// [`StoreError`] when they could not be read.
pub async fn scopes(store: impl Store + 'static) -> Result<Vec<KnownScope>, StoreError> {
    let records = Records::new(Arc::new(store), crate::records::EVERY_GITHUB);
    let key = records.of_everything(Kind::History);
    Ok(records.read_one::<Vec<KnownScope>>(&key).await?.value)
}

/// Notes a scope, where it is not noted already.
pub(super) async fn index(records: &Records, scope: &Scope) -> Result<(), StoreError> {
    let known = KnownScope {
        api: records.api().into(),
        scope: scope.in_lower_case(),
    };
    let key = records.of_everything(Kind::History);
    let note = |scopes: &mut Vec<KnownScope>| {
        if let Err(at) = scopes.binary_search(&known)
            && scopes.len() < MOST
        {
            scopes.insert(at, known.clone());
        }
    };
    records.update(&key, note).await
}
