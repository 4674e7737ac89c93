//! Does a witness independent of the `busy` flag say vacant?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    policy::Corroboration,
    stage::Stage,
};

/// Holds while neither the jobs view nor the lease clears, as the policy asks; one flag is never
/// enough. A phantom's witness is its absence; of a runner that is lost or wedged the jobs view is
/// enough, and needed.
#[derive(Debug)]
pub(crate) struct Corroborated;

impl Rule for Corroborated {
    fn name(&self) -> &'static str {
        "corroboration"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Jobs, Witness::Lease]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let wanted = match look.stage {
        Stage::NeverRegistered => return Finding::Clear,
        Stage::Lost | Stage::Wedged => Corroboration::Jobs,
        _ => look.policy.corroboration,
    };
    let jobs = || super::jobs::judge(look) == Finding::Clear;
    let lease = || super::lease::judge(look) == Finding::Clear;
    let corroborated = match wanted {
        Corroboration::Any => jobs() || lease(),
        Corroboration::Jobs => jobs(),
        Corroboration::Lease => lease(),
        Corroboration::Both => jobs() && lease(),
    };
    if corroborated {
        Finding::Clear
    } else {
        Finding::Hold(HoldReason::new(Cause::Uncorroborated(wanted), None))
    }
}
