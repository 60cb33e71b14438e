//! Metadata documents as they came, whatever they say.

use oauth::{
    document::Malformed,
    metadata::{AuthorizationServerMetadata, ProtectedResourceMetadata},
};
use serde_json::Value;
use url::Url;

use crate::message::Exchange;

/// A place where a document may be, and what is there.
pub struct Place {
    /// Where.
    pub url: Url,
    /// Whether the challenge names it.
    pub challenged: bool,
    /// What is there.
    pub answer: Result<Document, Exchange>,
}

/// A document: a JSON object, whatever it says.
#[derive(Debug)]
pub struct Document {
    /// How it came.
    pub exchange: Exchange,
    /// What it says.
    pub json: Value,
}

/// The documents of all authorization servers.
pub type Servers = Vec<Server>;

/// An authorization server.
pub struct Server {
    /// The issuer as the resource's document names it.
    pub issuer: String,
    /// Its documents, in the order in which a client asks for them; of the places without one, the first answer.
    pub documents: Result<Vec<Document>, Exchange>,
}

/// The key sets of all authorization servers that name one, as they came.
pub type KeySets = Vec<Result<Document, Exchange>>;

impl Document {
    /// As the document of a protected resource.
    ///
    /// # Errors
    /// If it cannot be read as one.
    pub fn resource(&self) -> Result<ProtectedResourceMetadata, Malformed> {
        ProtectedResourceMetadata::read(self.json.to_string().as_bytes())
    }

    /// As the document of an authorization server.
    ///
    /// # Errors
    /// If it cannot be read as one.
    pub fn server(&self) -> Result<AuthorizationServerMetadata, Malformed> {
        AuthorizationServerMetadata::read(self.json.to_string().as_bytes())
    }

    /// A URL.
    pub fn url(&self, member: &str) -> Option<Url> {
        Url::parse(self.json[member].as_str()?).ok()
    }

    /// A list of texts.
    pub fn texts(&self, member: &str) -> Vec<&str> {
        self.json[member].as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// What is wrong with its Content-Type.
    pub fn bad_type(&self) -> Option<String> {
        let kind = self.exchange.came.header("content-type").unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let bad = !essence.eq_ignore_ascii_case("application/json");
        bad.then(|| format!("The document's Content-Type is {kind:?}."))
    }

    /// What is wrong with members that are there but empty: an empty list, or null.
    pub fn empty_members(&self) -> Option<String> {
        let members = self.json.as_object().into_iter().flatten();
        let empty = members.filter(|(_, value)| oauth::document::says_nothing(value));
        let empty: Vec<_> = empty.map(|(name, _)| name.as_str()).collect();
        (!empty.is_empty()).then(|| format!("These members are empty: {}.", empty.join(", ")))
    }
}
