//! The proof that each check finds something: the gallery is run with each of its faults, and what is found must be
//! exactly what is written beside the fault.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use auth_check::{
    checks,
    context::{Attacker, Settings},
    http::Http,
    issuer::IssuerServer,
    jose::RsaKey,
    login::{Browser, Login, Visit, Visited},
    message::{Exchange, Request},
    model::{Needs, Outcome, Revision, Unmet},
    policy::{Baseline, Policy},
    report,
    run::{Results, run},
    tokens::{Mint, Tokens},
};
use auth_check_gallery::{
    Gallery,
    faults::{FAULTS, Fault, HABITS},
    state::Trust,
};
use serde_json::{Value, json};
use url::Url;

/// Somebody who is logged in, and allows everything at once.
struct Approving;

impl Browser for Approving {
    fn redirect_uri(&self) -> Url {
        "http://127.0.0.1:1/callback/auth-check".parse().unwrap()
    }

    fn visit<'a>(&'a self, visit: Visit<'a>) -> Visited<'a> {
        Box::pin(async move {
            let sent = Request::get(visit.url);
            let came = Http::new(visit.url, Vec::new()).send(&sent).await?;
            Ok(Exchange { sent, came }.location())
        })
    }
}

/// The trusted key and the other one; making them takes longest.
fn keys() -> &'static [Arc<RsaKey>; 2] {
    static KEYS: OnceLock<[Arc<RsaKey>; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| Arc::new(RsaKey::generate().unwrap())))
}

async fn settings(fault: Option<&'static Fault>) -> (Gallery, Settings) {
    let [trusted, foreign] = keys();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = IssuerServer::start(any, None, &trusted.key_set(), &foreign.key_set()).await.unwrap();
    let issuer = server.url().to_owned();
    let gallery = Gallery::start(0, fault, Trust { issuer: issuer.clone(), keys: trusted.key_set() }).unwrap();
    let mint = Some(Mint { key: Arc::clone(trusted), issuer });
    let settings = Settings {
        target: gallery.endpoint().parse().unwrap(),
        revision: Revision::R2026_07_28,
        mine: Vec::new(),
        tokens: Tokens { mint, login: Some(Box::new(Login::new(Box::new(Approving), None))), ..Tokens::default() },
        attacker: Attacker { key: Arc::clone(foreign), server },
        audience: None,
        active: true,
        patience: 0,
    };
    (gallery, settings)
}

/// Runs all checks on the gallery with this fault.
async fn results(fault: Option<&'static Fault>) -> Results {
    let (_gallery, settings) = settings(fault).await;
    run(settings, |_, _, _| {}).await.unwrap()
}

fn reports(results: &Results) -> String {
    format!("{} {}", report::json::report(results), report::text::report(results))
}

fn found(results: &Results) -> BTreeSet<&'static str> {
    results.found().map(|(verdict, _)| verdict.check.id).collect()
}

#[actix_web::test]
async fn without_a_fault_nothing_is_found_and_all_is_run() {
    let results = results(None).await;
    assert_eq!(found(&results), BTreeSet::new(), "{}", report::text::report(&results));
    let not_run: Vec<_> = results.verdicts.iter().filter(|one| one.outcome != Outcome::Passed).collect();
    assert!(not_run.is_empty(), "{not_run:?}");
}

#[actix_web::test]
async fn nothing_is_found_where_a_server_may_do_as_it_does() {
    for habit in HABITS {
        let results = results(Some(habit)).await;
        assert_eq!(found(&results), BTreeSet::new(), "{}: {}", habit.name, report::text::report(&results));
        let all_is_run = results.verdicts.iter().all(|one| one.outcome == Outcome::Passed);
        assert!(habit.name != "asks-to-wait" || all_is_run, "{}", report::text::report(&results));
    }
}

#[actix_web::test]
async fn with_a_log_in_alone_all_is_run_that_takes_no_key() {
    let (_gallery, mut settings) = settings(None).await;
    settings.tokens.mint = None;
    let results = run(settings, |_, _, _| {}).await.unwrap();
    assert_eq!(found(&results), BTreeSet::new(), "{}", report::text::report(&results));
    for verdict in &results.verdicts {
        // That one takes a token for another server.
        let expected = verdict.check.needs != Needs::Key && verdict.check.id != "TOK-09";
        assert_eq!(verdict.outcome == Outcome::Passed, expected, "{verdict:?}");
    }
}

#[actix_web::test]
async fn without_a_token_it_is_not_known_whether_a_server_that_asks_for_one_first_looks_at_host() {
    for (fault, blind) in [("", false), ("any-host", true), ("token-before-host", true)] {
        let (_gallery, mut settings) = settings(auth_check_gallery::faults::find(fault)).await;
        settings.tokens = Tokens::default();
        let results = run(settings, |_, _, _| {}).await.unwrap();
        let outcome = results.outcome("TRAN-03").unwrap();
        assert_eq!(
            matches!(outcome, Outcome::NotRun(why) if why.starts_with("a token ")),
            blind,
            "{fault}: {outcome:?}"
        );
    }
}

