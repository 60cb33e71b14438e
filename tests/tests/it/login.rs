//! A client that knows only the URL of the MCP server logs a person in and calls tools.

use anyhow::Result;
use integration_tests::{
    Reply,
    browser::{Browser, claims, redemption, start},
};
use serde_json::json;

#[tokio::test]
async fn a_client_finds_the_way_logs_a_person_in_and_calls_a_tool() -> Result<()> {
    for step in ["step7", "step8", "step9"] {
        let server = start(step)?;
        let browser = Browser::new(&server)?;

        // 401 → the resource's document → the authorization server's document.
        let refused = Reply::of(server.legacy("ping", json!({}))).await?;
        assert_eq!(refused.status, 401);
        let challenge = refused.header("www-authenticate");
        let document = challenge.split_once("resource_metadata=\"").unwrap().1.split_once('"').unwrap().0;
        let document = Reply::of(server.get(document.strip_prefix(server.url()).unwrap())).await?.json();
        assert_eq!(document["authorization_servers"], json!([server.url()]));
        let metadata = Reply::of(server.get("/.well-known/oauth-authorization-server")).await?.json();
        assert_eq!(metadata["issuer"], server.url());
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        for endpoint in ["authorization", "token", "registration", "revocation"] {
            let url = metadata[format!("{endpoint}_endpoint")].as_str().unwrap();
            let reply =
                Reply::of(server.request(reqwest::Method::POST, url.strip_prefix(server.url()).unwrap())).await?;
            assert!(reply.status != 404 && !reply.status.is_server_error(), "{url}: {reply:?}");
        }

        // Registration, log-in, consent, code, token.
        let client = browser.register(&["http://localhost/callback"]).await?;
        let answer = browser.consent(&browser.request(&client, &[]), "alice", &["mcp:read"]).await?;
        assert_eq!(answer["iss"], server.url());
        assert_eq!(answer["state"], "the state");
        let granted = browser.token(&redemption(&client, &answer["code"])).await?;
        assert_eq!(granted.status, 200, "{granted:?}");
        assert_eq!(granted.header("cache-control"), "no-store");
        let granted = granted.json();
        assert_eq!(granted["scope"], "mcp:read"); // mcp:tools was not ticked
        assert_eq!(granted["expires_in"], 600);
        let token = granted["access_token"].as_str().unwrap();
        let said = claims(token)?;
        assert_eq!(said["exp"].as_i64(), said["iat"].as_i64().map(|from| from + 600));
        assert_eq!(said["sub"], "user_alice");
        assert_eq!(said["client_id"], client.as_str());
        assert_eq!(said["aud"], format!("{}/mcp", server.url()));

        // The token works here, for what it says, and can be refreshed.
        let list = Reply::of(server.legacy("tools/list", json!({})).bearer_auth(token)).await?;
        assert_eq!(list.status, 200, "{list:?}");
        if step != "step7" {
            let call = server.legacy("tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }));
            let call = Reply::of(call.bearer_auth(token)).await?;
            assert_eq!(call.status, 403);
            assert!(call.header("www-authenticate").contains("scope=\"mcp:tools\""), "{call:?}");
        }
        let refresh = granted["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", refresh)];
        let refreshed = browser.token(&form).await?;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        assert_ne!(refreshed.json()["refresh_token"], refresh);
    }
    Ok(())
}
