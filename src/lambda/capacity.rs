//! What Auto Scaling asks of a custom termination policy, and which of the machines can answer it.

use crate::instance::InstanceId;
use serde::Deserialize;
use std::collections::HashMap;

/// The event, as AWS documents it (`lambda-custom-termination-policy.md`). What is not known of it is passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ScaleIn {
    #[serde(default, rename = "AutoScalingGroupName")]
    pub(super) group: Option<String>,
    #[serde(default)]
    pub(super) cause: Option<String>,
    #[serde(default)]
    capacity_to_terminate: Vec<Capacity>,
    #[serde(default)]
    instances: Vec<Candidate>,
}

/// How many are to go, of one zone and one market.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    #[serde(default)]
    capacity: i64,
    #[serde(default)]
    availability_zone: Option<String>,
    #[serde(default)]
    instance_market_option: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Candidate {
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    availability_zone: Option<String>,
    #[serde(default)]
    instance_market_option: Option<String>,
}

/// Where an instance is, and how it is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    zone: Option<String>,
    market: Option<String>,
}

impl Place {
    /// Whether an instance here counts for a capacity there. What is not said is no obstacle.
    fn counts_for(&self, asked: &Self) -> bool {
        let agrees = |ours: &Option<String>, asked: &Option<String>| match (ours, asked) {
            (Some(ours), Some(asked)) => ours.eq_ignore_ascii_case(asked),
            _ => true,
        };
        agrees(&self.zone, &asked.zone) && agrees(&self.market, &asked.market)
    }
}

/// What is still to go.
#[derive(Debug)]
pub(super) struct Wanted {
    left: Vec<(Place, usize)>,
    places: HashMap<InstanceId, Place>,
}

/// A part of what is to go, which one machine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl ScaleIn {
    pub(super) fn wanted(self) -> Wanted {
        let mut left = Vec::new();
        for asked in self.capacity_to_terminate {
            let count = usize::try_from(asked.capacity).unwrap_or(0);
            let place = Place {
                zone: asked.availability_zone,
                market: asked.instance_market_option,
            };
            left.push((place, count));
        }
        let named = self.instances.into_iter().filter_map(|candidate| {
            let id = candidate.instance_id?.parse().ok()?;
            let place = Place {
                zone: candidate.availability_zone,
                market: candidate.instance_market_option,
            };
            Some((id, place))
        });
        Wanted {
            left,
            places: named.collect(),
        }
    }
}

impl Wanted {
    /// How many are still to go.
    pub(super) fn left(&self) -> usize {
        let left = self.left.iter().map(|(_, count)| *count);
        left.fold(0, usize::saturating_add)
    }

    /// How many instances can be chosen from.
    pub(super) fn candidates(&self) -> usize {
        self.places.len()
    }

    /// Whether this is one to choose from.
    pub(super) fn has(&self, instance: &InstanceId) -> bool {
        self.places.contains_key(instance)
    }

    /// Takes a part for this machine, if it is one to choose from and some of its kind is to go.
    pub(super) fn take(&mut self, instance: &InstanceId) -> Option<Slot> {
        let place = self.places.get(instance)?;
        let fits = |(asked, left): &(Place, usize)| *left > 0 && place.counts_for(asked);
        let at = self.left.iter().position(fits)?;
        let (_, left) = self.left.get_mut(at)?;
        *left = left.saturating_sub(1);
        Some(Slot(at))
    }

    /// Gives a part back: its machine must stay.
    pub(super) fn give_back(&mut self, Slot(at): Slot) {
        if let Some((_, left)) = self.left.get_mut(at) {
            *left = left.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    fn wanted(event: serde_json::Value) -> Wanted {
        serde_json::from_value::<ScaleIn>(event).unwrap().wanted()
    }

    #[test]
    fn each_zone_and_market_gets_its_own() {
        let mut wanted = wanted(json!({
            "AutoScalingGroupARN": "arn:aws:autoscaling:us-east-1:1:autoScalingGroup:d4738357:autoScalingGroupName/ci",
            "AutoScalingGroupName": "ci",
            "CapacityToTerminate": [
                {"AvailabilityZone": "us-east-1b", "Capacity": 1, "InstanceMarketOption": "on-demand"},
                {"AvailabilityZone": "us-east-1b", "Capacity": 1, "InstanceMarketOption": "spot"},
                {"AvailabilityZone": "us-east-1c", "Capacity": 2, "InstanceMarketOption": "on-demand"},
            ],
            "Instances": [
                {"AvailabilityZone": "us-east-1b", "InstanceId": "i-0056faf8da3e1f75d", "InstanceType": "t2.nano", "InstanceMarketOption": "on-demand"},
                {"AvailabilityZone": "us-east-1b", "InstanceId": "i-02e1c69383a3ed501", "InstanceMarketOption": "on-demand"},
                {"AvailabilityZone": "us-east-1b", "InstanceId": "i-0c7284a5d1e9d2f30", "InstanceMarketOption": "spot"},
                {"AvailabilityZone": "us-east-1c", "InstanceId": "i-01ec0d9c1d4a7c5c1", "InstanceMarketOption": "on-demand", "Extra": [1]},
                {"AvailabilityZone": "us-east-1d", "InstanceId": "i-0ffffffffffffffff", "InstanceMarketOption": "on-demand"},
                {"InstanceType": "of none"},
            ],
            "Cause": "SCALE_IN",
            "HasMoreInstances": true,
            "Later": {"a": 1},
        }));
        assert_eq!((wanted.left(), wanted.candidates()), (4, 5));
        let first = wanted.take(&id("i-0056faf8da3e1f75d")).unwrap();
        assert_eq!(
            wanted.take(&id("i-02e1c69383a3ed501")),
            None,
            "one of its kind"
        );
        assert!(wanted.take(&id("i-0c7284a5d1e9d2f30")).is_some());
        assert!(wanted.take(&id("i-01ec0d9c1d4a7c5c1")).is_some());
        assert_eq!(
            wanted.take(&id("i-0ffffffffffffffff")),
            None,
            "of another zone"
        );
        assert_eq!(
            wanted.take(&id("i-0000000000000000a")),
            None,
            "not to choose from"
        );
        wanted.give_back(first);
        assert!(wanted.take(&id("i-02e1c69383a3ed501")).is_some());
        assert_eq!(wanted.left(), 1);
    }

    #[test]
    fn what_is_not_said_is_no_obstacle_and_nothing_asked_is_nothing_taken() {
        let mut any = wanted(json!({
            "CapacityToTerminate": [{"Capacity": 1}, {"Capacity": 1}, {"Capacity": -3}],
            "Instances": [{"InstanceId": "i-0056faf8da3e1f75d", "AvailabilityZone": "z"}, {"InstanceId": "i-02e1c69383a3ed501"}],
        }));
        assert_eq!(any.left(), 2);
        assert!(any.take(&id("i-0056faf8da3e1f75d")).is_some());
        assert!(any.take(&id("i-02e1c69383a3ed501")).is_some());
        for nothing in [
            json!({}),
            json!({"CapacityToTerminate": [], "Instances": [{"InstanceId": "i-0056faf8da3e1f75d"}]}),
            json!({"CapacityToTerminate": [{"Capacity": 0}], "Instances": [{"InstanceId": "i-0056faf8da3e1f75d"}]}),
        ] {
            let mut wanted = wanted(nothing.clone());
            assert_eq!(wanted.take(&id("i-0056faf8da3e1f75d")), None, "{nothing}");
        }
    }
}
