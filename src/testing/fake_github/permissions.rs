//! The permissions that an endpoint accepts, as its answers name them.

use super::routes::segments;

/// The `X-Accepted-GitHub-Permissions` of an answer; none for a path where it is not known.
pub(super) fn accepted(method: &str, path: &str) -> Option<String> {
    let segments = segments(path);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let name = match segments.as_slice() {
        ["repos", _, _, "actions", "runners", ..]
        | ["repositories", _, "actions", "runners", ..] => "administration",
        ["orgs" | "organizations", _, "actions", "runners", ..] => {
            "organization_self_hosted_runners"
        }
        ["repos", _, _, "actions", "runs" | "jobs", ..]
        | ["repositories", _, "actions", "runs" | "jobs", ..] => "actions",
        _ => return None,
    };
    let access = if method == "GET" { "read" } else { "write" };
    Some(format!("{name}={access}"))
}
