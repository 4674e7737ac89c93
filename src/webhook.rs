//! `workflow_job` webhooks: the signature of a delivery, what it tells, and a receiver that keeps it.
//!
//! No HTTP is in here. Whatever serves your HTTP hands the headers and the body of each delivery to a
//! [`Receiver`], and answers with the status of the [`Outcome`].
//!
//! ```no_run
//! use scale_in_guard::{stores::SqliteStore, webhook::{Headers, Receiver, Secrets}};
//!
//! # async fn receive(event: &str, signature: &str, body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let secrets = Secrets::new([std::env::var("WEBHOOK_SECRET")?])?;
//! # #[cfg(feature = "sqlite")]
//! let store = SqliteStore::open("/var/lib/scale-in-guard/memory.sqlite")?;
//! # #[cfg(not(feature = "sqlite"))]
//! # let store = scale_in_guard::stores::MemoryStore::new();
//! let receiver = Receiver::builder(store, secrets).start();
//!
//! let headers = Headers { event: Some(event), signature: Some(signature), ..Headers::default() };
//! let outcome = receiver.receive(&headers, body).await;
//! println!("{} {outcome}", outcome.status());
//! # Ok(())
//! # }
//! ```

mod batch;
mod delivery;
mod prune;
mod receiver;
mod signature;
mod writer;

pub use crate::receiver_record::{ReceiverRecord, Refused};
pub use delivery::{Event, JobEvent, ParseError, parse};
pub use receiver::{Headers, MAX_BODY, Outcome, Receiver, ReceiverBuilder, Tally};
pub use signature::{Secrets, SecretsError, SignatureError, sign, verify};
