//! What `auth-check` finds in our own servers. On the way, each of them gets every hostile token of its table.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::Path, sync::Arc};

use auth_check::{
    context::{Attacker, Settings},
    issuer::IssuerServer,
    jose::RsaKey,
    login::{self, Login, Visit, Visited},
    model::{Outcome, Revision},
    report,
    run::run,
    tokens::{Mint, Tokens, read_key},
};
use integration_tests::{
    Server,
    browser::{Browser, PASSWORD},
};
use reqwest::Url;
use serde_json::json;

/// One pair for all of them, because making a pair takes longest.
const KEYS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tokens-keys");

/// Alice, who logs in anew each time and allows whatever is asked for.
struct Alice(Arc<Server>);

impl login::Browser for Alice {
    fn redirect_uri(&self) -> Url {
        "http://127.0.0.1:1/callback/auth-check".parse().unwrap()
    }

    fn visit<'a>(&'a self, visit: Visit<'a>) -> Visited<'a> {
        Box::pin(async move {
            let path = format!("{}?{}", visit.url.path(), visit.url.query().unwrap_or_default());
            let scope = visit.url.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned();
            let scopes: Vec<_> = scope.split(' ').collect();
            let answer = Browser::new(&self.0).unwrap().consent(&path, "alice", &scopes).await.unwrap();
            let mut place = visit.redirect_uri.clone();
            place.query_pairs_mut().extend_pairs(&answer);
            Ok(Some(place))
        })
    }
}

/// `login`: Alice logs in; step 6 has no authorization server.
async fn settings(server: &Arc<Server>, mint: Option<Mint>, login: bool) -> Settings {
    let login = login.then(|| Box::new(Login::new(Box::new(Alice(Arc::clone(server))), None)));
    let foreign = Arc::new(RsaKey::generate().unwrap());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let issuer = IssuerServer::start(any, None, &json!({ "keys": [] }), &foreign.key_set()).await.unwrap();
    Settings {
        target: format!("{}/mcp", server.url()).parse().unwrap(),
        revision: Revision::R2026_07_28,
        mine: Vec::new(),
        tokens: Tokens { mint, login, ..Tokens::default() },
        attacker: Attacker { key: foreign, server: issuer },
        audience: None,
        active: true,
        patience: 0,
    }
}

fn start(step: &str) -> Arc<Server> {
    Arc::new(Server::start_in_env(step, &["--keys", KEYS], &[("MCP_DEV_PASSWORD", PASSWORD)]).unwrap())
}

#[tokio::test]
async fn auth_check_finds_in_each_step_what_it_does_not_teach_yet_and_nothing_else() {
    for (step, expected) in [
        // Metadata comes with step 7, scopes with step 8.
        ("step6", &["CHAL-04", "CHAL-06", "PRM-01"][..]),
        // Scopes come with step 8.
        ("step7", &["CHAL-06"]),
        ("step8", &[]),
        ("step9", &[]),
    ] {
        let server = start(step);
        let key = Arc::new(read_key(&Path::new(KEYS).join("mcp_private_key.pem")).unwrap());
        let mint = Mint { key, issuer: server.url().to_owned() };
        let settings = settings(&server, Some(mint), step != "step6").await;
        let results = run(settings, |_, _, _| {}).await.unwrap();
        let found: Vec<_> = results.found().map(|(verdict, _)| verdict.check.id).collect();
        assert_eq!(found, expected, "{step}: {}", report::text::report(&results));
        // A check that did not run is not passed, so make sure that the tokens were tried.
        assert_eq!(results.outcome("TOK-23"), Some(&Outcome::Passed), "{step}");
        // Neither were the codes and refresh tokens.
        assert_eq!(results.outcome("REV-03") == Some(&Outcome::Passed), step != "step6", "{step}");
        let not_run = results.verdicts.iter().filter(|one| report::reason(&one.outcome).is_some());
        // Ours gives no tokens that are bound to a key.
        let not_run: Vec<_> = not_run.map(|one| one.check.id).filter(|id| !id.starts_with("DPOP-")).collect();
        assert_eq!(expected.is_empty(), not_run.is_empty(), "{step}: {not_run:?}");
    }
}

#[tokio::test]
async fn with_a_log_in_alone_scopes_are_tried_with_tokens_for_fewer_of_them() {
    let server = start("step9");
    let results = run(settings(&server, None, true).await, |_, _, _| {}).await.unwrap();
    let report = report::text::report(&results);
    assert_eq!(results.found().count(), 0, "{report}");
    for verdict in results.verdicts.iter().filter(|one| one.check.prefix() == "SCOPE") {
        // That one takes scopes that nobody grants.
        assert_eq!(verdict.outcome == Outcome::Passed, verdict.check.id != "SCOPE-07", "{report}");
    }
}
