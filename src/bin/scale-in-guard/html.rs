//! A played scenario as one self-contained page.

use scale_in_guard::replay::{Played, Scenario};

/// The page.
pub(crate) fn page(stories: &[(Scenario, Played)]) -> String {
    format!("{} stories", stories.len())
}
