//! Whether it is for the person at the terminal to mend.

use scale_in_guard::github::GitHubError;

/// Whether GitHub refused for what it was asked, or for who asked: to ask again does not help.
pub(crate) fn is_for_the_caller(error: &GitHubError) -> bool {
    !error.is_rate_limited() && matches!(error.status(), Some(401 | 403 | 404 | 422))
}
