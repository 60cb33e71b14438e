//! Tells the observer, if there is one, what happens, without secrets.

use std::sync::Arc;

use reqwest::{StatusCode, header::HeaderMap};
use url::Url;

use crate::{
    exchange::{Body, Request},
    mask::{masked, masked_header, masked_json, masked_text, masked_url},
    observer::{Event, Observer},
    secrets::Secrets,
};

/// The response headers that the flow depends on.
const TELLING: [&str; 5] = ["www-authenticate", "content-type", "location", "dpop-nonce", "retry-after"];

/// The observer of a run, and what it must not see.
#[derive(Clone, Default)]
pub struct Trace {
    pub observer: Option<Arc<dyn Observer>>,
    pub secrets: Arc<Secrets>,
}

impl Trace {
    /// Makes an event only for those who want to see it.
    fn tell<'a>(&self, event: impl FnOnce(&dyn Fn(&str) -> String) -> Event<'a>) {
        if let Some(observer) = &self.observer {
            observer.observe(event(&|text| self.secrets.scrub(text)));
        }
    }

    /// What happens next, and why.
    pub fn note(&self, text: &str) {
        self.tell(|scrub| Event::Note(scrub(text)));
    }

    /// A comparison that was made, and held.
    pub fn checked(&self, text: &str) {
        self.tell(|scrub| Event::Checked(scrub(text)));
    }

    /// What is about to be sent.
    pub fn request(&self, exchange: u32, why: &str, request: &Request) {
        self.tell(|scrub| {
            let mut lines = vec![format!("{} {}", request.method, masked_url(&request.url))];
            lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {}", masked_header(name, value))));
            match &request.body {
                Body::Empty => {}
                Body::Json(value) => lines.push(masked_json(value).to_string()),
                Body::Form(pairs) => {
                    lines.extend(pairs.iter().map(|(name, value)| format!("{name}={}", masked(name, value))));
                }
            }
            let lines = lines.iter().map(|line| scrub(line)).collect();
            Event::Request { exchange, why, lines }
        });
    }

    /// What came back.
    pub fn response(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        self.head(status, headers);
        self.body(body);
    }

    /// What came back, before its body.
    pub fn head(&self, status: StatusCode, headers: &HeaderMap) {
        self.tell(|scrub| {
            let mut lines = vec![status.to_string()];
            for name in TELLING {
                for value in headers.get_all(name) {
                    let value = masked_header(name, &String::from_utf8_lossy(value.as_bytes()));
                    lines.push(scrub(&format!("{name}: {value}")));
                }
            }
            Event::Response { lines }
        });
    }

    /// A body, or one message of a stream.
    pub fn body(&self, body: &[u8]) {
        self.tell(|scrub| {
            let text = match serde_json::from_slice(body) {
                Ok(json) => masked_json(&json).to_string(),
                Err(_) => masked_text(&String::from_utf8_lossy(body)),
            };
            Event::Body(scrub(&text))
        });
    }

    /// The browser goes to the authorization server. This program sees nothing more until it is back.
    pub fn browser_leaves(&self, exchange: u32, why: &str, url: &Url) {
        self.tell(|scrub| Event::BrowserLeaves { exchange, why, url: scrub(&masked_url(url)) });
    }

    /// The browser is back.
    pub fn browser_returns(&self, url: &Url) {
        self.tell(|scrub| Event::BrowserReturns { url: scrub(&masked_url(url)) });
    }
}
