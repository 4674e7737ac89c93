//! `dynamodb://TABLE?region=…&endpoint=…`.

use super::{
    StoreUrlError,
    parts::{encode, parameters},
};
use std::{fmt, str::FromStr};

const FORM: &str = "dynamodb://TABLE[?region=REGION][&endpoint=URL]";

/// A table of DynamoDB: `dynamodb://TABLE?region=…&endpoint=…`. Credentials are never in it: they come from where
/// AWS's tools take them.
///
/// ```
/// use scale_in_guard::stores::DynamoAddress;
///
/// let address: DynamoAddress = "dynamodb://guard?region=eu-central-1".parse()?;
/// assert_eq!((address.table.as_str(), address.region.as_deref()), ("guard", Some("eu-central-1")));
/// # Ok::<_, scale_in_guard::stores::StoreUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoAddress {
    /// The table's name.
    pub table: String,
    /// The region, where it is not to be the environment's.
    pub region: Option<String>,
    /// Another endpoint than AWS's own, such as a stand-in's: `http://…` or `https://…`.
    pub endpoint: Option<String>,
}

impl FromStr for DynamoAddress {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let wrong = |what: &'static str| StoreUrlError::new(what, FORM);
        let rest = text.strip_prefix("dynamodb://");
        let rest = rest.ok_or_else(|| wrong("this names no table"))?;
        let (table, query) = match rest.split_once('?') {
            Some((table, query)) => (table, Some(query)),
            None => (rest, None),
        };
        if !is_table(table) {
            return Err(wrong(
                "a table's name has 3 to 255 letters, digits, dots, dashes and underscores",
            ));
        }
        let mut address = Self {
            table: table.to_owned(),
            region: None,
            endpoint: None,
        };
        let parameters = query.map_or(Some(Vec::new()), parameters);
        let parameters = parameters
            .ok_or_else(|| wrong("each parameter is NAME=VALUE, once, and % is written as %25"))?;
        for (name, value) in parameters {
            match name {
                "region" if is_region(&value) => address.region = Some(value),
                "region" => return Err(wrong("a region is such as eu-central-1")),
                "endpoint" if is_endpoint(&value) => address.endpoint = Some(value),
                "endpoint" => {
                    return Err(wrong(
                        "an endpoint is http://HOST[:PORT] or https://HOST[:PORT]",
                    ));
                }
                _ => return Err(wrong("it takes the parameters region and endpoint alone")),
            }
        }
        Ok(address)
    }
}

fn is_table(name: &str) -> bool {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (3..=255).contains(&name.len()) && name.chars().all(is_of_a_name)
}

fn is_region(name: &str) -> bool {
    let is_of_a_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(is_of_a_region)
}

/// Nothing but a scheme, a host and a port: no user, no path beside `/`.
fn is_endpoint(url: &str) -> bool {
    let rest = url.strip_prefix("http://");
    let Some(host) = rest.or_else(|| url.strip_prefix("https://")) else {
        return false;
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !host.is_empty() && host.chars().all(is_of_a_host)
}

impl fmt::Display for DynamoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dynamodb://{}", self.table)?;
        let given = [("region", &self.region), ("endpoint", &self.endpoint)];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)));
        for (number, (name, value)) in given.enumerate() {
            let mark = if number == 0 { '?' } else { '&' };
            write!(f, "{mark}{name}={}", encode(value, b"-._:/"))?;
        }
        Ok(())
    }
}
