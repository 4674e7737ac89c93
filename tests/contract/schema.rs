//! Holds answers and requests against GitHub's OpenAPI contract: what the contract uses of OpenAPI
//! 3.0, and an error for what it does not.
#![allow(dead_code)] // each test takes what it needs

use chrono::DateTime;
use scale_in_guard::testing::fake_github::Request;
use serde_json::{Map, Value};

/// The words of a schema that say nothing about a value.
const REMARKS: [&str; 7] = [
    "title",
    "description",
    "example",
    "examples",
    "default",
    "deprecated",
    "externalDocs",
];

/// The contract.
pub(crate) fn contract() -> Value {
    let text = include_str!("github-openapi-actions.json");
    serde_json::from_str(text).expect("the contract")
}

/// Whether fields may appear that the contract does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Allowed,
    Refused,
}

/// Holds the body of an answer against the contract; `path` is the contract's, with its braces.
pub(crate) fn check_answer(
    spec: &Value,
    (method, path, status): (&str, &str, u16),
    body: &str,
    unknown: Unknown,
) -> Result<(), String> {
    let response = &spec["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
    if response.is_null() {
        return Err(format!("the contract has no {status} for {method} {path}"));
    }
    let content = &resolved(spec, response)?["content"];
    if content.is_null() {
        return match body {
            "" => Ok(()),
            _ => Err(format!("{method} {path}: {status} has no body")),
        };
    }
    let value = serde_json::from_str(body).map_err(|error| format!("no JSON: {error}"))?;
    let schema = &content["application/json"]["schema"];
    check(spec, schema, &value, unknown).map_err(|why| format!("{method} {path} {status}: {why}"))
}

/// Holds a value against one of the contract's schemas.
pub(crate) fn check(
    spec: &Value,
    schema: &Value,
    value: &Value,
    unknown: Unknown,
) -> Result<(), String> {
    Checker { spec, unknown }.check(schema, value, "$")
}

fn resolved<'s>(spec: &'s Value, schema: &'s Value) -> Result<&'s Value, String> {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
        return Ok(schema);
    };
    let target = reference
        .strip_prefix('#')
        .and_then(|path| spec.pointer(path));
    let target = target.ok_or_else(|| format!("{reference} leads nowhere"))?;
    resolved(spec, target)
}

