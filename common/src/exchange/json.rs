//! JSON as it came: its members in their order, and each as often as it is there.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A line may be so long before a value is put on several.
const WIDTH: usize = 100;

pub(super) enum Json {
    Text(String),
    /// `null`, a boolean or a number.
    Other(String),
    Items(Vec<Json>),
    Members(Vec<(String, Json)>),
}

impl Json {
    /// `None`: it is not JSON.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// A member; of several, the first.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        let Json::Members(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value on one line, as it is sent.
    pub(super) fn compact(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Json::Text(text) => quoted(text),
            Json::Other(text) => text.clone(),
            Json::Items(items) => format!("[{}]", items.iter().map(Json::compact).collect::<Vec<_>>().join(",")),
            Json::Members(members) => {
                let members = members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.compact()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The same on as many lines as it needs. `before`: what stands before it on the first.
    pub(super) fn write(&self, before: &str, depth: usize, after: &str, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        let line = format!("{indent}{before}{}{after}", self.compact());
        let comma = |place: usize, count: usize| if place + 1 < count { "," } else { "" };
        match self {
            _ if line.chars().count() <= WIDTH => lines.push(line),
            Json::Text(_) | Json::Other(_) => lines.push(line),
            Json::Items(items) => {
                lines.push(format!("{indent}{before}["));
                for (place, value) in items.iter().enumerate() {
                    value.write("", depth + 1, comma(place, items.len()), lines);
                }
                lines.push(format!("{indent}]{after}"));
            }
            Json::Members(members) => {
                lines.push(format!("{indent}{before}{{"));
                for (place, (name, value)) in members.iter().enumerate() {
                    let name = format!("{}: ", serde_json::Value::from(&**name));
                    value.write(&name, depth + 1, comma(place, members.len()), lines);
                }
                lines.push(format!("{indent}}}{after}"));
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Other(serde_json::Value::from(value).to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Members(members))
    }
}
