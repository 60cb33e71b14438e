//! Step 10's profiles: what each provider's tokens mean, and what is refused at the start.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::fs;

use integration_tests::{
    command,
    provider::{Provider, call, ping, reason, start},
    signer::{AUDIENCE, Signer, now, with},
};
use serde_json::{Value, json};

#[tokio::test]
async fn each_profile_reads_its_provider_s_tokens() {
    let key = Signer::rsa(0, "k1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(
        &file,
        "extends = \"auth0\"\naudience = [\"api://mine\", \"https://mcp.test/mcp\"]\n\
         [claims]\nroles = [\"https://mcp.example/roles\"]\n\
         [roles]\nchef = \"admin\"\ndefault = \"user\"\n[scopes]\n\"call.tools\" = \"mcp:tools\"\n",
    )
    .unwrap();
    let mine = file.to_str().unwrap();
    let dotted = folder.path().join("dotted.toml");
    fs::write(&dotted, "[claims]\nroles = [\"my.roles\"]\n").unwrap();
    let dotted = dotted.to_str().unwrap();
    let both = json!(["mcp:read", "mcp:tools"]);
    // The profile, the claims that are its own, and what whoami makes of them: username, client_id, scopes, roles.
    let rows = [
        (
            "generic",
            json!({ "scope": "mcp:read mcp:tools", "roles": ["admin", "x"], "preferred_username": "al", "client_id": "c" }),
            json!(["al", "c", both, ["admin"]]),
        ),
        (
            "generic",
            json!({ "scp": ["mcp:tools"], "roles": "user", "azp": "c" }),
            json!(["alice", "c", ["mcp:tools"], ["user"]]),
        ),
        // A role with another name than ours makes nobody an admin.
        (
            "generic",
            json!({ "scope": "mcp:tools", "groups": ["admin"], "roles": ["user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "generic",
            json!({ "scope": "mcp:tools", "groups": ["admin"], "roles": ["user", "not admin", "default"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "auth0",
            json!({ "scope": "mcp:tools", "permissions": ["admin", "mcp:user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "okta",
            json!({ "scp": ["mcp:tools"], "groups": ["admin", "mcp-user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "mcp:tools", "https://mcp.example/roles": ["admin", "mcp:admin"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "mcp:tools", "https://mcp.example/roles": "not chef" }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            dotted,
            json!({ "scope": "mcp:tools", "my.roles": ["admin"], "my": { "roles": ["guest"] } }),
            json!(["alice", null, ["mcp:tools"], ["admin"]]),
        ),
        (
            "keycloak",
            json!({ "scope": "profile mcp:read mcp:tools", "realm_access": { "roles": ["offline_access", "user"] }, "roles": ["admin"], "preferred_username": "al", "azp": "c" }),
            json!(["al", "c", ["profile", "mcp:read", "mcp:tools"], ["user"]]),
        ),
        (
            "auth0",
            json!({ "scope": "mcp:tools", "permissions": ["mcp:tools", "mcp:admin"], "azp": "c" }),
            json!(["alice", "c", ["mcp:tools"], ["admin"]]),
        ),
        (
            "entra",
            json!({ "scp": "mcp:read mcp:tools", "roles": ["user"], "preferred_username": "al@example.com", "appid": "c" }),
            json!(["al@example.com", "c", both, ["user"]]),
        ),
        (
            "okta",
            json!({ "scp": ["mcp:read", "mcp:tools"], "groups": ["Everyone", "mcp-user"], "cid": "c" }),
            json!(["alice", "c", both, ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "call.tools", "https://mcp.example/roles": ["chef"], "permissions": ["mcp:guest"], "nickname": "al", "azp": "c" }),
            json!(["al", "c", ["mcp:tools"], ["admin"]]),
        ),
        (mine, json!({ "scope": "call.tools", "azp": "c" }), json!(["alice", "c", ["mcp:tools"], ["user"]])),
    ];
    for (profile, own, wanted) in rows {
        let mock = Provider::good(&[&key]);
        let audience = if profile == mine { &[][..] } else { &["--audience", AUDIENCE] };
        let server = start(&[&mock], &[&["--profile", profile][..], audience].concat());
        let mut token = json!({ "iss": mock.url, "aud": AUDIENCE, "sub": "alice", "exp": now() + 300, "iat": now() });
        token.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let reply = call(&server, &key.sign(&token), "whoami", json!({})).await;
        let said = &reply.json()["result"]["structuredContent"];
        let seen = json!([said["username"], said["client_id"], said["scopes"], said["roles"]]);
        assert_eq!(seen, wanted, "{profile}: {reply:?}");
        if profile == mine {
            // The audience in the issuer's profile takes precedence over the one for all issuers.
            let server = start(&[&mock], &["--profile", mine, "--audience", "https://other.example"]);
            assert_eq!(ping(&server, &key.sign(&token)).await.status, 200);
            token["aud"] = json!("api://mine");
            assert_eq!(ping(&server, &key.sign(&token)).await.status, 200);
        }
        // Without any role of ours: the default.
        let stranger = json!({ "iss": mock.url, "aud": AUDIENCE, "sub": "eve", "exp": now() + 300, "scope": "mcp:tools",
            "scp": "mcp:tools" });
        let reply = call(&server, &key.sign(&stranger), "list_notes", json!({})).await;
        if profile != mine {
            assert_eq!(reason(&reply), "403 roles_missing", "{profile}: {reply:?}");
        }
        if profile == dotted {
            assert!(
                reply.text.contains("are read from my.roles: give the person one of admin, guest, user"),
                "{reply:?}"
            );
        }
    }
}

/// Payloads as the providers' documentation shows them, with their own headers; shortened where nothing is read.
#[tokio::test]
async fn recorded_tokens_are_read_as_their_providers_mean_them() {
    let (rsa, p384) = (Signer::rsa(0, "k1"), Signer::ec384("k1"));
    let keycloak = |name: &str, scope: &str, roles: Value| {
        json!({
            "jti": "onrtro:6dc1938a-0810-48d1-b904-a3cc25bb428b", "aud": "echo-mcp-server",
            "sub": "b6046365-9438-4975-8957-e6b50352a2b9", "typ": "Bearer", "azp": "mcp-test-client",
            "sid": "5a3a1ea3-de69-425a-b1ae-2b5676ef74a0", "acr": "1", "scope": scope, "email_verified": true,
            "preferred_username": name, "resource_access": { "echo-mcp-server": { "roles": roles } },
        })
    };
    let project = json!({ "user": { "257712562366317695": "example.com" }, "mcp:tools": { "257712562366317695": "example.com" } });
    let zitadel = |roles: Value| {
        json!({
            "aud": ["257714027772314751@mcp", "257713952794870157"], "client_id": "257714027772314751@mcp",
            "jti": "V2_275838472-at_275838473", "nbf": now(), "sub": "257712562366383231",
            "urn:zitadel:iam:org:project:257713952794870157:roles": roles, "urn:zitadel:iam:org:project:roles": roles,
        })
    };
    let authentik = |groups: Value| {
        json!({
            "sub": "8a31c1d4f7", "aud": "EcVTwVpA", "auth_time": now(), "acr": "goauthentik.io/providers/oauth2/default",
            "amr": ["pwd"], "sid": "5c9d", "nonce": "n-0S6", "email": "al@example.com", "email_verified": true,
            "name": "Al", "preferred_username": "al", "nickname": "al", "groups": groups, "azp": "EcVTwVpA",
            "uid": "3Zk0", "scope": "openid profile mcp:read mcp:tools",
        })
    };
    let logto = |roles: Value| {
        json!({
            "jti": "7Zr0y", "sub": "foo", "scope": "mcp:read mcp:tools", "client_id": "bar", "aud": AUDIENCE,
            "roles": roles,
        })
    };
    let (jwt, at_jwt) = ("JWT", "at+jwt");
    // The profile, the audience, the header's typ, the payload, and what comes of whoami: name, client, scopes, roles.
    let rows = [
        (
            "keycloak-tutorial",
            "",
            jwt,
            keycloak("mcp-user", "openid mcp:tools echo-mcp-server-audience", json!(["user"])),
            json!(["mcp-user", "mcp-test-client", ["openid", "mcp:tools", "echo-mcp-server-audience"], ["user"]]),
        ),
        (
            "keycloak-tutorial",
            "",
            jwt,
            keycloak("mcp-admin", "mcp:tools", json!(["admin", "user"])),
            json!(["mcp-admin", "mcp-test-client", ["mcp:tools"], ["admin", "user"]]),
        ),
        ("keycloak-tutorial", "", jwt, keycloak("mcp-readonly", "mcp:read", json!([])), json!("403 roles_missing")),
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(&keycloak("x", "mcp:tools", json!(["user"])), "aud", json!("account")),
            json!("401 audience_other"),
        ),
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(&keycloak("x", "mcp:tools", json!(["user"])), "typ", json!("ID")),
            json!("401 typ_other"),
        ),
        // Another client's roles do not count here.
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(
                &keycloak("x", "mcp:tools", json!([])),
                "resource_access",
                json!({ "account": { "roles": ["admin"] } }),
            ),
            json!("403 roles_missing"),
        ),
        ("keycloak", "echo-mcp-server", jwt, keycloak("x", "mcp:tools", json!(["user"])), json!("403 roles_missing")),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(project.clone()),
            json!(["257712562366383231", "257714027772314751@mcp", ["mcp:tools"], ["user"]]),
        ),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(json!({ "user": { "1": "example.com" } })),
            json!("403 scope_missing"),
        ),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(json!({ "mcp:tools": { "1": "example.com" } })),
            json!("403 roles_missing"),
        ),
        ("zitadel", "257713952794870157", jwt, zitadel(json!({ "admin": true })), json!("401 claim_malformed")),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            with(&zitadel(project), "at_hash", json!("aGFzaA")),
            json!("401 typ_other"),
        ),
        // With other profiles, a role with the name of a scope is not that scope.
        (
            "generic",
            AUDIENCE,
            jwt,
            json!({ "aud": AUDIENCE, "sub": "s", "roles": ["user", "mcp:tools"] }),
            json!("403 scope_missing"),
        ),
        (
            "generic",
            AUDIENCE,
            jwt,
            json!({ "aud": AUDIENCE, "sub": "s", "scope": "mcp:tools", "roles": { "user": { "1": "org" }, "x": {} } }),
            json!(["s", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "authentik",
            "EcVTwVpA",
            jwt,
            authentik(json!(["authentik Admins", "mcp-user"])),
            json!(["al", "EcVTwVpA", ["openid", "profile", "mcp:read", "mcp:tools"], ["user"]]),
        ),
        ("authentik", "EcVTwVpA", jwt, authentik(json!(["authentik Admins", "admin"])), json!("403 roles_missing")),
        (
            "authentik",
            "EcVTwVpA",
            jwt,
            with(&authentik(json!(["mcp-user"])), "at_hash", json!("aGFzaA")),
            json!("401 typ_other"),
        ),
        ("logto", AUDIENCE, at_jwt, logto(json!(["user"])), json!(["foo", "bar", ["mcp:read", "mcp:tools"], ["user"]])),
        ("logto", AUDIENCE, at_jwt, logto(json!([])), json!("403 roles_missing")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dotted.toml");
    fs::write(&file, "extends = \"keycloak\"\n[claims]\nroles = [\"resource_access.mcp.example.com.roles\"]\n")
        .unwrap();
    let dotted = file.to_str().unwrap();
    let client =
        |access: Value| json!({ "aud": AUDIENCE, "sub": "s", "scope": "mcp:tools", "resource_access": access });
    let dotted_rows = [
        (
            dotted,
            AUDIENCE,
            jwt,
            client(
                json!({ "mcp.example.com": { "roles": ["admin"] }, "mcp": { "example": { "com": { "roles": ["guest"] } } } }),
            ),
            json!(["s", null, ["mcp:tools"], ["admin"]]),
        ),
        (
            dotted,
            AUDIENCE,
            jwt,
            client(json!({ "mcp": { "example.com": { "roles": ["user"] } } })),
            json!(["s", null, ["mcp:tools"], ["user"]]),
        ),
        (dotted, AUDIENCE, jwt, client(json!({ "mcp.example.com": "admin" })), json!("401 claim_malformed")),
        (
            dotted,
            AUDIENCE,
            jwt,
            client(json!({ "other.example.com": { "roles": ["admin"] } })),
            json!("403 roles_missing"),
        ),
    ];
    for (profile, audience, typ, payload, wanted) in rows.into_iter().chain(dotted_rows) {
        let key = if profile == "logto" { &p384 } else { &rsa };
        let mock = Provider::good(&[key]);
        let audience = if audience.is_empty() { vec![] } else { vec!["--audience", audience] };
        let server = start(&[&mock], &[&["--profile", profile][..], &audience].concat());
        let payload = [("iss", json!(mock.url)), ("iat", json!(now())), ("exp", json!(now() + 300))]
            .into_iter()
            .fold(payload, |payload, (name, value)| with(&payload, name, value));
        let token = key.sign_as(&with(&key.header(), "typ", json!(typ)), &payload);
        let reply = call(&server, &token, "whoami", json!({})).await;
        let seen = if reply.status == 200 {
            let said = &reply.json()["result"]["structuredContent"];
            json!([said["username"], said["client_id"], said["scopes"], said["roles"]])
        } else {
            json!(reason(&reply))
        };
        assert_eq!(seen, wanted, "{profile} {payload}: {reply:?}");
    }
}

#[test]
fn what_cannot_be_trusted_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
    };
    file("typo.toml", "role = {}\n");
    file("broken.toml", "= =\n");
    file("hs256.toml", "algorithms = [\"HS256\"]\n");
    file("role.toml", "[roles]\nx = \"root\"\n");
    file("none.toml", "[roles]\nx = \"none\"\n");
    file("cognito.toml", "extends = \"cognito\"\n");
    file("dots.toml", &format!("[claims]\nroles = [\"a{}\"]\n", ".a".repeat(13)));
    file("secret", "secret\n");
    file("open.toml", "[introspection]\nclient_id = \"a\"\nclient_secret_file = \"secret\"\n");
    file("unset.toml", "[introspection]\nclient_id = \"a\"\nclient_secret_env = \"NOT_SET\"\n");
    let a = "https://a.example";
    for (args, says) in [
        (&["--issuer", "http://a.example"][..], "https"),
        (&["--issuer", "nonsense"], "not the URL of an issuer"),
        (&["--issuer", "https://a.example?x"], "not the URL of an issuer"),
        (&["--issuer", "https://u@a.example"], "not the URL of an issuer"),
        (&["--issuer", "https://a.example#x"], "not the URL of an issuer"),
        (&["--issuer", "http://localhost.evil.example"], "not the URL of an issuer"),
        (&["--issuer", a, "--issuer", a], "twice"),
        (&["--issuer", "http://localhost:9000", "--public-url", "http://localhost:9000"], "this server itself"),
        (&["--issuer", a, "--public-key", "key.pem"], "--public-key"),
        (&["--issuer", a, "--profile", "nix"], "keycloak, auth0"),
        (&["--issuer", a, "--profile", "missing.toml"], "missing.toml"),
        (&["--issuer", a, "--profile", "okta", "--profile", "okta"], "--profile"),
        (&["--issuer", a, "--profile", "typo.toml"], "typo.toml"),
        (&["--issuer", a, "--profile", "broken.toml"], "broken.toml"),
        (&["--issuer", a, "--profile", "hs256.toml"], "hs256.toml"),
        (&["--issuer", a, "--profile", "role.toml"], "role.toml"),
        (&["--issuer", a, "--profile", "none.toml"], "default only"),
        (&["--issuer", a, "--profile", "open.toml"], "chmod 600"),
        (&["--issuer", a, "--profile", "unset.toml"], "NOT_SET"),
        (&["--issuer", a, "--jwks-min-age", "1h"], "--jwks-min-age"),
        (&["--issuer", a, "--jwks-cooldown", "0s"], "--jwks-cooldown"),
        (&["--issuer", a, "--max-stale", "30d"], "--max-stale"),
        (&["--issuer", a, "--max-stale", "9m"], "--max-stale is shorter"),
        (
            &["--issuer", a, "--jwks-cooldown", "10m", "--jwks-min-age", "1s", "--jwks-max-age", "5m"],
            "--jwks-cooldown is",
        ),
        (
            &["--issuer", "https://cognito-idp.us-east-2.amazonaws.com/us-east-2_SF2DCPO5Y"],
            "Cognito's access tokens have no aud",
        ),
        (&["--issuer", a, "--profile", "cognito"], "Cognito's access tokens have no aud"),
        (&["--issuer", a, "--profile", "cognito.toml"], "Cognito's access tokens have no aud"),
        (&["--issuer", "https://login.example/{tenantid}/v2.0"], "a template for many tenants"),
        (&["--issuer", "https://login.example/%7Btenantid%7D/v2.0"], "a template for many tenants"),
        (
            &["--issuer", "https://cognito-idp-fips.us-gov-west-1.amazonaws.com/x"],
            "Cognito's access tokens have no aud",
        ),
        (&["--issuer", a, "--profile", "dots.toml"], "over 12 dots"),
        (&["--issuer", ""], "URL is empty"),
        (&["--issuer", "https://a.example  https://b.example"], "there is one space"),
        (&["--profile", "keycloak"], "add --issuer"),
    ] {
        let output =
            command("step10").unwrap().args(["--port", "0"]).args(args).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {error}");
        assert!(error.contains("error: ") && error.contains(says), "{args:?} should say {says:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
