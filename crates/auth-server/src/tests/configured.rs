//! What cannot work is refused when a server is opened, and leaves no database behind.

use super::*;
use crate::builder::Builder;

async fn refused(issuer: &str, resources: &[&str], allow: fn(Builder) -> Builder) -> String {
    let folder = tempfile::tempdir().unwrap();
    let builder =
        AuthServer::new(issuer, key()).database(folder.path().join("auth.db")).first_password(PASSWORD.into());
    let refused = allow(resources.iter().copied().fold(builder, Builder::resource)).open().await.err();
    assert_eq!(folder.path().join("auth.db").exists(), refused.is_none());
    refused.map(|error| error.to_string()).unwrap_or_default()
}

#[actix_web::test]
async fn a_server_has_an_issuer_and_resources_that_clients_can_use() {
    let mcp = ["https://mcp.example/mcp"];
    for (issuer, resources, why) in [
        ("as.example", &mcp[..], "the issuer \"as.example\" is not a URL"),
        ("https://as.example/", &mcp, "the issuer \"https://as.example/\" must be written without a slash at the end"),
        ("https://as.example?x", &mcp, "the issuer \"https://as.example?x\" must not have a query"),
        ("https://as.example#x", &mcp, "the issuer \"https://as.example#x\" must not have a fragment"),
        ("https://u@as.example", &mcp, "the issuer \"https://u@as.example\" must name a host, and no user"),
        ("https://as.example", &[], "no resource is given, so there is nothing to issue tokens for"),
        ("https://as.example", &["mcp"], "the resource \"mcp\" is not a URL"),
        (
            "https://as.example",
            &["https://mcp.example?x"],
            "the resource \"https://mcp.example?x\" must not have a query",
        ),
        ("https://as.example/tenant", &["https://a.example/mcp", "http://localhost:9000/mcp"], ""),
    ] {
        assert_eq!(refused(issuer, resources, |builder| builder).await, why, "{issuer} {resources:?}");
    }
    let (issuer, resources) = ("http://as.example", &["http://mcp.example/mcp"]);
    let plain = "is plain http, which is for this computer only";
    assert_eq!(refused(issuer, &mcp, |builder| builder).await, format!("the issuer {issuer:?} {plain}"));
    let why = format!("the resource {:?} {plain}", resources[0]);
    assert_eq!(refused("https://as.example", resources, |builder| builder).await, why);
    assert_eq!(refused(issuer, resources, Builder::allow_insecure_http).await, "");
}
