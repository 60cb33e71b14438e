//! What is kept of an exchange until it is shown.

use std::{cell::RefCell, rc::Rc};

use actix_web::http::{Method, StatusCode, header::HeaderMap};

use super::json::Json;

/// Bytes that are kept of a body.
const KEPT: usize = 8 * 1024;

/// The headers that are shown, as they came.
#[derive(Default)]
pub(super) struct Headers(pub(super) Vec<(&'static str, String)>);

impl Headers {
    pub(super) fn of(headers: &HeaderMap, shown: &[&'static str]) -> Self {
        let values = |name: &'static str| {
            headers.get_all(name).map(move |value| (name, String::from_utf8_lossy(value.as_bytes()).into_owned()))
        };
        Headers(shown.iter().flat_map(|name| values(name)).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Whether the body is said to be of this type.
    pub(super) fn announce(&self, media_type: &str) -> bool {
        let value = self.get("Content-Type");
        value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
    }
}

/// The beginning of a body.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// Of the whole, as far as it was seen.
    pub(super) length: usize,
    pub(super) ended: bool,
}

impl Kept {
    pub(super) fn see(&mut self, chunk: &[u8]) {
        self.length += chunk.len();
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.length == self.bytes.len()
    }

    /// `None`: it is not JSON, or not all of it was kept.
    pub(super) fn json(&self) -> Option<Json> {
        self.is_whole().then(|| Json::read(&self.bytes)).flatten()
    }
}

/// What was seen of an exchange, as it came.
pub(super) struct Seen {
    pub(super) method: Method,
    /// Where the request says that it goes: the path, and the query.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) asked: Headers,
    pub(super) sent: Rc<RefCell<Kept>>,
    pub(super) status: Option<StatusCode>,
    pub(super) answered: Headers,
    pub(super) returned: Kept,
}
