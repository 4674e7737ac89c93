//! Lists of many pages.

use super::{GitHub, GitHubError, call::Call, client::Answer};
use crate::time::Instant;
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;
use std::{collections::HashSet, future::Future};
use url::Url;

/// No list of ours has more pages than this: a larger one does not end.
const MOST_PAGES: usize = 1_000;

/// Pages of one list that are read at the same time.
const AT_ONCE: usize = 10;

/// The page of a list.
pub(super) trait Page: DeserializeOwned + Clone + Send + Sync + 'static {
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
    /// Whether the last one that was read had no rows.
    is_stuck: bool,
}

impl GitHub {
    /// Reads a list to its last page. All pages together have the time of one call.
    pub(super) async fn pages<P: Page>(&self, first: &Call) -> Result<Pages<P::Row>, GitHubError> {
        let github = &self.until(self.deadline());
        let ask = |call: Call| async move { github.ask::<P>(&call).await };
        self.follow(first, ask, &mut HashSet::new()).await
    }

    /// Reads a list to its last page; what has not changed since it was last read costs nothing.
    pub(super) async fn pages_if_changed<P: Page>(
        &self,
        first: &Call,
    ) -> Result<Pages<P::Row>, GitHubError> {
        let github = &self.until(self.deadline());
        let ask = |call: Call| async move { github.ask_whether_changed::<P>(&call).await };
        let mut seen = HashSet::new();
        let list = self.follow(first, ask, &mut seen).await;
        let is_whole = match &list {
            Ok(list) => list.total == u64::try_from(list.rows.len()).ok(),
            Err(error) => !matches!(error, GitHubError::Pages { .. }),
        };
        if !is_whole {
            // Where a page leads, and how many rows there are on others, its own tag need not tell.
            self.forget(&seen).await;
        }
        list
    }

    /// Reads the first page; then, if it names the last, the others at the same time; then whatever else they
    /// lead to.
    async fn follow<P: Page, F>(
        &self,
        first: &Call,
        ask: impl Fn(Call) -> F,
        seen: &mut HashSet<Url>,
    ) -> Result<Pages<P::Row>, GitHubError>
    where
        F: Future<Output = Result<Answer<P>, GitHubError>>,
    {
        let answer = ask(first.clone()).await?;
        let mut list = Pages {
            rows: Vec::new(),
            total: answer.body.total(),
            date: answer.date,
            pages: 0,
            is_stuck: false,
        };
        seen.insert(first.url.clone());
        let most = most_pages(list.total);
        let last = answer.last.clone();
        let mut next = list.add(answer);
        if next.is_some()
            && let Some(others) = last.and_then(|last| self.up_to(&last, most))
        {
            seen.extend(others.iter().cloned());
            let calls = others.into_iter().map(|url| first.at(url));
            let answers = stream::iter(calls).map(&ask).buffered(AT_ONCE);
            let mut answers = std::pin::pin!(answers);
            while let Some(answer) = answers.next().await {
                next = list.add(answer?);
            }
        }
        // A list without a last page, or one that has grown meanwhile.
        while let Some(link) = next {
            let call = first.at(self.led_to(first, &link, seen, most)?);
            if list.is_stuck {
                return Err(leads(
                    &call,
                    "an empty page leads on: the list does not end",
                ));
            }
            next = list.add(ask(call).await?);
        }
        Ok(list)
    }

    /// The pages from the second to the last, after whose URL theirs are formed; `None` where that does not
    /// show how.
    fn up_to(&self, last: &str, most: usize) -> Option<Vec<Url>> {
        let last = Url::parse(last).ok()?;
        let pages = last.query_pairs().filter(|(name, _)| name == "page");
        let [page] = pages
            .map(|(_, page)| page)
            .collect::<Vec<_>>()
            .try_into()
            .ok()?;
        let number: usize = page.parse().ok()?;
        if !self.api().is_origin_of(&last) || !(2..=most).contains(&number) {
            return None;
        }
        let page = |number: usize| {
            let mut url = last.clone();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(last.query_pairs().map(|(name, value)| match &*name {
                    "page" => (name, number.to_string().into()),
                    _ => (name, value),
                }));
            url
        };
        Some((2..=number).map(page).collect())
    }

