//! The document that tells a client where to get a token (RFC 9728). The client finds it with the resource's URL alone.

use anyhow::{Context, Result, ensure};
use oauth::{address::is_loopback, metadata::ProtectedResourceMetadata, well_known};
use url::Url;

/// The document, and where it is.
pub struct Document {
    pub metadata: ProtectedResourceMetadata,
    /// Its URL, which challenges name.
    pub url: String,
    /// The paths at which it is served: the resource's own, and the root, where some clients look.
    pub paths: Vec<String>,
}

impl Document {
    /// # Errors
    /// If the resource is not a URL that clients could use as one.
    pub fn new(metadata: ProtectedResourceMetadata, insecure_http: bool) -> Result<Self> {
        let resource = &metadata.resource;
        let url = Url::parse(resource).with_context(|| format!("the resource {resource:?} is not a URL"))?;
        let plain = url.username().is_empty() && url.password().is_none();
        ensure!(
            plain && url.query().is_none() && url.fragment().is_none(),
            "the resource {resource:?} has a user, a query or a fragment"
        );
        let safe = url.scheme() == "https" || url.scheme() == "http" && (insecure_http || is_loopback(&url));
        ensure!(safe, "the resource {resource:?} is not an https URL (http is for loopback hosts only)");
        let places = well_known::of_resource(&url);
        let paths = places.iter().map(|place| place.path().to_owned()).collect();
        let url = places.into_iter().next().context("a resource has a place for its document")?.into();
        Ok(Document { metadata, url, paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(resource: &str, insecure_http: bool) -> Result<Document> {
        let metadata = ProtectedResourceMetadata::read(format!(r#"{{"resource":"{resource}"}}"#).as_bytes())?;
        Document::new(metadata, insecure_http)
    }

    #[test]
    fn the_document_is_between_host_and_path() {
        let document = document("https://mcp.example/a/mcp", false).unwrap();
        assert_eq!(document.url, "https://mcp.example/.well-known/oauth-protected-resource/a/mcp");
        let paths = ["/.well-known/oauth-protected-resource/a/mcp", "/.well-known/oauth-protected-resource"];
        assert_eq!(document.paths, paths);
    }

    #[test]
    fn what_cannot_be_a_resource_is_refused() {
        for resource in ["mcp", "ftp://a.example", "https://u@a.example", "https://a.example?x", "https://a.example#x"]
        {
            assert!(document(resource, true).is_err(), "{resource}");
        }
        assert!(document("http://a.example/mcp", false).is_err());
        assert!(document("http://a.example/mcp", true).is_ok());
    }
}
