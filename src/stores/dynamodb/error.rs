//! What DynamoDB refused, and what to do about it. No credentials: what a server says of a signature repeats the
//! request's headers, so only the first line of what it says is told.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::{error::Error, iter};
use thiserror::Error;

/// How much of a server's own words is told.
const TOLD: usize = 300;

/// Why a request to DynamoDB came to nothing: the source of a
/// [`StoreError::Unusable`](crate::store::StoreError::Unusable) of a `DynamoStore`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DynamoError {
    /// The record is larger than an item can be. Nothing was sent.
    #[error(
        "the {record} would take {bytes} bytes, and DynamoDB keeps no item of more than {largest}"
    )]
    TooLarge {
        /// Which record.
        record: String,
        /// What it would take, with its key and the names of its attributes.
        bytes: usize,
        /// What an item may take.
        largest: usize,
    },
    /// There is no such table.
    #[error("there is no table {table} in {region}; create it, or name another table or region")]
    NoTable {
        /// Which table.
        table: String,
        /// Where it was looked for.
        region: String,
    },
    /// The credentials do not allow it.
    #[error(
        "not allowed; add the permission {permission} on the table {table} in {region}: {said}"
    )]
    Denied {
        /// The IAM action, such as `dynamodb:PutItem`.
        permission: &'static str,
        /// On which table.
        table: String,
        /// In which region.
        region: String,
        /// DynamoDB's own words.
        said: String,
    },
    /// Too many requests at a time, also after it was tried again. Nothing was written.
    #[error("the table {table} in {region} is asked more than it serves at a time: {said}")]
    Throttled {
        /// Which table.
        table: String,
        /// In which region.
        region: String,
        /// DynamoDB's own words.
        said: String,
    },
    /// No answer came, or one that was cut off. Nobody knows what became of the request.
    #[error("no answer about the table {table} in {region}: {said}")]
    NoAnswer {
        /// Which table.
        table: String,
        /// In which region.
        region: String,
        /// What went wrong.
        said: String,
    },
    /// It answered with another error.
    #[error("the table {table} in {region}: {code}: {said}")]
    Refused {
        /// Which table.
        table: String,
        /// In which region.
        region: String,
        /// DynamoDB's name for the error.
        code: String,
        /// DynamoDB's own words.
        said: String,
    },
    /// The answer does not tell the time, so nobody can tell how old a record is.
    #[error(
        "the answer has no Date header, which tells how old a record is; is there a proxy in between?"
    )]
    NoDate,
    /// The table is there, but cannot hold these records.
    #[error(
        "the table {table} in {region} has the key {found}, and it must be pk (text) and sk (text)"
    )]
    OtherKey {
        /// Which table.
        table: String,
        /// In which region.
        region: String,
        /// What its primary key is.
        found: String,
    },
    /// The table was made, but does not serve yet.
    #[error("the table {table} in {region} was made and does not serve yet; try again in a minute")]
    NotYet {
        /// Which table.
        table: String,
        /// In which region.
        region: String,
    },
    /// Nothing says in which region the table is.
    #[error("no region: name one, or set AWS_REGION")]
    NoRegion,
}

/// Who is asked, for messages.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) table: String,
    pub(super) region: String,
}

impl Asked {
    /// What is the matter, where a request that needs `permission` came to nothing.
    pub(super) fn failed<E, R>(
        &self,
        permission: &'static str,
        error: &SdkError<E, R>,
    ) -> DynamoError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let (table, region) = (self.table.clone(), self.region.clone());
        let SdkError::ServiceError(refused) = error else {
            let said = chain(error);
            return DynamoError::NoAnswer {
                table,
                region,
                said,
            };
        };
        let refused = refused.err();
        let code = refused.code().unwrap_or("an error without a name");
        let said = first_line(refused.message().unwrap_or_default());
        match code {
            "ResourceNotFoundException" => DynamoError::NoTable { table, region },
            "AccessDeniedException" => DynamoError::Denied {
                permission,
                table,
                region,
                said,
            },
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded" => DynamoError::Throttled {
                table,
                region,
                said,
            },
            code => DynamoError::Refused {
                table,
                region,
                code: code.to_owned(),
                said,
            },
        }
    }

    /// It refused a part of what it was asked again and again.
    pub(super) fn throttled(&self) -> DynamoError {
        DynamoError::Throttled {
            table: self.table.clone(),
            region: self.region.clone(),
            said: "it left keys unprocessed again and again".to_owned(),
        }
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    let mut told: Vec<_> = causes.map(|cause| first_line(&cause.to_string())).collect();
    told.dedup();
    told.join(": ")
}

fn first_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.chars().take(TOLD).collect()
}
