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
        Some(Self(Arc::new(Texts { whole, read })))
    }

    /// The new value, with what is not known of the old one.
    pub(super) fn carried_into(&self, mut new: Value) -> Value {
        carry(&self.0.whole, &self.0.read, &mut new);
        new
    }
}

fn carry(whole: &Value, read: &Value, new: &mut Value) {
    match (whole, read, new) {
        (Value::Object(whole), Value::Object(read), Value::Object(new)) => {
            for (name, whole) in whole {
                match (read.get(name), new.get_mut(name)) {
                    (Some(read), Some(new)) => carry(whole, read, new),
                    (None, None) => {
                        new.insert(name.clone(), whole.clone());
                    }
                    // It is known: it was set, or taken away.
                    (None, Some(_)) | (Some(_), None) => {}
                }
            }
        }
        // An entry of a list is known again by what was read of it.
        (Value::Array(whole), Value::Array(read), Value::Array(new)) => {
            for entry in new {
                let known = read.iter().zip(whole).find(|(read, _)| *read == entry);
                if let Some((_, whole)) = known {
                    *entry = whole.clone();
                }
            }
        }
        _ => {}
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
    struct Inner {
        name: String,
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
            outer.list.push(Inner { name: "d".into() });
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
    fn what_this_version_wrote_holds_nothing_more() {
        let value = Outer {
            count: 3,
            ..Outer::default()
        };
        let text = serde_json::to_string(&value).unwrap();
        assert!(Unknown::beside(&value, &text).is_none());
        assert!(Unknown::beside(&value, &text.replace('3', "4")).is_some());
    }
}