/// How signed tokens begin (`{"typ"` and `{"alg"` in base64url), and codes and refresh tokens. All are so long that no
/// key, `state` or challenge has them by chance, as happened with `eyJ` alone.
const SECRETS: [&str; 4] = ["eyJ0eXAi", "eyJhbGci", "gallery-code-", "gallery-refresh-"];

/// With each of these faults, the checks beside it find something, and no others.
async fn prove(faults: impl Iterator<Item = &'static Fault>) {
    let mut wrong = Vec::new();
    for fault in faults {
        let results = results(Some(fault)).await;
        let expected: BTreeSet<_> = fault.found.iter().copied().collect();
        let seen = found(&results);
        if seen != expected {
            wrong.push(format!("{}: found {seen:?}, not {expected:?}", fault.name));
        }
        let reports = reports(&results);
        if let Some(secret) = SECRETS.iter().find(|it| reports.contains(**it)) {
            wrong.push(format!("{}: a report shows {secret}…", fault.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} faults:\n{}", wrong.len(), FAULTS.len(), wrong.join("\n"));
}

// In two halves, which run at the same time.
#[actix_web::test]
async fn with_each_fault_the_checks_beside_it_find_something_and_no_others() {
    prove(FAULTS.iter().step_by(2)).await;
}

#[actix_web::test]
async fn with_each_other_fault_the_checks_beside_it_find_something_and_no_others() {
    prove(FAULTS.iter().skip(1).step_by(2)).await;
}

#[test]
fn each_check_has_a_fault_that_it_finds_and_each_fault_a_check() {
    let proved: BTreeSet<_> = FAULTS.iter().flat_map(|fault| fault.found.iter().copied()).collect();
    let all: BTreeSet<_> = checks::all().map(|check| check.id).collect();
    assert_eq!(all.difference(&proved).collect::<Vec<_>>(), Vec::<&&str>::new(), "no fault proves these checks");
    assert_eq!(proved.difference(&all).collect::<Vec<_>>(), Vec::<&&str>::new(), "these are no checks");
    let names: BTreeSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
    assert_eq!(names.len(), FAULTS.len(), "a fault is there twice");
    assert!(FAULTS.iter().all(|fault| !fault.found.is_empty()));
}

/// A run that has findings, passes, and checks of both kinds that were not run.
async fn mixed() -> Results {
    let (_gallery, mut settings) = settings(auth_check_gallery::faults::find("challenge-without-quotes")).await;
    settings.tokens = Tokens::default();
    run(settings, |_, _, _| {}).await.unwrap()
}

#[actix_web::test]
async fn the_report_in_json_is_as_its_schema_says_and_nothing_that_was_not_run_is_green() {
    let results = mixed().await;
    let schema: Value = serde_json::from_str(include_str!("../report.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json = report::json::report(&results);
    let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let outcomes: BTreeSet<_> =
        json["checks"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["found", "not run", "passed"].into());
    // The schema is no rubber stamp.
    let mut bad = json.clone();
    bad["checks"][0]["outcome"] = json!("green");
    assert!(!validator.is_valid(&bad));

    let text = report::text::report(&results);
    let (passed, found, not_run) = results.counts();
    let first = text.lines().next().unwrap();
    assert!(found == 1 && not_run > 30 && passed > 30, "{first}");
    assert!(first.contains(&format!("{not_run} were not run")), "{first}");
    for part in ["MUST CHAL-03", "Change:", "blocked by CHAL-03: ", "needs a token (--token-file"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[actix_web::test]
async fn sarif_and_junit_say_what_was_found_and_what_was_not_run() {
    let results = mixed().await;
    let sarif = report::sarif::report(&results);
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!((rules.len(), &sarif["version"]), (results.verdicts.len(), &json!("2.1.0")));
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!((&result["ruleId"], &result["level"]), (&rule["id"], &json!("error")));
        let place = &result["locations"][0];
        let uri = place["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("http/127.0.0.1_") && uri.ends_with("/mcp") && !uri.contains(':'), "{uri}");
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], json!(results.target));
    }
    let notifications = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert_eq!(notifications.len(), results.counts().2);

    for (required, element) in [(false, "<skipped "), (true, "<error ")] {
        let xml = report::junit::report(&results, required);
        assert_eq!(xml.matches(element).count(), results.counts().2, "{xml}");
        assert_eq!(xml.matches("<testcase ").count(), results.verdicts.len());
        let findings: Vec<_> = results.found().flat_map(|(_, findings)| findings).collect();
        assert!(findings.len() > results.failing() && findings.iter().all(|one| xml.contains(&one.what)), "{xml}");
        assert_eq!(xml.matches("<failure ").count(), results.failing());
    }
}

#[actix_web::test]
async fn no_report_has_a_private_key_in_it() {
    let results = results(auth_check_gallery::faults::find("private-key-published")).await;
    let reports = reports(&results);
    // How the key's private half begins, and its public one.
    assert!(!reports.contains("870MB6gfuTJ4") && reports.contains("MKBCTNIcKUSD"), "{reports}");
}

#[actix_web::test]
async fn the_report_is_printed_though_a_file_cannot_be_written() {
    let (gallery, _settings) = settings(None).await;
    let directory = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_auth-check"));
    command.arg(gallery.endpoint()).arg("--json").arg(directory.path().join("missing/report.json"));
    let output = actix_web::web::block(move || command.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!output.status.success() && err.contains("cannot write "), "{err}");
    assert!(out.contains("were not run"), "{out}");
}

#[actix_web::test]
async fn registrations_are_announced_where_there_is_a_place_for_them_and_only_there() {
    for (fault, announced) in [("", true), ("no-server-document", false)] {
        let (gallery, _settings) = settings(auth_check_gallery::faults::find(fault)).await;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_auth-check"));
        command.arg(gallery.endpoint()).arg("--active");
        let output = actix_web::web::block(move || command.output()).await.unwrap().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let place = gallery.endpoint().replace("/mcp", "/register");
        assert_eq!(err.contains(&format!("will be registered at {place}\n")), announced, "{fault}: {err}");
        assert_eq!(err.contains("registered"), announced, "{fault}: {err}");
    }
}

#[actix_web::test]
async fn no_cache_keeps_a_refusal_of_the_gallery() {
    let (gallery, settings) = settings(None).await;
    let url = |path: &str| Url::parse(&gallery.endpoint().replace("/mcp", path)).unwrap();
    let http = Http::new(&settings.target, Vec::new());
    for (status, request) in [
        (401, Request::new("POST", &url("/mcp"))),
        (401, Request::new("POST", &url("/mcp")).bearer("x")),
        (403, Request::new("POST", &url("/mcp")).header("Origin", "https://evil.example")),
        (400, Request::new("POST", &url("/token"))),
        (400, Request::new("POST", &url("/register"))),
        (404, Request::get(&url("/nothing"))),
    ] {
        let came = http.send(&request).await.unwrap_or_else(|Unmet(why)| panic!("{why}"));
        assert_eq!((came.status, came.header("cache-control")), (status, Some("no-store")), "{request:?}");
    }
}

#[actix_web::test]
async fn other_hosts_are_not_asked_unless_they_are_named() {
    let (_gallery, mut settings) = settings(None).await;
    settings.target = "https://mcp.example/mcp".parse().unwrap();
    let why = run(settings, |_, _, _| {}).await.unwrap_err().to_string();
    assert!(why.contains("--mine mcp.example"), "{why}");
}

#[actix_web::test]
async fn what_a_revision_does_not_have_is_not_asked_of_it() {
    let (_gallery, mut settings) = settings(auth_check_gallery::faults::find("no-resource-document")).await;
    settings.revision = Revision::R2025_03_26;
    settings.audience = Some(settings.target.to_string());
    let results = run(settings, |_, _, _| {}).await.unwrap();
    assert!(results.verdicts.iter().all(|one| one.check.prefix() != "PRM"));
    assert_eq!(results.outcome("ASM-04"), Some(&Outcome::Passed), "the server is its own authorization server");
    assert_eq!(found(&results), BTreeSet::new(), "{}", report::text::report(&results));
}

#[actix_web::test]
async fn what_is_excused_stays_in_the_report_and_does_not_fail_the_run() {
    let fault = auth_check_gallery::faults::find("no-aud-check");
    let first = results(fault).await;
    assert_eq!((first.counts().1, first.failing()), (2, 2));
    let baseline = Baseline::read(&report::json::report(&first).to_string()).unwrap();

    let mut again = results(fault).await;
    baseline.apply(&mut again);
    assert_eq!((again.counts().1, again.failing()), (2, 0));
    assert!(report::headline(&again).contains("(2 excused)"), "{}", report::headline(&again));
    let schema: Value = serde_json::from_str(include_str!("../report.schema.json")).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report::json::report(&again)));
    assert_eq!(report::junit::report(&again, false).matches("<failure ").count(), 0);
    // What is new is not excused by it.
    let mut other = results(auth_check_gallery::faults::find("no-iss-check")).await;
    baseline.apply(&mut other);
    assert_eq!(other.failing(), 1);

    let policy = "[[ignore]]\ncheck = \"TOK-09\"\nreason = \"a test\"\nuntil = 2026-12-31\n";
    for (text, today, failing, notes) in
        [(policy, "2026-12-31", 1, 0), (policy, "2027-01-01", 2, 1), ("fail-under = \"MUST\"", "2026-12-31", 2, 0)]
    {
        let mut results = results(fault).await;
        let ended = Policy::read(text).unwrap().apply(&mut results, today);
        assert_eq!((results.failing(), ended.len()), (failing, notes), "{text} {today}");
    }
    let mut may = results(auth_check_gallery::faults::find("secret-clients-only")).await;
    Policy::read("fail-under = \"SHOULD\"").unwrap().apply(&mut may, "2026-12-31");
    assert_eq!((may.counts().1, may.failing()), (1, 0), "a MAY is less strict than that");
}
