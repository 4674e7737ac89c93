//! Is the runner old enough to have been given work?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    time::{after, age},
};

/// Holds for `min_age` after the runner came up.
#[derive(Debug)]
pub(crate) struct Age;

impl Rule for Age {
    fn name(&self) -> &'static str {
        "age"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let came_up = look.memory.came_up(look.runner);
        let from = came_up.unwrap_or(look.now);
        if age(look.now, from) >= look.policy.min_age {
            return Finding::Clear;
        }
        let retry_at = after(from, look.policy.min_age);
        Finding::Hold(HoldReason::new(Cause::TooYoung(came_up), retry_at))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::Witness,
        hold::HoldCode::TooYoung,
        rules::cases::{Case, Found, absent, absent_where, at, failed, online, seconds, until},
        stage::Stage,
    };

    #[test]
    fn a_runner_is_left_alone_for_min_age_after_it_came_up() {
        let launched = |second| Case::new().runner(|runner| runner.launched_at(at(second)));
        let absent_first = |case: Case| case.look(0, [absent(0)]).look(60, [online(60)]);
        for (row, case, came_up) in [
            ("launched", launched(-1000), -1000),
            (
                "launched, and looked at late",
                launched(-100).look(-50, [online(-50)]),
                -100,
            ),
            (
                "not yet there, then registered",
                absent_first(Case::new()),
                60,
            ),
            (
                "so, though launched before",
                absent_first(launched(-1000)),
                60,
            ),
            ("our first look", Case::new().look(-5, [online(-5)]), -5),
            (
                "our first look, which failed",
                Case::new().look(-5, [failed(Witness::Registration, -5)]),
                -5,
            ),
            (
                "not absent for sure, then registered",
                launched(-1000)
                    .look(0, [absent_where(false, true, 0)])
                    .look(60, [online(60)]),
                -1000,
            ),
        ] {
            let over = came_up + 120;
            let found = |now| case.clone().look(now, [online(now)]).found("age");
            assert_eq!(found(over - 1), until(TooYoung, over), "{row}");
            assert_eq!(found(over), Found::Clear, "{row}");
            assert_eq!(found(over + 1), Found::Clear, "{row}");
        }
        let first = Case::once([online(0)]);
        assert_eq!(
            first.found("age"),
            until(TooYoung, 120),
            "at our first look"
        );
        let waived = first.policy(|policy| policy.min_age = seconds(0));
        assert_eq!(waived.found("age"), Found::Clear, "min_age waived");
    }

    #[test]
    fn its_age_is_asked_in_every_stage() {
        let day = 24 * 60 * 60;
        // A phantom is older than min_age by what it is.
        let stages = Stage::ALL.into_iter();
        for stage in stages.filter(|&stage| stage != Stage::NeverRegistered) {
            let case = Case::in_stage(stage).policy(|policy| policy.min_age = seconds(day));
            case.assert("age", stage, until(TooYoung, day), "young");
        }
        let phantom = Case::in_stage(Stage::NeverRegistered);
        phantom.assert("age", Stage::NeverRegistered, Found::Clear, "old");
    }
}
