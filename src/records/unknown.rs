//! What a later version of this crate wrote into a record, and this one does not know.

use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// A record that holds more than was read of it. A write that goes over it carries the rest along.
#[derive(Debug, Clone)]
pub(crate) struct Unknown(Arc<Texts>);

#[derive(Debug)]
struct Texts {
    /// The record, as it was.
    whole: Value,
    /// What was read of it.
    read: Value,
}

impl Unknown {
    /// `None` where the record holds nothing but what was read.
    pub(super) fn beside<T: Serialize>(read: &T, record: &str) -> Option<Self> {
        // What this version wrote, it reads and writes to the byte.
        if serde_json::to_string(read).is_ok_and(|text| text == record) {
            return None;
        }
        let whole = serde_json::from_str(record).ok()?;
        let read = serde_json::to_value(read).ok()?;
        // Or in another order, or with other blanks.
        if whole == read {
            return None;
        }
        Some(Self(Arc::new(Texts { whole, read })))
    }

    /// The new value, with what is not known of the old one.
    pub(super) fn carried_into(&self, mut new: Value) -> Value {
        carry(&self.0.whole, &self.0.read, &mut new);
        new
    }
}

/// What says where an object within a record stands, or of which course of events it is: where it is another one, what
/// a later version wrote beside it was about the old one. What stands in the record itself always stays.
const DECISIVE: [&str; 2] = ["state", "nonce"];

fn carry(whole: &Value, read: &Value, new: &mut Value) {
    match (whole, read, new) {
        (Value::Object(whole), Value::Object(read), Value::Object(new)) => {
            for (name, whole) in whole {
                match (read.get(name), new.get_mut(name)) {
                    (Some(read), Some(new)) if is_still(read, new) => carry(whole, read, new),
                    (None, None) => {
                        new.insert(name.clone(), whole.clone());
                    }
                    // It is known: it was set, or taken away.
                    (None | Some(_), Some(_)) | (Some(_), None) => {}
                }
            }
        }
        // An entry of a list is known again by what was read of it; one that changed, by its name.
        (Value::Array(whole), Value::Array(read), Value::Array(new)) => {
            for entry in new {
                let known = || read.iter().zip(whole);
                if let Some((_, whole)) = known().find(|(read, _)| *read == entry) {
                    *entry = whole.clone();
                    continue;
                }
                let mut named = known().filter(|(read, _)| is_of_one_name(read, entry));
                if let (Some((read, whole)), None) = (named.next(), named.next())
                    && is_still(read, entry)
                {
                    carry(whole, read, entry);
                }
            }
        }
        _ => {}
    }
}

/// Whether an object is where it was, in the same course of events.
fn is_still(read: &Value, new: &Value) -> bool {
    DECISIVE.iter().all(|name| read.get(name) == new.get(name))
}

/// Whether two entries are about the same: the same attempt of the same number, or, without numbers, the same name.
fn is_of_one_name(one: &Value, other: &Value) -> bool {
    let same = |name| one.get(name) == other.get(name);
    match (one.get("id"), one.get("name")) {
        (Some(_), _) => same("id") && same("attempt"),
        (None, Some(_)) => other.get("id").is_none() && same("name"),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Outer {
        count: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        inner: Option<Inner>,
        list: Vec<Inner>,
    }

    #[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
    }

    impl Inner {
        fn named(name: &str) -> Self {
            Self {
                name: name.to_owned(),
                ..Self::default()
            }
        }
    }

    /// What is written when this version changes a record.
    fn changed(record: &Value, change: impl FnOnce(&mut Outer)) -> Value {
        let text = record.to_string();
        let mut value: Outer = serde_json::from_str(&text).unwrap();
        let unknown = Unknown::beside(&value, &text);
        change(&mut value);
        let new = serde_json::to_value(&value).unwrap();
        unknown.map_or(new.clone(), |unknown| unknown.carried_into(new))
    }

    fn of_a_later_version() -> Value {
        json!({
            "count": 1,
            "since": "2027",
            "inner": {"name": "a", "colour": "red"},
            "list": [{"name": "b", "size": 1}, {"name": "c", "size": 2}],
        })
    }

    #[test]
    fn what_is_not_known_survives_wherever_it_stands() {
        let written = changed(&of_a_later_version(), |outer| {
            outer.count = 2;
            outer.inner.as_mut().unwrap().name = "z".to_owned();
            outer.list.remove(0);
            outer.list.push(Inner::named("d"));
        });
        let expected = json!({
            "count": 2,
            "since": "2027",
            "inner": {"name": "z", "colour": "red"},
            "list": [{"name": "c", "size": 2}, {"name": "d"}],
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn what_was_taken_away_stays_away() {
        let written = changed(&of_a_later_version(), |outer| outer.inner = None);
        assert_eq!(written.get("inner"), None);
        assert_eq!(written["since"], "2027");
    }

    #[test]
    fn what_was_beside_another_state_or_nonce_is_not_carried() {
        for name in ["state", "nonce"] {
            let record = json!({"count": 1, "inner": {"name": "a", name: "one", "colour": "red"}, "list": []});
            let change = |outer: &mut Outer, to: &str| {
                let inner = outer.inner.as_mut().unwrap();
                inner.name = "z".to_owned();
                match name {
                    "state" => inner.state = Some(to.to_owned()),
                    _ => inner.nonce = Some(to.to_owned()),
                }
            };
            let same = changed(&record, |outer| change(outer, "one"));
            assert_eq!(same["inner"]["colour"], "red");
            let other = changed(&record, |outer| change(outer, "two"));
            assert_eq!(other["inner"], json!({"name": "z", name: "two"}));
        }
    }

    #[test]
    fn an_entry_that_changed_is_known_again_by_its_number_or_its_name() {
        let record = json!({"count": 1, "list": [
            {"name": "a", "id": 7, "attempt": 1, "size": 1},
            {"name": "a", "id": 7, "attempt": 2, "size": 2},
            {"name": "b", "attempt": 1, "size": 3},
            {"name": "c", "size": 4},
            {"name": "c", "size": 5},
            {"name": "d", "state": "queued", "size": 6},
        ]});
        let written = changed(&record, |outer| {
            outer.list.reverse();
            for inner in &mut outer.list {
                match inner.name.as_str() {
                    "a" => inner.name = "z".to_owned(),
                    "d" => inner.state = Some("over".to_owned()),
                    _ => inner.attempt = Some(9),
                }
            }
        });
        let expected = json!([
            {"name": "d", "state": "over"},
            // Which of the two, nobody knows.
            {"name": "c", "attempt": 9},
            {"name": "c", "attempt": 9},
            {"name": "b", "attempt": 9, "size": 3},
            {"name": "z", "id": 7, "attempt": 2, "size": 2},
            {"name": "z", "id": 7, "attempt": 1, "size": 1},
        ]);
        assert_eq!(written["list"], expected);
    }

    #[test]
    fn what_this_version_wrote_holds_nothing_more() {
        let value = Outer {
            count: 3,
            ..Outer::default()
        };
        let text = serde_json::to_string(&value).unwrap();
        assert!(Unknown::beside(&value, &text).is_none());
        assert!(Unknown::beside(&value, &text.replace('3', "4")).is_some());
        // Nor does it where a store gives it back in another order, or with blanks.
        let otherwise = r#"{ "list": [], "count": 3 }"#;
        assert!(Unknown::beside(&value, otherwise).is_none());
    }
}
