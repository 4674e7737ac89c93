//! The library's own stores.

#[cfg(feature = "dynamodb")]
mod dynamodb;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod url;

pub use self::url::{DynamoAddress, REDIS_PASSWORD, RedisAddress, StoreUrl, StoreUrlError};
#[cfg(feature = "dynamodb")]
pub use dynamodb::{DynamoError, DynamoStore};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::{RedisFault, RedisStore};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