struct Checker<'s> {
    spec: &'s Value,
    unknown: Unknown,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = resolved(self.spec, schema)?;
        let Some(words) = schema.as_object() else {
            return Err(format!("{at}: the schema is no object: {schema}"));
        };
        if value.is_null() && words.get("nullable") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        for (word, rule) in words {
            self.check_word(word, rule, words, value, at)?;
        }
        Ok(())
    }

    fn check_word(
        &self,
        word: &str,
        rule: &Value,
        words: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        match word {
            "type" => is_of_type(rule, value, at),
            "format" => is_of_format(rule, value, at),
            "enum" => {
                let is_one = rule.as_array().is_some_and(|values| values.contains(value));
                is_one
                    .then_some(())
                    .ok_or_else(|| format!("{at}: {value} is none of {rule}"))
            }
            "required" => has_required(rule, value, at),
            "properties" => self.check_properties(rule, words, value, at),
            "additionalProperties" => self.check_additional(rule, words, value, at),
            "items" => self.check_items(rule, value, at),
            "allOf" => {
                let mut schemas = rule.as_array().into_iter().flatten();
                schemas.try_for_each(|schema| self.check(schema, value, at))
            }
            "anyOf" => self.check_alternatives(rule, value, at, |matches| matches > 0),
            "oneOf" => self.check_alternatives(rule, value, at, |matches| matches == 1),
            "nullable" => Ok(()),
            remark if REMARKS.contains(&remark) || remark.starts_with("x-") => Ok(()),
            other => Err(format!("{at}: the checker does not know {other:?}")),
        }
    }

    fn check_properties(
        &self,
        rule: &Value,
        words: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let Some(fields) = value.as_object() else {
            return Ok(());
        };
        for (name, field) in fields {
            match rule.get(name) {
                Some(schema) => self.check(schema, field, &format!("{at}.{name}"))?,
                None if self.unknown == Unknown::Refused
                    && !words.contains_key("additionalProperties") =>
                {
                    return Err(format!("{at}.{name}: the contract has no such field"));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn check_additional(
        &self,
        rule: &Value,
        words: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let is_known = |name: &str| {
            let known = words.get("properties");
            known.is_some_and(|known| known.get(name).is_some())
        };
        for (name, field) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match rule {
                _ if is_known(name) => {}
                Value::Bool(true) => {}
                Value::Bool(false) => return Err(format!("{at}: no further field is allowed")),
                schema => self.check(schema, field, &at)?,
            }
        }
        Ok(())
    }

    fn check_items(&self, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
        let items = value.as_array().into_iter().flatten().enumerate();
        for (index, item) in items {
            self.check(rule, item, &format!("{at}[{index}]"))?;
        }
        Ok(())
    }

    fn check_alternatives(
        &self,
        rule: &Value,
        value: &Value,
        at: &str,
        is_enough: fn(usize) -> bool,
    ) -> Result<(), String> {
        let schemas = rule.as_array().into_iter().flatten();
        let found: Vec<_> = schemas
            .map(|schema| self.check(schema, value, at))
            .collect();
        let matches = found.iter().filter(|found| found.is_ok()).count();
        if is_enough(matches) {
            return Ok(());
        }
        let why: Vec<String> = found.into_iter().filter_map(Result::err).collect();
        Err(format!(
            "{at}: {matches} alternatives fit: {}",
            why.join("; ")
        ))
    }
}

fn is_of_type(rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = match rule.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => return Err(format!("{at}: the checker does not know type {rule}")),
    };
    is.then_some(())
        .ok_or_else(|| format!("{at}: {value} is no {rule}"))
}

fn is_of_format(rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    match (rule.as_str(), value.as_str()) {
        (Some("date-time"), Some(text)) => DateTime::parse_from_rfc3339(text)
            .map(drop)
            .map_err(|error| format!("{at}: {text:?} is no date-time: {error}")),
        (Some("uri"), Some(text)) => url::Url::parse(text)
            .map(drop)
            .map_err(|error| format!("{at}: {text:?} is no URI: {error}")),
        _ => Ok(()),
    }
}

fn has_required(rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(fields) = value.as_object() else {
        return Ok(());
    };
    let mut names = rule.as_array().into_iter().flatten();
    match names.find(|name| !name.as_str().is_some_and(|name| fields.contains_key(name))) {
        Some(missing) => Err(format!("{at}: {missing} is missing")),
        None => Ok(()),
    }
}

/// Holds a request that a [`FakeGitHub`](scale_in_guard::testing::FakeGitHub) recorded against the
/// contract: its method and path, the names of its query parameters, their types and values.
/// Enterprises are held against organisations, which alone the contract has. The numbered paths of
/// GitHub's own links are held against the named ones.
pub(crate) fn check_request(spec: &Value, request: &Request) -> Result<(), String> {
    let asked = format!("{} {}", request.method, request.path);
    let path = named(&request.path);
    let (template, operation) = operation(spec, &request.method, &path)
        .ok_or_else(|| format!("the contract has no {asked}"))?;
    let declared = operation["parameters"].as_array().into_iter().flatten();
    let declared: Vec<&Value> = declared
        .map(|parameter| resolved(spec, parameter))
        .collect::<Result<_, _>>()?;
    let given = given(template, &path, request);
    for (place, name, value) in &given {
        let is_it = |known: &&&Value| known["in"] == *place && known["name"] == **name;
        let parameter = declared
            .iter()
            .find(is_it)
            .ok_or_else(|| format!("{asked}: the contract has no parameter {name:?}"))?;
        check_parameter(spec, parameter, value).map_err(|why| format!("{asked}: {name}: {why}"))?;
    }
    for parameter in declared {
        let count = given
            .iter()
            .filter(|(place, name, _)| parameter["in"] == *place && parameter["name"] == **name)
            .count();
        if count > 1 || (count == 0 && parameter["required"] == true) {
            return Err(format!(
                "{asked}: {} is given {count} times",
                parameter["name"]
            ));
        }
    }
    Ok(())
}

/// The path as the contract would name it.
fn named(path: &str) -> String {
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["", "enterprises" | "organizations", name, rest @ ..] => {
            [&["", "orgs", name], rest].concat().join("/")
        }
        ["", "repositories", _, rest @ ..] => {
            [&["", "repos", "owner", "name"], rest].concat().join("/")
        }
        _ => path.into(),
    }
}

fn braces(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The operation that a path leads to: of several templates, the one with the fewest braces.
fn operation<'s>(spec: &'s Value, method: &str, path: &str) -> Option<(&'s str, &'s Value)> {
    let fits = |template: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        let mut pairs = wanted.iter().zip(&given);
        wanted.len() == given.len()
            && pairs.all(|(wanted, given)| {
                wanted == given || (braces(wanted).is_some() && !given.is_empty())
            })
    };
    let paths = spec["paths"].as_object().into_iter().flatten();
    let operations = paths
        .filter(|(template, _)| fits(template))
        .filter_map(|(template, path)| Some((&**template, path.get(method.to_lowercase())?)));
    operations.min_by_key(|(template, _)| template.matches('{').count())
}

/// The parameters that a request gives: in path or query, the name, the value.
fn given<'r>(
    template: &'r str,
    path: &'r str,
    request: &'r Request,
) -> Vec<(&'static str, &'r str, &'r str)> {
    let in_path = template.split('/').zip(path.split('/'));
    let in_path = in_path.filter_map(|(name, value)| Some(("path", braces(name)?, value)));
    let in_query = request.query.iter();
    let in_query = in_query.map(|(name, value)| ("query", name.as_str(), value.as_str()));
    in_path.chain(in_query).collect()
}

fn check_parameter(spec: &Value, parameter: &Value, text: &str) -> Result<(), String> {
    let schema = resolved(spec, &parameter["schema"])?;
    let value = match schema["type"].as_str() {
        Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => Value::from(text),
    };
    is_of_type(&schema["type"], &value, text)?;
    match schema["enum"].as_array() {
        Some(values) if !values.contains(&value) => {
            Err(format!("{value} is none of {}", schema["enum"]))
        }
        _ => Ok(()),
    }
}
