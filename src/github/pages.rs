//! Lists of many pages.

use super::{GitHub, GitHubError, client::request_line};
use crate::time::Instant;
use reqwest::Method;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use url::Url;

/// No list of ours has more pages than this: a larger one does not end.
const MOST_PAGES: usize = 1_000;

/// The page of a list.
pub(super) trait Page: DeserializeOwned {
    type Row;

    /// How many rows GitHub says that the whole list has.
    fn total(&self) -> Option<u64>;

    /// The rows of this page.
    fn rows(self) -> Vec<Self::Row>;
}

/// A list, read to its last page.
#[derive(Debug)]
pub(super) struct Pages<R> {
    pub(super) rows: Vec<R>,
    /// How many rows GitHub says that there are, if it said the same on every page.
    pub(super) total: Option<u64>,
    /// GitHub's clock when it answered the first page.
    pub(super) date: Option<Instant>,
    /// How many pages there were.
    pub(super) pages: usize,
}

impl GitHub {
    /// Reads a list to its last page, as its `Link` headers lead.
    pub(super) async fn pages<P: Page>(&self, first: Url) -> Result<Pages<P::Row>, GitHubError> {
        let mut seen = HashSet::from([first.clone()]);
        let mut answer = self.get::<P>(first).await?;
        let mut list = Pages {
            rows: Vec::new(),
            total: answer.body.total(),
            date: answer.date,
            pages: 0,
        };
        loop {
            list.pages += 1;
            list.total = list.total.filter(|_| list.total == answer.body.total());
            list.rows.extend(answer.body.rows());
            let Some(next) = answer.next else {
                return Ok(list);
            };
            let next = self.follow(&next, &mut seen)?;
            answer = self.get::<P>(next).await?;
        }
    }

    fn follow(&self, next: &str, seen: &mut HashSet<Url>) -> Result<Url, GitHubError> {
        let leads = |request: String, what: &str| GitHubError::Pages {
            request,
            what: what.to_owned(),
        };
        let url = Url::parse(next).map_err(|_| {
            leads(
                "GET".to_owned(),
                "the next page has no URL that can be read",
            )
        })?;
        if !self.api().is_origin_of(&url) {
            return Err(leads(
                request_line(&Method::GET, &url),
                "the next page is on another host",
            ));
        }
        if seen.len() >= MOST_PAGES || !seen.insert(url.clone()) {
            return Err(leads(
                request_line(&Method::GET, &url),
                "the list does not end",
            ));
        }
        Ok(url)
    }
}

/// The URL of the next page, in a `Link` header (RFC 8288).
pub(super) fn next(link: &str) -> Option<String> {
    let mut rest = link;
    while let Some((_, from)) = rest.split_once('<') {
        let (url, parameters) = from.split_once('>')?;
        let own = parameters
            .split_once(",")
            .map_or(parameters, |(own, _)| own);
        let is_next = own.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(url.to_owned());
        }
        rest = parameters;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_where_the_link_header_says() {
        let prev = r#"<https://api.github.com/x?page=1>; rel="prev""#;
        let following = r#"<https://api.github.com/x?page=3&a=1,2>; rel="next""#;
        let there = Some("https://api.github.com/x?page=3&a=1,2".to_owned());
        assert_eq!(next(following), there);
        assert_eq!(next(&format!("{prev}, {following}")), there);
        assert_eq!(next(&format!("{following}, {prev}")), there);
        assert_eq!(
            next(r#"<https://a/x>; title="rel"; REL=next"#),
            Some("https://a/x".to_owned())
        );
        for none in [
            "",
            prev,
            "<https://a/x>",
            "nonsense",
            "<https://a/x",
            "<>; rel=last",
        ] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
