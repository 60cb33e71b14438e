//! What `auth-check` finds in our own servers. On the way, each of them gets every hostile token of its table.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::Path, sync::Arc};

use auth_check::{
    context::{Attacker, Settings},
    issuer::IssuerServer,
    jose::RsaKey,
    model::{Outcome, Revision},
    report,
    run::run,
    tokens::{Mint, Tokens, read_key},
};
use integration_tests::Server;
use serde_json::json;

/// One pair for all of them, because making a pair takes longest.
const KEYS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tokens-keys");

#[tokio::test]
async fn auth_check_finds_in_each_step_what_it_does_not_teach_yet_and_nothing_else() {
    let foreign = Arc::new(RsaKey::generate().unwrap());
    for (step, expected) in [
        // Metadata comes with step 7, scopes with step 8.
        ("step6", &["CHAL-04", "CHAL-06", "PRM-01"][..]),
        // Scopes come with step 8.
        ("step7", &["CHAL-06"]),
        ("step8", &[]),
        ("step9", &[]),
    ] {
        let server = Server::start_with(step, &["--keys", KEYS]).unwrap();
        let key = Arc::new(read_key(&Path::new(KEYS).join("mcp_private_key.pem")).unwrap());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            target: format!("{}/mcp", server.url()).parse().unwrap(),
            revision: Revision::R2026_07_28,
            mine: Vec::new(),
            tokens: Tokens { mint: Some(Mint { key, issuer: server.url().to_owned() }), ..Tokens::default() },
            attacker: Attacker {
                key: Arc::clone(&foreign),
                server: IssuerServer::start(any, None, &json!({ "keys": [] }), &foreign.key_set()).await.unwrap(),
            },
            audience: None,
            active: true,
            patience: 0,
        };
        let results = run(settings, |_, _, _| {}).await.unwrap();
        let found: Vec<_> = results.found().map(|(verdict, _)| verdict.check.id).collect();
        assert_eq!(found, expected, "{step}: {}", report::text::report(&results));
        // A check that did not run is not passed, so make sure that the tokens were tried.
        assert_eq!(results.outcome("TOK-23"), Some(&Outcome::Passed), "{step}");
        assert_eq!(expected.is_empty(), results.counts().2 == 0, "{step}: {}", report::headline(&results));
    }
}
