//! Listings come in pages.

use crate::world::*;
use reqwest::header::HeaderMap;

/// The address that a `Link` header gives for a relation.
fn linked(headers: &HeaderMap, relation: &str) -> Option<String> {
    let links = headers.get("link")?.to_str().expect("text");
    let wanted = format!("; rel=\"{relation}\"");
    let link = links.split(", ").find(|link| link.ends_with(&wanted))?;
    let (url, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(url.to_owned())
}

#[tokio::test]
async fn pages_are_linked_as_github_links_them() {
    let world = World::new().await;
    world.register_many(5);
    let (_, headers, body) = world.get(&format!("{RUNNERS}?per_page=2")).await;
    assert_eq!(body["total_count"], 5);
    let links = headers["link"].to_str().expect("text");
    let base = format!("{}/organizations/1/actions/runners", world.github.url());
    let expected = format!(
        "<{base}?per_page=2&page=2>; rel=\"next\", <{base}?per_page=2&page=3>; rel=\"last\""
    );
    assert_eq!(links, expected);

    let mut names = Vec::new();
    let mut next = Some(format!("{RUNNERS}?per_page=2"));
    while let Some(page) = next {
        names.extend(world.names(&page).await);
        next = linked(&world.get(&page).await.1, "next");
    }
    assert_eq!(names, ["r-0", "r-1", "r-2", "r-3", "r-4"]);

    let (_, headers, _) = world.get(&format!("{RUNNERS}?per_page=2&page=3")).await;
    let leads_to =
        |relation, page| linked(&headers, relation).is_some_and(|url| url.ends_with(page));
    assert!(leads_to("prev", "&page=2") && leads_to("first", "&page=1"));
    assert_eq!(linked(&headers, "next"), None);
    let (_, headers, _) = world.get(RUNNERS).await;
    assert!(!headers.contains_key("link"), "one page is all");
}

#[tokio::test]
async fn a_page_has_30_rows_unless_told_and_at_most_100() {
    let world = World::new().await;
    world.register_many(120);
    for (query, count) in [
        ("", 30),
        ("?per_page=100", 100),
        ("?per_page=1000", 100),
        ("?per_page=0", 30),
        ("?page=4", 30),
        ("?page=5", 0),
        ("?name=r-7", 1),
        ("?name=R-7", 0),
        ("?page=18446744073709551615", 0),
    ] {
        let names = world.names(&format!("{RUNNERS}{query}")).await;
        assert_eq!(names.len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_row_gets_lost_between_pages() {
    let world = World::new().await;
    world.register_many(5);
    world.github.drift_between_pages(true);
    let mut names = Vec::new();
    for page in 1..=3 {
        let target = format!("{RUNNERS}?per_page=2&page={page}");
        assert_eq!(world.get(&target).await.2["total_count"], 5);
        names.extend(world.names(&target).await);
    }
    assert_eq!(names, ["r-0", "r-1", "r-3", "r-4"]);
    world.github.claim_total(Some(4));
    assert_eq!(world.get(RUNNERS).await.2["total_count"], 4);
    world.github.claim_total(None);
    assert_eq!(world.get(RUNNERS).await.2["total_count"], 5);
}

#[tokio::test]
async fn a_search_for_runs_ends_after_a_thousand() {
    let world = World::new().await;
    for _ in 0..1001 {
        world.github.queue_job(ATLAS, &[]);
    }
    let page = |query: &str| format!("{RUNS}?per_page=100&page=11{query}");
    assert_eq!(world.rows(&page(""), "workflow_runs").await.len(), 1);
    let searched = page("&status=queued");
    assert!(world.rows(&searched, "workflow_runs").await.is_empty());
    let (_, headers, body) = world
        .get(&format!("{RUNS}?per_page=100&status=queued"))
        .await;
    assert_eq!(body["total_count"], 1001);
    let last = linked(&headers, "last").expect("a last page");
    assert!(last.ends_with("page=10"), "{last}");
}
