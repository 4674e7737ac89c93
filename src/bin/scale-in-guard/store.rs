//! The store that a command line names.

use crate::{Fault, terminal::tell};
use async_trait::async_trait;
use scale_in_guard::{
    Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::{StoreUrl, StoreUrlError},
};
use std::{convert::Infallible, str::FromStr, sync::Arc};
use tokio::sync::OnceCell;

/// What was written for `--store`, or why it names none. The parser of arguments would show the whole of a text that
/// it refuses, and with it a password.
#[derive(Debug, Clone)]
pub(crate) struct GivenStore(Result<StoreUrl, StoreUrlError>);

impl FromStr for GivenStore {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse()))
    }
}

impl GivenStore {
    pub(crate) fn url(&self) -> Result<&StoreUrl, Fault> {
        let url = self.0.as_ref();
        url.map_err(|error| format!("--store: {error}").into())
    }

    /// The store that others read. It may not be there yet.
    pub(crate) fn to_report_to(&self) -> Result<LateStore, Fault> {
        Ok(LateStore::new(self.is_for_others()?.clone()))
    }

    /// The URL, where others can read what is written there.
    pub(crate) fn is_for_others(&self) -> Result<&StoreUrl, Fault> {
        match self.url()? {
            StoreUrl::Memory => Err(
                "--store memory: nobody else could read it; write sqlite:PATH, redis://HOST or dynamodb://TABLE"
                    .into(),
            ),
            url => Ok(url),
        }
    }
}

/// Opens it, and tells of a file that is new, and what follows from that.
pub(crate) async fn open(url: &StoreUrl, if_new: &str) -> Result<Arc<dyn Store>, StoreError> {
    let file = match url {
        StoreUrl::Sqlite(path) if !path.exists() => Some(path),
        _ => None,
    };
    let store = url.open().await?;
    if let Some(path) = file {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        tell(format_args!(
            "scale-in-guard: {} is new; {if_new}",
            path.display()
        ));
    }
    Ok(store)
}

/// A store that is opened when it is first used, and tried anew at each use until it opens.
#[derive(Debug)]
pub(crate) struct LateStore {
    url: StoreUrl,
    store: OnceCell<Arc<dyn Store>>,
}

impl LateStore {
    fn new(url: StoreUrl) -> Self {
        let store = OnceCell::new();
        Self { url, store }
    }

    async fn opened(&self) -> Result<&dyn Store, StoreError> {
        let open = || open(&self.url, "see that the guards read this file");
        Ok(&**self.store.get_or_try_init(open).await?)
    }
}

#[async_trait]
impl Store for LateStore {
    fn describe(&self) -> String {
        self.url.to_string()
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
