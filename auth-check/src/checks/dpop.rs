//! Tokens that are bound to a key (DPoP, RFC 9449), where the authorization server offers them.

use serde_json::{Value, json};

use crate::{
    check::{Check, MUST, Run, SHOULD, run},
    context::Context,
    jose::{self, now, unsigned},
    login::{
        bound::proven,
        outcome::{Bound, Granted, is_dpop},
    },
    model::{Clause, Judged, Unmet},
    proof,
};

const PROOF: Clause = Clause {
    text: "RFC 9449 §4.3: what makes a proof good; one that is not MUST be refused (§7.1)",
    link: "https://www.rfc-editor.org/rfc/rfc9449#section-4.3",
};

/// A check that sends the bad proofs of the table.
const fn bad_proofs(id: &'static str, title: &'static str, fix: &'static str) -> Check {
    const REFUSED: Run = |context, id| Box::pin(refused(context, id));
    Check::of_a_log_in((id, title), MUST, PROOF, fix, &["DPOP-02"], REFUSED)
}

pub const CHECKS: &[Check] = &[
    Check::of_a_log_in(
        ("DPOP-01", "A token of the type DPoP is bound to the key of the proof."),
        MUST,
        Clause {
            text: "RFC 9449 §5 and §6: `token_type` is DPoP, and the token is bound to the public key (`cnf` with `jkt`)",
            link: "https://www.rfc-editor.org/rfc/rfc9449#section-6",
        },
        "Put the thumbprint of the proof's key into the token, and `DPoP` into `token_type`.",
        &["FLOW-04", "FLOW-18"],
        run!(binding),
    ),
    Check::of_a_log_in(
        ("DPOP-02", "A bound token is let in with a proof."),
        MUST,
        Clause {
            text: "RFC 9449 §7.1: the token under the scheme DPoP, with a proof for the request",
            link: "https://www.rfc-editor.org/rfc/rfc9449#section-7.1",
        },
        "Accept `Authorization: DPoP …` with a proof, or do not say that you do DPoP.",
        &["DPOP-01", "TOK-01"],
        run!(good),
    ),
    Check::of_a_log_in(
        ("DPOP-03", "A bound token is refused without a proof."),
        MUST,
        Clause {
            text: "RFC 9449 §7.1 and §7.2: without a proof the token MUST NOT be accepted, nor under the scheme Bearer",
            link: "https://www.rfc-editor.org/rfc/rfc9449#section-7.2",
        },
        "Require a proof if the token has `cnf` with `jkt`, under whatever scheme it comes.",
        &["DPOP-01", "TOK-01"],
        run!(without_proof),
    ),
    bad_proofs(
        "DPOP-04",
        "A proof of another key is refused.",
        "Compare the thumbprint of the proof's key with `jkt` in the token.",
    ),
    bad_proofs(
        "DPOP-05",
        "A proof for another request is refused.",
        "Compare `htm` with the method, and `htu` with the URL without its query.",
    ),
    bad_proofs(
        "DPOP-06",
        "An old proof is refused.",
        "Accept an `iat` of the last minutes only, and none of the future.",
    ),
    Check::of_a_log_in(
        ("DPOP-07", "A proof works once."),
        SHOULD,
        Clause {
            text: "RFC 9449 §11.1: servers can remember `jti` for as long as a proof is good, and decline it the second time",
            link: "https://www.rfc-editor.org/rfc/rfc9449#section-11.1",
        },
        "Remember `jti` for as long as you accept its `iat`.",
        &["DPOP-02"],
        run!(replay),
    ),
    bad_proofs("DPOP-08", "A proof for another token is refused.", "Compare `ath` with the hash of the token."),
    bad_proofs(
        "DPOP-09",
        "What is no proof is refused.",
        "Require one DPoP header, `typ` dpop+jwt, and a signature with one of your algorithms by the `jwk` in the header.",
    ),
];

/// What bad proofs are made of.
struct Forge<'a> {
    bound: &'a Bound,
    claims: Value,
}

impl Forge<'_> {
    fn claim(&self, name: &str, value: Value) -> Vec<String> {
        let mut claims = self.claims.clone();
        claims[name] = value;
        vec![self.bound.key.sign(&self.bound.key.header(), &claims)]
    }

    fn good(&self) -> String {
        self.bound.key.sign(&self.bound.key.header(), &self.claims)
    }
}

