//! What a request to step 9 costs beside HTTP: the token, verified or remembered, and the JSON-RPC codec. For a
//! maintainer who changes them: `cargo bench -p bench` before and after.

use std::{hint::black_box, sync::Arc};

use bench::Verifier;
use common::{
    claims::{Audience, Claims, NumericDate, Scopes},
    jsonrpc::{Envelope, Success},
    keys::KeyPair,
    mcp::CallToolParams,
};
use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, Header};
use oauth::token_cache::TokenCache;
use serde_json::{json, value::RawValue};

const ISSUER: &str = "http://mcp.bench.example";

fn verification(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = KeyPair::load_or_create(folder.path()).expect("a key pair");
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: Audience::One(format!("{ISSUER}/mcp")),
        sub: "user_alice".to_owned(),
        preferred_username: Some("alice".to_owned()),
        client_id: Some("bench".to_owned()),
        scope: Scopes::parse("mcp:read mcp:tools").expect("scopes"),
        roles: Some(vec!["user".to_owned()]),
        iat: None,
        exp: NumericDate(4e9),
        nbf: None,
        jti: Some("1".to_owned()),
        cnf: None,
    };
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &keys.encoding_key).expect("a token");
    let verifier = Verifier::new(keys.public.decoding_key, ISSUER, &format!("{ISSUER}/mcp"));
    let mut group = criterion.benchmark_group("token");
    group.bench_function("verified (RS256)", |bencher| {
        bencher.iter(|| verifier.verify(black_box(&token)).expect("a valid token"));
    });
    let cache = TokenCache::new(30);
    cache.get_or_verify(&token, |token| verifier.verify(token).map(Arc::new)).expect("a valid token");
    group.bench_function("remembered (TokenCache, hit)", |bencher| {
        bencher.iter(|| cache.get_or_verify(black_box(&token), |_| Err("it is remembered")).expect("a hit"));
    });
    group.bench_function("unknown and refused (TokenCache, miss)", |bencher| {
        bencher.iter(|| cache.get_or_verify(black_box("unknown"), |_| Err::<Arc<Claims>, _>(())).expect_err("a miss"));
    });
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let request =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;
    let mut group = criterion.benchmark_group("json-rpc");
    group.bench_function("request read, down to the tool's name", |bencher| {
        bencher.iter(|| {
            let envelope: Envelope = serde_json::from_str(black_box(request)).expect("a request");
            let params: CallToolParams =
                serde_json::from_str(envelope.params.expect("it has params").get()).expect("they fit");
            black_box(params.name.len())
        });
    });
    let id: &RawValue = serde_json::from_str("1").expect("JSON");
    let result = json!({
        "content": [{ "type": "text", "text": "hello" }],
        "structuredContent": { "text": "hello" },
        "isError": false
    });
    group.bench_function("response written", |bencher| {
        bencher.iter(|| serde_json::to_vec(&Success::new(black_box(id), black_box(&result))).expect("JSON"));
    });
    group.finish();
}

criterion_group!(benches, verification, codec);
criterion_main!(benches);
