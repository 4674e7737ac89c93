//! Pages, and the links between them.

use super::requests::Request;
use url::form_urlencoded::Serializer;

/// Which page was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    number: usize,
    pub(super) size: usize,
}

impl Page {
    /// The page that a request asks for. What makes no sense is taken as GitHub takes it: left out.
    pub(super) fn of(request: &Request) -> Self {
        let given = |name, default| {
            let number = request.parameter(name).and_then(|text| text.parse().ok());
            number.filter(|&number| number > 0).unwrap_or(default)
        };
        Self {
            number: given("page", 1),
            size: given("per_page", 30).min(100),
        }
    }

    /// How many rows come before it. Where rows drift, one more of them is lost after the first page.
    pub(super) fn offset(self, drifts: bool) -> usize {
        let before = (self.number - 1).saturating_mul(self.size);
        before.saturating_add(usize::from(drifts && self.number > 1))
    }

    /// The `Link` header of this page of a listing of so many rows, in GitHub's order; none where one
    /// page is all.
    pub(super) fn links(self, rows: usize, url: &str, request: &Request) -> Option<String> {
        let last = rows.div_ceil(self.size).max(1);
        let mut pages = Vec::new();
        if self.number > 1 {
            pages.push(("prev", (self.number - 1).min(last)));
        }
        if self.number < last {
            pages.extend([("next", self.number + 1), ("last", last)]);
        }
        if self.number > 1 {
            pages.push(("first", 1));
        }
        let link = |(rel, page)| format!("<{url}?{}>; rel=\"{rel}\"", query_for(page, request));
        let links: Vec<String> = pages.into_iter().map(link).collect();
        (!links.is_empty()).then(|| links.join(", "))
    }
}

/// A `Link` from the page that a request asks for to the next one, or to itself.
pub(super) fn leading_on(request: &Request, base: &str, onward: bool) -> String {
    let page = Page::of(request).number.saturating_add(1);
    let query = match onward {
        true => query_for(page, request),
        false => Serializer::new(String::new())
            .extend_pairs(&request.query)
            .finish(),
    };
    let path = &request.path;
    let origin = base.strip_suffix("/api/v3").unwrap_or(base);
    format!("<{origin}{path}?{query}>; rel=\"next\"")
}

/// The query of a request, for another page.
fn query_for(page: usize, request: &Request) -> String {
    let others = request.query.iter().filter(|(name, _)| name != "page");
    Serializer::new(String::new())
        .extend_pairs(others)
        .append_pair("page", &page.to_string())
        .finish()
}
