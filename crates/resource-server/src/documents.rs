//! The document that tells a client where to get a token (RFC 9728). The client finds it with the resource's URL alone.

use ::url::Url;
use anyhow::{Context, Result, anyhow};
use oauth::{fetch::url, metadata::ProtectedResourceMetadata, well_known};

/// The document, and where it is.
pub struct Document {
    pub metadata: ProtectedResourceMetadata,
    /// Its URL, which challenges name.
    pub url: String,
    /// The paths at which it is served: the one of that URL, the resource's own, and the root, where some clients look.
    pub paths: Vec<String>,
}

impl Document {
    /// `named`: its URL, if that is not to be the resource's well-known place.
    ///
    /// # Errors
    /// If the resource is not a URL that clients could use as one, or the document would be on another server.
    pub fn new(metadata: ProtectedResourceMetadata, named: Option<&str>, insecure_http: bool) -> Result<Self> {
        let resource = &metadata.resource;
        let url = url::of_server(resource, insecure_http).map_err(|why| anyhow!("the resource {resource:?} {why}"))?;
        let mut places = well_known::of_resource(&url);
        if let Some(named) = named {
            let place = Url::parse(named).ok().filter(|place| {
                place.origin() == url.origin() && place.query().is_none() && place.fragment().is_none()
            });
            let place =
                place.with_context(|| format!("the metadata's URL {named:?} is not on the resource's origin"))?;
            places.retain(|known| *known != place);
            places.insert(0, place);
        }
        let paths = places.iter().map(|place| place.path().to_owned()).collect();
        let url = places.into_iter().next().context("a resource has a place for its document")?.into();
        Ok(Document { metadata, url, paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document_at(named: Option<&str>, resource: &str, insecure_http: bool) -> Result<Document> {
        let metadata = ProtectedResourceMetadata::read(format!(r#"{{"resource":"{resource}"}}"#).as_bytes())?;
        Document::new(metadata, named, insecure_http)
    }

    fn document(resource: &str, insecure_http: bool) -> Result<Document> {
        document_at(None, resource, insecure_http)
    }

    #[test]
    fn the_document_is_between_host_and_path() {
        let document = document("https://mcp.example/a/mcp", false).unwrap();
        assert_eq!(document.url, "https://mcp.example/.well-known/oauth-protected-resource/a/mcp");
        let paths = ["/.well-known/oauth-protected-resource/a/mcp", "/.well-known/oauth-protected-resource"];
        assert_eq!(document.paths, paths);
    }

    #[test]
    fn the_document_may_be_named_elsewhere_on_the_origin() {
        let at = |place: &str| document_at(Some(place), "https://mcp.example/a/mcp", false);
        let below = at("https://mcp.example/a/.well-known/oauth-protected-resource").unwrap();
        assert_eq!(below.url, "https://mcp.example/a/.well-known/oauth-protected-resource");
        let usual = ["/.well-known/oauth-protected-resource/a/mcp", "/.well-known/oauth-protected-resource"];
        assert_eq!(below.paths, [&["/a/.well-known/oauth-protected-resource"], &usual[..]].concat());
        // A place that is served anyway is served once.
        let root = at("https://mcp.example/.well-known/oauth-protected-resource").unwrap();
        assert_eq!(root.paths, [usual[1], usual[0]]);
        for elsewhere in ["/a", "https://evil.example/a", "http://mcp.example/a", "https://mcp.example:1/a"] {
            assert!(at(elsewhere).is_err(), "{elsewhere}");
        }
        assert!(at("https://mcp.example/a?x").is_err() && at("https://mcp.example/a#x").is_err());
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