/// The proofs that a row sends.
type Make = fn(&Forge<'_>) -> Vec<String>;

/// Bad proofs, by the check that sends them.
const TABLE: &[(&str, &str, Make)] = &[
    ("DPOP-04", "signed by another key", |f| vec![f.bound.foreign.sign(&f.bound.foreign.header(), &f.claims)]),
    ("DPOP-04", "signed by another key than its header names", |f| {
        vec![f.bound.foreign.sign(&f.bound.key.header(), &f.claims)]
    }),
    ("DPOP-05", "for another URL", |f| f.claim("htu", json!("https://another.auth-check.example/mcp"))),
    ("DPOP-05", "for another method", |f| f.claim("htm", json!("GET"))),
    ("DPOP-06", "of an hour ago", |f| f.claim("iat", json!(now() - 3600))),
    ("DPOP-06", "of the next hour", |f| f.claim("iat", json!(now() + 3600))),
    ("DPOP-08", "for another token", |f| f.claim("ath", json!(jose::hash("another token")))),
    ("DPOP-08", "for no token", |f| f.claim("ath", Value::Null)),
    ("DPOP-09", "of another type", |f| {
        let mut header = f.bound.key.header();
        header["typ"] = json!("JWT");
        vec![f.bound.key.sign(&header, &f.claims)]
    }),
    ("DPOP-09", "unsigned", |f| {
        let mut header = f.bound.key.header();
        header["alg"] = json!("none");
        vec![format!("{}.", unsigned(&header, f.claims.to_string().as_bytes()))]
    }),
    ("DPOP-09", "twice", |f| vec![f.good(), f.good()]),
];

async fn binding(context: &Context) -> Judged {
    let bound = context.bound().await?;
    let exchange = &bound.exchange;
    let Some(granted) = Granted::of(exchange) else {
        let what = format!("A token request with a proof is answered with {} without a token.", exchange.came.status);
        return Ok(vec![exchange.finding(what)]);
    };
    let dpop = exchange.json().is_some_and(|json| is_dpop(json["token_type"].as_str()));
    let Some((_, claims)) = jose::taken_apart(&granted.access_token) else { return bound.token().map(|_| Vec::new()) };
    let key = claims["cnf"]["jkt"].as_str();
    let what = match key {
        // The server may decide not to bind the token. Then its type is not DPoP (§5).
        None if !dpop => return bound.token().map(|_| Vec::new()),
        None => "The token's type is DPoP, but it has no `cnf` with `jkt`.",
        Some(_) if !dpop => "The token is bound to a key, but its type is not DPoP.",
        Some(key) if key != bound.key.thumbprint() => "The token is bound to another key than that of the proof.",
        Some(_) => return Ok(Vec::new()),
    };
    Ok(vec![exchange.finding(what)])
}

async fn good(context: &Context) -> Judged {
    let bound = context.bound().await?;
    let (request, token) = (context.probe().await?, bound.token()?);
    let proof = |nonce: Option<&str>| {
        let claims = proof::claims(&request.method, &request.url, Some(&token), nonce);
        vec![bound.key.sign(&bound.key.header(), &claims)]
    };
    let exchange = context.send_proven(bound, &request, proof).await?;
    if exchange.came.is_success() {
        return Ok(Vec::new());
    }
    let document = &context.resource().await?.json;
    let offers = document["dpop_signing_alg_values_supported"].is_array()
        || document["dpop_bound_access_tokens_required"] == true;
    if !offers {
        return Err(Unmet("a server that does DPoP (its metadata does not say so)".to_owned()));
    }
    Ok(vec![exchange.finding(format!("A bound token with its proof is answered with {}.", exchange.came.status))])
}

async fn without_proof(context: &Context) -> Judged {
    let bound = context.bound().await?;
    let (request, token) = (context.probe().await?, bound.token()?);
    let requests = [("Bearer", request.clone().bearer(&token)), ("DPoP", proven(request, &token, &[]))];
    context
        .each(requests, |scheme, exchange| {
            let let_in = exchange.came.is_success();
            let_in.then(|| format!("A token that is bound to a key is let in without a proof, under {scheme}."))
        })
        .await
}

async fn refused(context: &Context, id: &'static str) -> Judged {
    let bound = context.bound().await?;
    let (request, token) = (context.probe().await?, bound.token()?);
    let mut found = Vec::new();
    for (_, name, make) in TABLE.iter().filter(|(check, ..)| *check == id) {
        let proofs = |nonce: Option<&str>| {
            make(&Forge { bound, claims: proof::claims(&request.method, &request.url, Some(&token), nonce) })
        };
        let exchange = match context.send_proven(bound, &request, proofs).await {
            Ok(exchange) => exchange,
            Err(unmet) => return unmet.after(found),
        };
        found.extend(exchange.found_if(exchange.came.is_success(), format!("Accepted: a proof {name}.")));
    }
    Ok(found)
}

async fn replay(context: &Context) -> Judged {
    let bound = context.bound().await?;
    let (request, token) = (context.probe().await?, bound.token()?);
    let claims = proof::claims(&request.method, &request.url, Some(&token), bound.nonce().as_deref());
    let proof = [bound.key.sign(&bound.key.header(), &claims)];
    let first = context.send(proven(request.clone(), &token, &proof)).await?;
    if !first.came.is_success() {
        return Err(Unmet("a proof that is accepted the first time".to_owned()));
    }
    let again = context.send(proven(request, &token, &proof)).await?;
    Ok(again.found_if(again.came.is_success(), "A proof is accepted a second time."))
}
