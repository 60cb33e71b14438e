//! `step10 doctor`: what is wrong with a provider, or with a token.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use integration_tests::{
    command,
    provider::{Provider, json_of, raw, set},
    signer::{AUDIENCE, Signer, claims, now, with},
};
use serde_json::{Value, json};

/// Returns its exit code and what it prints. The token goes to standard input.
fn doctor(args: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let mut command = command("step10").unwrap();
    command.arg("doctor").args(args).env("MCP_AUDIENCE", AUDIENCE);
    if token.is_some() {
        command.args(["--token-file", "-"]);
    }
    let stdio = std::process::Stdio::piped;
    let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(token.unwrap_or_default().as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn doctor_says_what_is_wrong_with_a_provider() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let (code, text) = doctor(&["--issuer", &mock.url], Some(&key.sign(&claims(&mock.url))));
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "✓ metadata",
        "✓ PKCE",
        "✓ keys: \"k1\" for [RS256, PS256]",
        "✓ clients",
        "✓ token: is accepted, as \"alice\"",
        "! CORS",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours in a pipe");
    let document = |name: &str, value: Value| {
        mock.put("/.well-known/oauth-authorization-server", json_of(with(&mock.metadata(), name, value)));
    };
    for (name, value, line) in [
        ("issuer", json!("https://other.example"), "use that as --issuer, if that other host is whom you mean"),
        ("issuer", json!(format!("{}/", mock.url)), "use that as --issuer."),
        ("issuer", json!(format!("{}/{{tenantid}}/v2.0", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!(format!("{}/%7Btenantid%7D/v2.0", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!(format!("{}/<tenant>", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!("urn:example:issuer"), "which is not the URL of an issuer"),
        ("issuer", json!("http://example.com"), "which is not the URL of an issuer"),
        ("code_challenge_methods_supported", json!(["plain"]), "✗ PKCE"),
        ("code_challenge_methods_supported", Value::Null, "✗ PKCE"),
        ("response_types_supported", json!(["token"]), "✗ code"),
        ("token_endpoint", Value::Null, "✗ token_endpoint"),
        ("authorization_endpoint", json!("http://example.com/a"), "✗ authorization_endpoint"),
        ("jwks_uri", Value::Null, "✗ keys"),
        ("jwks_uri", json!("http://example.com/jwks"), "✗ keys"),
    ] {
        document(name, value);
        let (code, text) = doctor(&["--issuer", &mock.url], None);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains(line), "{line}: {text}");
    }
    for (issuer, line) in [
        (format!("{}/{{tenant}}", mock.url), "is a template for many tenants: put one tenant's name into it"),
        (format!("{}?x=1", mock.url), "is not the URL of an issuer"),
        (format!("{}/.well-known/openid-configuration", mock.url), "ends before /.well-known/"),
    ] {
        let (code, text) = doctor(&["--issuer", &issuer], None);
        assert!(code == Some(1) && text.contains(line), "{line}: {text}");
    }
    document("registration_endpoint", Value::Null);
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(0) && text.contains("! clients") && text.contains("Register each client by hand"), "{text}");
    document("client_id_metadata_document_supported", json!(true));
    assert!(doctor(&["--issuer", &mock.url], None).1.contains("✓ clients"));
    // A browser asks before it posts JSON, and the server must allow this.
    let cors = "Access-Control-Allow-Origin: *\r\n";
    mock.put(
        "/.well-known/oauth-authorization-server",
        raw("200 OK", cors, &with(&mock.metadata(), "x", json!(1)).to_string()),
    );
    mock.put("/token", raw("204 No Content", cors, ""));
    for (headers, line) in [
        ("", "may not use registration_endpoint."),
        (cors, "may not use registration_endpoint."),
        (&format!("{cors}Access-Control-Allow-Headers: accept, Content-Type\r\n"), "✓ CORS"),
    ] {
        mock.put("/register", raw("204 No Content", headers, ""));
        let (_, text) = doctor(&["--issuer", &mock.url], None);
        assert!(text.contains(line), "{line}: {text}");
    }
    mock.put("/token", raw("405 No", cors, ""));
    assert!(doctor(&["--issuer", &mock.url], None).1.contains("may not use token_endpoint."));
    // Keys that the profile does not allow.
    let folder = tempfile::tempdir().unwrap();
    let profile = |text: &str| {
        let file = folder.path().join("mine.toml");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let es256 = profile("algorithms = [\"ES256\"]\n");
    let (code, text) = doctor(&["--issuer", &mock.url, "--profile", &es256], None);
    assert!(code == Some(1) && text.contains("✗ keys") && text.contains("does not allow [RS256, PS256]"), "{text}");
    // An issuer without keys, whose tokens are opaque.
    document("jwks_uri", Value::Null);
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::set_permissions(folder.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let opaque = profile("[introspection]\nclient_id = \"me\"\nclient_secret_file = \"secret\"\n");
    for (answer, wanted, line) in [
        (json_of(json!({ "active": false })), 0, "✓ introspection"),
        (json_of(json!({ "active": true })), 1, "✗ introspection: A token that was never issued counts as active"),
        (raw("401 No", "", "{}"), 1, "✗ introspection: The provider answers with the status 401. Check client_id"),
    ] {
        mock.put("/introspect", answer);
        let (code, text) = doctor(&["--issuer", &mock.url, "--profile", &opaque], None);
        assert!(code == Some(wanted) && text.contains(line), "{line}: {text}");
        assert!(text.contains("  keys: it has no keys"), "{text}");
    }
    mock.become_good(&[&key]);
    // Keys that cannot be used, or should not be.
    let leaked = with(&key.jwk, "d", json!("AQAB"));
    mock.put("/jwks", json_of(set(vec![Signer::ec("good\u{1b}").jwk, with(&key.jwk, "use", json!("enc"))])));
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(0) && text.contains("\"k1\" is not used: its use is not sig"), "{text}");
    assert!(!text.contains('\u{1b}'), "what the provider writes reaches the terminal: {text}");
    let other = with(&Signer::rsa(1, "k1").jwk, "alg", json!("RS256"));
    mock.put("/jwks", json_of(set(vec![key.jwk.clone(), other])));
    let (_, text) = doctor(&["--issuer", &mock.url], None);
    assert!(text.contains("! key: \"k1\" is the kid of several different keys"), "{text}");
    mock.put("/jwks", json_of(set(vec![leaked])));
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(1) && text.contains("Withdraw the key at once"), "{text}");
}

#[test]
fn doctor_says_what_is_wrong_with_a_token_and_never_the_token() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let args = ["--issuer", mock.url.as_str(), "--profile", "keycloak"];
    for (claims, line) in [
        (with(&claims(&mock.url), "aud", Value::Null), "audience mapper"),
        (with(&claims(&mock.url), "exp", json!(now() - 100)), "(expired)"),
        (with(&claims(&mock.url), "iss", json!("https://other.example")), "iss=\"https://other.example\""),
    ] {
        let token = key.sign(&claims);
        let (code, text) = doctor(&args, Some(&token));
        assert!(code == Some(1) && text.contains("✗ token") && text.contains(line), "{line}: {text}");
        assert!(token.split('.').all(|part| !text.contains(part)), "the token is printed");
    }
    // Without the option, doctor can only guess which server the token is for.
    let elsewhere = key.sign(&with(&claims(&mock.url), "aud", json!("https://mcp.example/mcp")));
    let ask = |more: &[&str]| {
        let mut command = command("step10").unwrap();
        command.arg("doctor").args(args).args(more).args(["--token-file", "-"]);
        let stdio = std::process::Stdio::piped;
        let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(elsewhere.as_bytes());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, text) = ask(&[]);
    assert!(code == Some(1) && text.contains("(audience_other)") && text.contains("Give --public-url"), "{text}");
    for given in [["--public-url", "https://mcp.example"], ["--audience", "https://mcp.example/mcp"]] {
        let (code, text) = ask(&given);
        assert!(code == Some(0) && text.contains("✓ token") && !text.contains("Give --public-url"), "{text}");
    }
    let (_, text) = ask(&["--public-url", "https://other.example"]);
    assert!(text.contains("(audience_other)") && !text.contains("Give --public-url"), "{text}");
    let token = key.sign(&claims(&mock.url));
    let (code, text) = doctor(&[&args[..], &["--token-file", &token]].concat(), None);
    assert!(code == Some(1) && text.contains("--token-file") && !text.contains(&token), "{text}");
    assert_eq!(doctor(&[], None).0, Some(1));
    let (code, text) = doctor(&["--issuer", "http://127.0.0.1:1"], None);
    assert!(code == Some(1) && text.contains("cannot be reached"), "{text}");
}
