//! The repository in a run's row: mostly links.

use serde_json::{Map, Value, json};

/// Links of a repository, below its own: the field, and what follows.
const REPOSITORY_LINKS: [(&str, &str); 36] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

/// Links of its owner.
const OWNER_LINKS: [(&str, &str); 9] = [
    ("events_url", "/events{/privacy}"),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("organizations_url", "/orgs"),
    ("received_events_url", "/received_events"),
    ("repos_url", "/repos"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
];

fn links(url: &str, tails: &[(&str, &str)]) -> Map<String, Value> {
    let link = |(field, tail): &(&str, &str)| ((*field).into(), format!("{url}{tail}").into());
    tails.iter().map(link).collect()
}

fn with(mut row: Value, links: Map<String, Value>) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.extend(links);
    }
    row
}

/// A repository, `owner/name`, of this number.
pub(super) fn repository(base: &str, full_name: &str, number: u64) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or(("", full_name));
    let url = format!("{base}/repos/{full_name}");
    let row = json!({
        "id": number,
        "node_id": format!("R_{number}"),
        "name": name,
        "full_name": full_name,
        "description": null,
        "private": true,
        "fork": false,
        "html_url": format!("https://github.com/{full_name}"),
        "url": url,
        "owner": user(base, owner),
    });
    with(row, links(&url, &REPOSITORY_LINKS))
}

/// An account.
pub(super) fn user(base: &str, login: &str) -> Value {
    let url = format!("{base}/users/{login}");
    let row = json!({
        "id": 1,
        "node_id": "O_1",
        "login": login,
        "type": "Organization",
        "site_admin": false,
        "avatar_url": "https://avatars.githubusercontent.com/u/1",
        "gravatar_id": "",
        "html_url": format!("https://github.com/{login}"),
        "url": url,
    });
    with(row, links(&url, &OWNER_LINKS))
}
