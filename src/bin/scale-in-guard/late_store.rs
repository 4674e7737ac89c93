//! A store that may not be there yet.

use async_trait::async_trait;
use scale_in_guard::{
    Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use std::{fmt, sync::Arc};
use tokio::{sync::OnceCell, task::spawn_blocking};

type Open = dyn Fn() -> Result<Arc<dyn Store>, StoreError> + Send + Sync;

/// A store that is opened when it is first used, and tried anew at each use until it opens.
pub(crate) struct LateStore {
    name: String,
    open: Arc<Open>,
    store: OnceCell<Arc<dyn Store>>,
}

impl LateStore {
    pub(crate) fn new(
        name: String,
        open: impl Fn() -> Result<Arc<dyn Store>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            open: Arc::new(open),
            store: OnceCell::new(),
        }
    }

    async fn opened(&self) -> Result<&dyn Store, StoreError> {
        let open = || async {
            let open = Arc::clone(&self.open);
            let opened = spawn_blocking(move || open()).await;
            opened.unwrap_or_else(|broken| {
                Err(StoreError::Unusable {
                    store: self.name.clone(),
                    doing: "opening it",
                    source: broken.into(),
                })
            })
        };
        Ok(&**self.store.get_or_try_init(open).await?)
    }
}

impl fmt::Debug for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LateStore").field(&self.name).finish()
    }
}

#[async_trait]
impl Store for LateStore {
    fn describe(&self) -> String {
        self.name.clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.opened().await?.read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        self.opened().await?.scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        self.opened().await?.swap(key, expected, value).await
    }
}