    /// Where a link to the next page leads: to our GitHub, and to a page that was not read yet.
    fn led_to(
        &self,
        first: &Call,
        link: &str,
        seen: &mut HashSet<Url>,
        most: usize,
    ) -> Result<Url, GitHubError> {
        let Ok(url) = Url::parse(link) else {
            return Err(leads(first, "the next page has no URL that can be read"));
        };
        let call = first.at(url.clone());
        if !self.api().is_origin_of(&url) {
            return Err(leads(&call, "the next page is on another host"));
        }
        if seen.len() >= most || !seen.insert(url.clone()) {
            return Err(leads(&call, "the list does not end"));
        }
        Ok(url)
    }
}

/// How many pages a list of so many rows may have: twice as many as a hundred rows a page make, for it may grow
/// meanwhile, and some.
fn most_pages(total: Option<u64>) -> usize {
    let rows = total.and_then(|total| usize::try_from(total).ok());
    rows.map_or(MOST_PAGES, |rows| (rows / 50 + 10).min(MOST_PAGES))
}

impl<R> Pages<R> {
    /// Adds a page. What it says comes next.
    fn add<P: Page<Row = R>>(&mut self, answer: Answer<P>) -> Option<String> {
        self.pages += 1;
        self.total = self.total.filter(|_| self.total == answer.body.total());
        let rows = answer.body.rows();
        self.is_stuck = rows.is_empty();
        self.rows.extend(rows);
        answer.next
    }
}

fn leads(call: &Call, what: &str) -> GitHubError {
    GitHubError::Pages {
        request: call.line(),
        what: what.to_owned(),
    }
}

/// The URL of this relation, such as `next` or `last`, in a `Link` header (RFC 8288).
pub(super) fn link(header: &str, relation: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (url, parameters) = from.split_once('>')?;
        let own = parameters
            .split_once(",")
            .map_or(parameters, |(own, _)| own);
        let is_it = own.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|known| known.eq_ignore_ascii_case(relation))
        });
        if is_it {
            return Some(url.to_owned());
        }
        rest = parameters;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_header_says() {
        let prev = r#"<https://api.github.com/x?page=1>; rel="prev""#;
        let following = r#"<https://api.github.com/x?page=3&a=1,2>; rel="next""#;
        let there = Some("https://api.github.com/x?page=3&a=1,2".to_owned());
        let next = |header: &str| link(header, "next");
        assert_eq!(next(following), there);
        assert_eq!(next(&format!("{prev}, {following}")), there);
        assert_eq!(next(&format!("{following}, {prev}")), there);
        assert_eq!(link(&format!("{following}, {prev}"), "last"), None);
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

    #[test]
    fn the_last_page_shows_how_the_others_are_called() {
        let github = GitHub::builder("t").build().unwrap();
        let pages = |last: &str| {
            let pages = github.up_to(last, MOST_PAGES)?;
            Some(pages.into_iter().map(String::from).collect::<Vec<_>>())
        };
        let at = |page: u32| {
            format!(
                "https://api.github.com/organizations/1/x?status=a%26b&page={page}&per_page=100"
            )
        };
        assert_eq!(pages(&at(4)), Some(vec![at(2), at(3), at(4)]));
        for unclear in [
            at(1),
            at(1001),
            "https://elsewhere.example/x?page=3".to_owned(),
            "https://api.github.com/x?page=3&page=4".to_owned(),
            "https://api.github.com/x?page=last".to_owned(),
            "https://api.github.com/x?after=abc".to_owned(),
            "page=3".to_owned(),
        ] {
            assert_eq!(pages(&unclear), None, "{unclear}");
        }
    }
}
