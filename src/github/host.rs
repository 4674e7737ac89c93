//! Which GitHub: the base of every URL, and what may stand in one.

use super::SetupError;
use crate::runner::Scope;
use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// The API of github.com.
pub const API_URL: &str = "https://api.github.com";

/// Whether the token may travel unencrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// To this machine and nowhere else.
    #[default]
    LoopbackOnly,
    /// To any host.
    Anywhere,
}

/// The base URL of a GitHub API: `https://api.github.com`, `https://api.TENANT.ghe.com`, or
/// `https://HOST/api/v3` on Enterprise Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl(Url);

impl ApiUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// [`SetupError`] when it is no http(s) URL, carries credentials, a query or a fragment, or is plain
    /// http to another machine and `plain` does not allow that.
    pub fn parse(text: &str, plain: PlainHttp) -> Result<Self, SetupError> {
        let url = base(text, plain).map_err(|no_base| match no_base {
            NoBase::Wrong { url, why } => SetupError::ApiUrl { url, why },
            NoBase::Plain { url } => SetupError::PlainHttp { url },
        })?;
        Ok(Self(url))
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The GitHub that it leads to, as it stands in the keys of records: `api.github.com`,
    /// `github.example.com/api/v3`.
    #[must_use]
    pub fn host(&self) -> String {
        let port = self
            .0
            .port()
            .map_or(String::new(), |port| format!(":{port}"));
        let path = self.0.path().trim_end_matches('/');
        format!("{}{port}{path}", self.0.host_str().unwrap_or_default())
    }

    /// The URL of `segments` below a scope.
    pub(super) fn in_scope(&self, scope: &Scope, segments: &[&str]) -> Url {
        let of_scope: &[&str] = match scope {
            Scope::Repository { owner, name } => &["repos", owner, name],
            Scope::Organization(name) => &["orgs", name],
            Scope::Enterprise(name) => &["enterprises", name],
        };
        self.at(of_scope.iter().chain(segments).copied())
    }

    /// The URL of these segments: each is escaped, none can become two.
    pub(super) fn at<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // Every http(s) URL has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Whether a URL leads to the same place: the token goes nowhere else.
    pub(super) fn is_origin_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Why a text is no URL that a secret may be sent to.
pub(crate) enum NoBase {
    Wrong {
        url: String,
        why: String,
    },
    /// It would travel unencrypted.
    Plain {
        url: String,
    },
}

/// Reads the base URL of a server that is told a secret.
pub(crate) fn base(text: &str, plain: PlainHttp) -> Result<Url, NoBase> {
    let refused = |why: String| NoBase::Wrong {
        url: shown(text),
        why,
    };
    let url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "it carries credentials; give them apart".to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it carries a query or a fragment".to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if plain == PlainHttp::Anywhere || is_loopback(&url) => Ok(url),
        "http" => Err(NoBase::Plain { url: shown(text) }),
        other => Err(refused(format!("{other}: is neither https: nor http:"))),
    }
}

/// A URL as it may be shown: without what could be a password, and not for ever.
fn shown(text: &str) -> String {
    let (hidden, rest) = match text.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", text),
    };
    let rest = rest.chars().filter(|c| !c.is_control()).take(200);
    hidden.chars().chain(rest).collect()
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApiUrl, SetupError> {
        ApiUrl::parse(text, PlainHttp::LoopbackOnly)
    }

    #[test]
    fn the_token_travels_encrypted_or_stays_on_this_machine() {
        for fine in [
            "https://api.github.com",
            "https://ghe.example.com/api/v3/",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost/api/v3",
        ] {
            assert!(parse(fine).is_ok(), "{fine}");
        }
        for refused in [
            "http://ghe.example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://api.github.com",
            "file:///etc/passwd",
            "api.github.com",
            "",
            "https://user:secret@api.github.com",
            &format!("https://user:secret{}@api.github.com", "x".repeat(300)),
            "https://api.github.com?x=1",
            "https://api.github.com/#x",
        ] {
            let error = parse(refused).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(ApiUrl::parse("http://ghe.example.com", PlainHttp::Anywhere).is_ok());
    }

    #[test]
    fn no_name_leads_out_of_its_place() {
        let base = parse("https://ghe.example.com/api/v3").unwrap();
        let scope: Scope = "repo:a%2fb?x#/c\\d".parse().unwrap();
        assert_eq!(
            base.in_scope(&scope, &["actions", "runners"]).as_str(),
            "https://ghe.example.com/api/v3/repos/a%252fb%3Fx%23/c%5Cd/actions/runners"
        );
    }

    #[test]
    fn a_record_knows_which_github_it_is_about() {
        for (url, host) in [
            ("https://api.github.com", "api.github.com"),
            ("https://api.github.com/", "api.github.com"),
            ("https://GHE.example.com/api/v3/", "ghe.example.com/api/v3"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(parse(url).unwrap().host(), host);
        }
    }
}
