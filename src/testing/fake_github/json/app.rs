//! Apps and their installations.

use super::{
    super::app::{FakeApp, FakeInstallation},
    repository::user,
};
use serde_json::{Value, json};

/// When everything was made that nobody cares about.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const SLUG: &str = "the-app";

/// What every app here may do.
pub(in super::super) fn permissions() -> Value {
    json!({
        "actions": "read",
        "administration": "write",
        "metadata": "read",
        "organization_self_hosted_runners": "write",
    })
}

/// An app.
pub(in super::super) fn app(app: &FakeApp) -> Value {
    json!({
        "id": app.app_id,
        "client_id": app.client_id,
        "slug": SLUG,
        "node_id": format!("A_{}", app.app_id),
        "owner": { "login": "maker", "id": 1, "type": "Organization" },
        "name": "The app",
        "description": null,
        "external_url": "https://example.com",
        "html_url": format!("https://github.com/apps/{SLUG}"),
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "permissions": permissions(),
        "events": [],
        "installations_count": app.installations.len(),
    })
}

/// An installation of an app.
pub(in super::super) fn installation(
    base: &str,
    app: &FakeApp,
    installation: &FakeInstallation,
) -> Value {
    let FakeInstallation { id, account } = installation;
    json!({
        "id": id,
        "account": user(base, account),
        "repository_selection": "all",
        "access_tokens_url": format!("{base}/app/installations/{id}/access_tokens"),
        "repositories_url": format!("{base}/installation/repositories"),
        "html_url": format!("https://github.com/organizations/{account}/settings/installations/{id}"),
        "app_id": app.app_id,
        "client_id": app.client_id,
        "app_slug": SLUG,
        "target_id": 1,
        "target_type": "Organization",
        "permissions": permissions(),
        "events": [],
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": null,
        "suspended_at": null,
    })
}
