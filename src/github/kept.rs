//! What was read before, with GitHub's tag for it: if it has not changed, GitHub says so for nothing.
//!
//! A 304 is as good as an answer in full: it is GitHub's word, at the time of the request, that what it would
//! send now is what it sent then. Only the lists of runs and of jobs are read so. Runners are not: nobody
//! documents that the tag of a runner changes with its `busy`, and that flag lies enough already.

use super::send::Reply;
use moka::future::Cache;
use std::{any::Any, fmt, sync::Arc};
use url::Url;

/// How much is kept, in bytes as GitHub sent it; what is kept of it takes about a tenth.
const MOST: u64 = 256 << 20;

/// The last answer about each URL.
pub(super) struct Kept(Cache<Url, Entry>);

#[derive(Clone)]
struct Entry {
    etag: Arc<str>,
    body: Arc<dyn Any + Send + Sync>,
    next: Option<Arc<str>>,
    last: Option<Arc<str>>,
    size: u32,
}

/// What is known of a URL.
#[derive(Debug)]
pub(super) struct Known<T> {
    pub(super) etag: Arc<str>,
    pub(super) body: Arc<T>,
    pub(super) next: Option<String>,
    pub(super) last: Option<String>,
}

impl Default for Kept {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(MOST)
            .weigher(|_, entry: &Entry| entry.size);
        Self(cache.build())
    }
}

impl Kept {
    pub(super) async fn get<T: Send + Sync + 'static>(&self, url: &Url) -> Option<Known<T>> {
        let entry = self.0.get(url).await?;
        let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
        Some(Known {
            etag: entry.etag,
            body: entry.body.downcast().ok()?,
            next: text(entry.next),
            last: text(entry.last),
        })
    }

    pub(super) async fn forget(&self, url: &Url) {
        self.0.invalidate(url).await;
    }

    pub(super) async fn put<T: Send + Sync + 'static>(&self, url: &Url, reply: &Reply, body: T) {
        let Some(etag) = reply.heads.etag.as_deref() else {
            return self.forget(url).await;
        };
        let entry = Entry {
            etag: etag.into(),
            body: Arc::new(body),
            next: reply.heads.next.as_deref().map(Arc::from),
            last: reply.heads.last.as_deref().map(Arc::from),
            size: u32::try_from(reply.body.len()).unwrap_or(u32::MAX),
        };
        self.0.insert(url.clone(), entry).await;
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
