//! Step 11 against hostile and broken servers: each row changes one answer of an honest pair of servers. Whatever they
//! do, the client ends in time, with the right exit code and a sentence that says why, and each secret reaches only the
//! server that it is for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, ensure};
use integration_tests::{
    client::{Client, follow},
    mock::{Reply, Request},
    world::{
        ASM, CALL, Change, PRM, Pairs, SECRET, Twist, Urls, World, answer, asm, challenge, come_back, prm, response,
        tokens, unauthorized,
    },
};
use serde_json::{Value, json};

use crate::turn;

/// A control sequence that would clear a terminal.
const ESC: &str = "\u{1b}[2J";

/// One thing that goes wrong, and how it must end.
struct Row {
    name: &'static str,
    code: i32,
    says: &'static str,
    args: &'static [&'static str],
    mcp: Option<Twist>,
    authorization: Option<Twist>,
}

fn at_mcp(
    name: &'static str,
    (code, says): (i32, &'static str),
    twist: impl Fn(&Request, &Urls) -> Option<Reply> + Send + Sync + 'static,
) -> Row {
    Row { name, code, says, args: CALL, mcp: Some(Arc::new(twist)), authorization: None }
}

fn at_authorization(
    name: &'static str,
    (code, says): (i32, &'static str),
    twist: impl Fn(&Request, &Urls) -> Option<Reply> + Send + Sync + 'static,
) -> Row {
    Row { name, code, says, args: CALL, mcp: None, authorization: Some(Arc::new(twist)) }
}

/// The resource's metadata with one member changed.
fn resource(
    name: &'static str,
    ends: (i32, &'static str),
    member: &'static str,
    value: impl Fn(&Urls) -> Value + Send + Sync + 'static,
) -> Row {
    at_mcp(name, ends, move |request, urls| {
        let mut document = prm(urls);
        document[member] = value(urls);
        (request.path() == PRM).then(|| Reply::json(200, &document))
    })
}

/// The authorization server's metadata with one member changed; `null` takes it away.
fn server(
    name: &'static str,
    ends: (i32, &'static str),
    member: &'static str,
    value: impl Fn(&Urls) -> Value + Send + Sync + 'static,
) -> Row {
    at_authorization(name, ends, move |request, urls| {
        let mut document = asm(urls);
        document[member] = value(urls);
        if document[member].is_null() {
            document.as_object_mut()?.remove(member);
        }
        (request.path() == ASM).then(|| Reply::json(200, &document))
    })
}

/// A path answered otherwise.
fn path(
    row: fn(&'static str, (i32, &'static str), Box<Change>) -> Row,
    name: &'static str,
    ends: (i32, &'static str),
    path: &'static str,
    reply: impl Fn(&Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    row(name, ends, Box::new(move |request, urls| (request.path() == path).then(|| reply(urls))))
}

/// The authorization response changed.
fn back(name: &'static str, ends: (i32, &'static str), change: fn(&mut Pairs, &Urls)) -> Row {
    at_authorization(name, ends, move |request, urls| {
        let mut pairs = answer(request, urls);
        change(&mut pairs, urls);
        (request.path() == "/authorize").then(|| come_back(request, &pairs))
    })
}

/// The token response changed.
fn token(name: &'static str, ends: (i32, &'static str), member: &'static str, value: Value) -> Row {
    path(at_authorization, name, ends, "/token", move |_| {
        let mut document = tokens(0);
        document[member] = value.clone();
        Reply::json(200, &document)
    })
}

/// What the MCP server answers to a method, once there is a token.
fn method(
    name: &'static str,
    ends: (i32, &'static str),
    method: &'static str,
    reply: impl Fn(&Request, &Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    at_mcp(name, ends, move |request, urls| {
        let here = request.json()["method"] == method && request.header("authorization").is_some();
        here.then(|| reply(request, urls))
    })
}

/// The same with an access token of 900 characters, each piece of which can be recognised.
fn long_token(args: &'static [&'static str], row: Row) -> Row {
    let issue: Twist = Arc::new(|request, _| {
        let mut document = tokens(0);
        document["access_token"] = json!(format!("{SECRET}-access-{}", SECRET.repeat(150)));
        (request.path() == "/token").then(|| Reply::json(200, &document))
    });
    Row { args, authorization: Some(issue), ..row }
}

/// The same, and what it says is in the trace.
fn traced(row: Row) -> Row {
    row.with_args(&["trace", "echo", "message=hi"])
}

/// The resource's metadata is at the root; and this where the challenge leads.
fn elsewhere(
    name: &'static str,
    ends: (i32, &'static str),
    reply: impl Fn(&Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    at_mcp(name, ends, move |request, urls| match request.path() {
        PRM => Some(reply(urls)),
        "/.well-known/oauth-protected-resource" => Some(Reply::json(200, &prm(urls))),
        _ => None,
    })
}

/// The authorization server's metadata is where OpenID Connect has it; and this where RFC 8414 has it.
fn openid(
    name: &'static str,
    ends: (i32, &'static str),
    reply: impl Fn(&Urls) -> Reply + Send + Sync + 'static,
) -> Row {
    at_authorization(name, ends, move |request, urls| match request.path() {
        ASM => Some(reply(urls)),
        "/.well-known/openid-configuration" => Some(Reply::json(200, &asm(urls))),
        _ => None,
    })
}

/// A server that asks something in the stream of a call, and waits for the answer before it gives its own.
fn asks(name: &'static str, method: &'static str, is_right: fn(&Value) -> bool) -> Row {
    let heard = Arc::new(AtomicUsize::new(0));
    let twist = move |request: &Request, _: &Urls| {
        let message = request.json();
        if request.path() != "/mcp" || request.header("authorization").is_none() {
            return None;
        }
        if message["method"].is_null() {
            // The answer must have the question's id, and no headers of the call.
            let right = message["id"] == "question" && message["jsonrpc"] == "2.0" && is_right(&message);
            let alone = request.header("mcp-method").is_none() && request.header("mcp-name").is_none();
            heard.fetch_add(usize::from(right && alone), Ordering::SeqCst);
            return Some(Reply::status(202));
        }
        let question = json!({ "jsonrpc": "2.0", "id": "question", "method": method, "params": {} });
        let result = json!({ "content": [{ "type": "text", "text": "hi" }] });
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        (message["method"] == "tools/call").then(|| Reply::Wait {
            before: format!("{STREAM}data: {question}\n\n"),
            heard: heard.clone(),
            enough: 1,
            after: format!("data: {answer}\n\n"),
        })
    };
    traced(at_mcp(name, (0, "Answer the server's request"), twist))
}

/// A server of 2025-11-25 that answers an unknown method with an error; the error has this id.
fn legacy(name: &'static str, id: fn(&Request) -> Value) -> Row {
    at_mcp(name, (0, ""), move |request, _| {
        request.header("authorization")?;
        match request.json()["method"].as_str() {
            Some("server/discover") => {
                let error = json!({ "code": -32603, "message": "no such method" });
                Some(Reply::json(500, &json!({ "jsonrpc": "2.0", "id": id(request), "error": error })))
            }
            Some("initialize") => {
                Some(response(request, json!({ "protocolVersion": "2025-11-25", "capabilities": {} })))
            }
            Some("notifications/initialized") => Some(Reply::status(202)),
            _ => None,
        }
    })
}

fn page() -> Reply {
    Reply::Http { status: 200, headers: vec![], body: "<html>".into() }
}

fn set(pairs: &mut Pairs, name: &'static str, value: &str) {
    pairs.retain(|(known, _)| *known != name);
    pairs.push((name, value.to_owned()));
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\r\n\r\n";

#[allow(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    let challenge_row = |name, ends, value: fn(&Urls) -> String| {
        at_mcp(name, ends, move |request, urls| {
            let turned_away = request.path() == "/mcp" && request.header("authorization").is_none();
            turned_away.then(|| unauthorized(value(urls)))
        })
    };
    vec![
        // The challenge. The URLs that it names here are never asked; the server's own well-known places are.
        traced(challenge_row("metadata on another origin", (0, "is on another origin"), |urls| {
            format!("Bearer resource_metadata=\"{}/prm\"", urls.evil)
        })),
        traced(challenge_row("metadata in a local file", (0, "neither https nor http"), |_| {
            "Bearer resource_metadata=\"file:///etc/passwd\"".into()
        })),
        traced(challenge_row("metadata that is a script", (0, "neither https nor http"), |_| {
            "Bearer resource_metadata=\"javascript:alert(1)\"".into()
        })),
        traced(challenge_row("metadata that is a flag", (0, "\"--help\" is not a URL"), |_| {
            "Bearer resource_metadata=\"--help\"".into()
        })),
        traced(challenge_row("metadata at a relative URL", (0, "is not a URL. There are other places"), |_| {
            format!("Bearer resource_metadata=\"{PRM}\"")
        })),
        traced(challenge_row("metadata over plain http elsewhere", (0, "plain http"), |_| {
            "Bearer resource_metadata=\"http://169.254.169.254/latest/meta-data\"".into()
        })),
        at_mcp("metadata on another origin, and none of its own", (4, "is on another origin"), |request, urls| {
            if request.path() == PRM {
                return Some(Reply::status(404));
            }
            let turned_away = request.path() == "/mcp" && request.header("authorization").is_none();
            turned_away.then(|| unauthorized(format!("Bearer resource_metadata=\"{}/prm\"", urls.evil)))
        }),
        challenge_row("a challenge that breaks the grammar is no challenge", (0, ""), |urls| {
            format!("Bearer resource_metadata={}/prm, scope=\"x", urls.evil)
        }),
        challenge_row("a challenge of 20 KiB is no challenge", (0, ""), |_| {
            format!("Bearer scope=\"{}\"", "x".repeat(20_000))
        }),
        challenge_row("scopes that are not valid", (4, "scopes that are not valid"), |_| {
            r#"Bearer scope="a \"b\"""#.into()
        }),
        challenge_row("ten thousand scopes", (4, "or for too many"), |_| {
            format!("Bearer scope=\"{}\"", "x ".repeat(5_000))
        }),
        traced(challenge_row("a scope that says nothing leaves it to the metadata", (0, "&scope=read&"), |urls| {
            challenge(urls, ", scope=\"\"")
        })),
        challenge_row("metadata at no URL at all", (0, ""), |_| "Bearer resource_metadata=\"\"".into()),
        challenge_row("no challenge at all leads to the well-known URLs", (0, ""), |_| "Negotiate".into()),
        // The resource's metadata.
        resource("another server's resource", (4, "another resource"), "resource", |urls| {
            json!(format!("{}/mcp", urls.evil))
        }),
        resource("the resource with a slash", (4, "another resource"), "resource", |urls| {
            json!(format!("{}/mcp/", urls.mcp))
        }),
        resource("another path of the server", (4, "another resource"), "resource", |urls| {
            json!(format!("{}/other", urls.mcp))
        }),
        resource("the origin of another server", (4, "another resource"), "resource", |urls| json!(urls.evil)),
        traced(resource("the origin alone, where the challenge leads", (0, "only the origin"), "resource", |urls| {
            json!(urls.mcp)
        })),
        resource("the same with a slash", (0, ""), "resource", |urls| json!(format!("{}/", urls.mcp))),
        resource("the origin alone, where only the search led", (4, "another resource"), "resource", |urls| {
            json!(urls.mcp)
        })
        .without_challenge(),
        at_mcp("the origin alone, at the root, where the challenge leads", (0, ""), |request, urls| {
            let root = "/.well-known/oauth-protected-resource";
            if request.path() == "/mcp" && request.header("authorization").is_none() {
                return Some(unauthorized(format!("Bearer resource_metadata=\"{}{root}\"", urls.mcp)));
            }
            let mut document = prm(urls);
            document["resource"] = json!(urls.mcp);
            (request.path() == root).then(|| Reply::json(200, &document))
        }),
        resource("members that are null", (0, ""), "dpop_bound_access_tokens_required", |_| Value::Null),
        resource("scopes that are null", (0, ""), "scopes_supported", |_| Value::Null),
        resource("servers that are null", (4, "no authorization server"), "authorization_servers", |_| Value::Null),
        resource("the second of two servers", (0, ""), "authorization_servers", |urls| {
            json!([null, "file:///etc/passwd", urls.authorization])
        }),
        resource("a resource that is no text", (4, "cannot be read"), "resource", |_| json!(["x"])),
        resource("no authorization server", (4, "no authorization server"), "authorization_servers", |_| json!([])),
        resource("an authorization server in a file", (4, "neither https nor http"), "authorization_servers", |_| {
            json!(["file:///etc/passwd"])
        }),
        resource("an authorization server that is a flag", (4, "not a URL"), "authorization_servers", |_| {
            json!(["-rf"])
        }),
        resource("an authorization server over plain http", (4, "plain http"), "authorization_servers", |_| {
            json!(["http://as.example"])
        }),
        resource("an authorization server with a user", (4, "no user"), "authorization_servers", |_| {
            json!(["https://localhost@evil.example"])
        }),
        resource("an authorization server with a query", (4, "query"), "authorization_servers", |urls| {
            json!([format!("{}?x=y", urls.authorization)])
        }),
        resource(
            "scopes in the metadata that are not valid",
            (4, "scopes that are not valid"),
            "scopes_supported",
            |_| json!(["a\u{1b}[2Jb"]),
        )
        .without_scope(),
        path(at_mcp, "metadata that is a page", (4, "it is not JSON"), PRM, |_| page()),
        path(at_mcp, "metadata that fails", (4, "answers 500"), PRM, |_| Reply::status(500)),
        // The next place has it.
        traced(elsewhere("a page, and then the metadata", (0, "it is not JSON. There are other places"), |_| page())),
        traced(elsewhere("an empty object, and then the metadata", (0, "resource is missing"), |_| {
            Reply::json(200, &json!({}))
        })),
        traced(elsewhere("500, and then the metadata", (0, "answers 500"), |_| Reply::status(500))),
        traced(elsewhere("a redirect away, and then the metadata", (0, "another place"), |urls| {
            Reply::redirect(&format!("{}/x", urls.evil))
        })),
        traced(elsewhere("a flood, and then the metadata", (0, "longer than 256 KiB"), |_| Reply::Flood(HEAD.into()))),
        traced(elsewhere("another's metadata, and then the metadata", (0, "another resource"), |urls| {
            let mut document = prm(urls);
            document["resource"] = json!(format!("{}/mcp", urls.evil));
            Reply::json(200, &document)
        })),
        traced(elsewhere("nothing for a while, and then the metadata", (0, "took too long. There are other"), |_| {
            Reply::Drip("HTTP/1.1 200 OK\r\n".into())
        })),
        traced(elsewhere("no HTTP, and then the metadata", (0, "There are other places"), |_| {
            Reply::Raw("nonsense\r\n\r\n".into())
        })),
        traced(elsewhere("a break, and then the metadata", (0, "There are other places"), |_| {
            Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".into())
        })),
        traced(elsewhere(
            "metadata that names nobody, and then the metadata",
            (0, "no authorization server"),
            |urls| {
                let mut document = prm(urls);
                document["authorization_servers"] = json!([]);
                Reply::json(200, &document)
            },
        )),
        // There is a document, so nothing else takes its place, such as the rules of 2025-03-26 for servers without
        // one.
        resource(
            "a member that cannot be read",
            (4, "metadata cannot be used"),
            "dpop_bound_access_tokens_required",
            |_| json!("yes"),
        ),
        resource(
            "an authorization server that is no list",
            (4, "metadata cannot be used"),
            "authorization_servers",
            |urls| json!(urls.evil),
        ),
        path(at_mcp, "metadata without end", (3, "longer than 256 KiB"), PRM, |_| Reply::Flood(HEAD.into())),
        path(at_mcp, "metadata that drips", (3, "took too long"), PRM, |_| Reply::Drip(HEAD.into())),
        path(at_mcp, "metadata that goes round in circles", (4, "again and again"), PRM, |urls| {
            Reply::redirect(&format!("{}{PRM}", urls.mcp))
        }),
        path(at_mcp, "metadata that is elsewhere", (4, "another place"), PRM, |urls| {
            Reply::redirect(&format!("{}/x", urls.evil))
        }),
        path(at_mcp, "metadata that is elsewhere, without a scheme", (4, "another place"), PRM, |urls| {
            Reply::redirect(urls.evil.trim_start_matches("http:"))
        }),
        path(at_mcp, "metadata that redirects to a file", (4, "another place"), PRM, |_| {
            Reply::redirect("file:///etc/passwd")
        }),
        path(at_mcp, "metadata that never begins", (3, "took too long"), PRM, |_| {
            Reply::Drip("HTTP/1.1 200 OK\r\n".into())
        }),
        path(at_mcp, "metadata with headers without end", (3, "no answer"), PRM, |_| {
            Reply::Flood("HTTP/1.1 200 OK\r\nX: ".into())
        }),
        path(at_mcp, "metadata that is no HTTP", (3, "no answer"), PRM, |_| {
            Reply::Raw("SSH-2.0-OpenSSH_9.2\r\n".into())
        }),
        path(at_mcp, "metadata cut short", (3, "no answer"), PRM, |_| {
            Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".into())
        }),
        // The authorization server's metadata.
        server("another issuer", (4, "another issuer"), "issuer", |urls| json!(urls.evil)),
        server("the issuer with a slash", (4, "another issuer"), "issuer", |urls| {
            json!(format!("{}/", urls.authorization))
        }),
        server("no issuer", (4, "issuer is missing"), "issuer", |_| Value::Null),
        // The next place has it.
        traced(openid("a page, and then the issuer's metadata", (0, "it is not JSON. There are other places"), |_| {
            page()
        })),
        traced(openid("an empty object, and then the issuer's metadata", (0, "issuer is missing"), |_| {
            Reply::json(200, &json!({}))
        })),
        traced(openid("503, and then the issuer's metadata", (0, "answers 503"), |_| Reply::status(503))),
        traced(openid("nothing for a while, and then the issuer's metadata", (0, "took too long. There are"), |_| {
            Reply::Drip("HTTP/1.1 200 OK\r\n".into())
        })),
        traced(openid("no token_endpoint, and then the issuer's metadata", (0, "token_endpoint is missing"), |urls| {
            Reply::json(200, &json!({ "issuer": urls.authorization }))
        })),
        traced(openid("another's metadata, and then the issuer's", (0, "another issuer"), |urls| {
            let mut document = asm(urls);
            document["issuer"] = json!(urls.evil);
            Reply::json(200, &document)
        })),
        server("no PKCE", (4, "S256"), "code_challenge_methods_supported", |_| Value::Null),
        server("PKCE without S256", (4, "S256"), "code_challenge_methods_supported", |_| json!(["plain"])),
        server("no token endpoint", (4, "token_endpoint is missing"), "token_endpoint", |_| Value::Null),
        server("a token endpoint over plain http", (4, "plain http"), "token_endpoint", |_| {
            json!("http://evil.example/token")
        }),
        server("no authorization endpoint", (4, "no authorization_endpoint"), "authorization_endpoint", |_| {
            Value::Null
        }),
        server("a script to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("javascript:alert(1)")
        }),
        server("a file to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("file:///etc/passwd")
        }),
        server("a flag to open", (4, "not a URL"), "authorization_endpoint", |_| json!("--incognito")),
        server("a command to open", (4, "not a URL"), "authorization_endpoint", |_| json!("$(touch /tmp/owned)")),
        server("another program to open", (4, "neither https nor http"), "authorization_endpoint", |_| {
            json!("ms-msdt:/id")
        }),
        server("a user to open", (4, "no user"), "authorization_endpoint", |_| json!("https://user:pw@evil.example/")),
        server("plain http to open", (4, "plain http"), "authorization_endpoint", |_| {
            json!("http://evil.example/authorize")
        }),
        server("nowhere to register", (4, "--client-id"), "registration_endpoint", |_| Value::Null),
        server("to register in a file", (4, "neither https nor http"), "registration_endpoint", |_| {
            json!("file:///dev/null")
        }),
        server("no way to authenticate", (4, "none of none"), "token_endpoint_auth_methods_supported", |_| {
            json!(["tls_client_auth"])
        }),
        at_authorization("members that say nothing", (0, ""), |request, urls| {
            let mut document = asm(urls);
            for (member, nothing) in [
                ("scopes_supported", Value::Null),
                ("token_endpoint_auth_methods_supported", Value::Null),
                ("client_id_metadata_document_supported", Value::Null),
                ("dpop_signing_alg_values_supported", json!([])),
                ("revocation_endpoint", json!("")),
            ] {
                document[member] = nothing;
            }
            match request.path() {
                ASM => Some(Reply::json(200, &document)),
                // The default is `client_secret_basic` (RFC 8414 §2).
                "/register" => Some(Reply::json(201, &json!({ "client_id": "x", "client_secret": "s3cr3t-of-x" }))),
                _ => None,
            }
        }),
        at_authorization("no flag for iss, and no iss", (0, ""), |request, urls| {
            let mut document = asm(urls);
            document["authorization_response_iss_parameter_supported"] = Value::Null;
            let mut pairs = answer(request, urls);
            pairs.retain(|(name, _)| *name != "iss");
            match request.path() {
                ASM => Some(Reply::json(200, &document)),
                "/authorize" => Some(come_back(request, &pairs)),
                _ => None,
            }
        }),
        server("a registration_endpoint that is empty", (4, "--client-id"), "registration_endpoint", |_| json!("")),
        server("no text where one should be", (4, "token_endpoint must be a string"), "token_endpoint", |_| json!(5)),
        path(at_authorization, "an issuer that is a page", (4, "it is not JSON"), ASM, |_| page()),
        path(at_authorization, "an issuer without end", (3, "longer than"), ASM, |_| Reply::Flood(HEAD.into())),
        path(at_authorization, "an issuer that drips", (3, "took too long"), ASM, |_| Reply::Drip(HEAD.into())),
        path(at_authorization, "an issuer that is elsewhere", (4, "another place"), ASM, |urls| {
            Reply::redirect(&urls.evil)
        }),
        path(at_authorization, "an issuer that is nowhere", (4, "no metadata"), ASM, |_| Reply::status(404)),
        path(at_authorization, "JSON as deep as the sea", (4, "cannot be read"), ASM, |_| Reply::Http {
            status: 200,
            headers: vec![],
            body: "[".repeat(200_000),
        }),
        // The registration.
        path(at_authorization, "a refusal to register", (4, "invalid_redirect_uri"), "/register", |_| {
            Reply::json(400, &json!({ "error": "invalid_redirect_uri", "error_description": format!("no {ESC} way") }))
        }),
        path(at_authorization, "a registration that fails", (3, "answers 500"), "/register", |_| Reply::status(500)),
        path(at_authorization, "a registration whose members say nothing", (0, ""), "/register", |_| {
            Reply::json(
                200,
                &json!({
                    "client_id": "x", "client_secret": null, "client_secret_expires_at": null, "token_endpoint_auth_method": "",
                }),
            )
        }),
        path(at_authorization, "a registration that expires at a float", (0, ""), "/register", |_| {
            Reply::json(
                201,
                &json!({ "client_id": "x", "client_secret": "s3cr3t-of-x", "client_secret_expires_at": 4e9 }),
            )
        }),
        path(
            at_authorization,
            "an error with 200 for a registration",
            (4, "invalid_client_metadata, no"),
            "/register",
            |_| Reply::json(200, &json!({ "error": "invalid_client_metadata", "error_description": "no" })),
        ),
        path(at_authorization, "a registration without a client_id", (4, "client_id is missing"), "/register", |_| {
            Reply::json(201, &json!({ "client_name": "x" }))
        }),
        path(at_authorization, "a registration of an unknown kind", (4, "cannot be used"), "/register", |_| {
            Reply::json(201, &json!({ "client_id": "x", "token_endpoint_auth_method": "magic" }))
        }),
        path(at_authorization, "a registration that is elsewhere", (4, "answers 307"), "/register", |urls| {
            Reply::Http { status: 307, headers: vec![("Location".into(), urls.evil.clone())], body: String::new() }
        }),
        // The authorization response.
        back("another state", (4, "(state)"), |pairs, _| set(pairs, "state", "other")),
        back("no state", (4, "(state)"), |pairs, _| pairs.retain(|(name, _)| *name != "state")),
        back("two states", (4, "(state)"), |pairs, _| pairs.push(("state", "other".into()))),
        back("another iss", (4, "another issuer"), |pairs, urls| set(pairs, "iss", &urls.evil)),
        back("iss with a slash", (4, "another issuer"), |pairs, urls| {
            set(pairs, "iss", &format!("{}/", urls.authorization));
        }),
        back("no iss, though there should be one", (4, "does not say who"), |pairs, _| {
            pairs.retain(|(name, _)| *name != "iss");
        }),
        back("two codes", (4, "code twice"), |pairs, _| pairs.push(("code", "other".into()))),
        back("no code", (4, "no code"), |pairs, _| pairs.retain(|(name, _)| *name != "code")),
        back("a person who says no", (4, "access_denied"), |pairs, _| {
            pairs.retain(|(name, _)| *name != "code");
            pairs.push(("error", "access_denied".into()));
        }),
        back("an error of another issuer is not shown", (4, "another issuer"), |pairs, urls| {
            set(pairs, "iss", &urls.evil);
            pairs.push(("error", "POISON".into()));
            pairs.push(("error_description", "POISON".into()));
        }),
        Row {
            args: &["trace", "echo", "message=hi"],
            ..back(
                "nor is it in a trace",
                (4, "came back with state, iss, error, error_description."),
                |pairs, urls| {
                    pairs.retain(|(name, _)| *name == "state");
                    set(pairs, "iss", &urls.evil);
                    pairs.push(("error", "POISON".into()));
                    pairs.push(("error_description", "POISON".into()));
                    pairs.push(("POISON", "POISON".into()));
                },
            )
        },
        back("an error that paints the screen", (4, "\\u{1b}"), |pairs, _| {
            pairs.push(("error", format!("x{ESC}")));
        }),
        Row {
            args: &["--login-timeout", "2", "call", "echo", "message=hi"],
            ..path(at_authorization, "nobody comes back", (4, "did not come back in time"), "/authorize", |_| {
                Reply::status(200)
            })
        },
        // The token.
        path(at_authorization, "a page instead of a token", (4, "not a token response"), "/token", |_| page()),
        path(at_authorization, "a token with 201", (0, ""), "/token", |_| Reply::json(201, &tokens(0))),
        path(at_authorization, "201 and no token", (4, "not a token response"), "/token", |_| {
            Reply::json(201, &json!({}))
        }),
        path(at_authorization, "an error with 200", (4, "bad_verification_code, The code is wrong."), "/token", |_| {
            let error = json!({ "error": "bad_verification_code", "error_description": "The code is wrong." });
            Reply::json(200, &error)
        }),
        path(at_authorization, "an error with 200, and more", (4, "gives no token: invalid_code"), "/token", |_| {
            Reply::json(200, &json!({ "ok": false, "error": "invalid_code" }))
        }),
        path(
            at_authorization,
            "an error with 200 that is an object",
            (4, "gives no token: The code is old."),
            "/token",
            |_| Reply::json(200, &json!({ "error": { "code": 400, "message": "The code is old." } })),
        ),
        path(at_authorization, "an error in a form", (4, "bad_verification_code, The code is old."), "/token", |_| {
            let body = "error=bad_verification_code&error_description=The+code+is+old.".to_owned();
            Reply::Http { status: 200, headers: vec![], body }
        }),
        // Refused, and not shown.
        traced(path(at_authorization, "a token in a form", (4, "it is not JSON"), "/token", |_| {
            let body = format!("access_token={SECRET}-access&token_type=bearer");
            Reply::Http { status: 200, headers: vec![], body }
        })),
        traced(path(at_authorization, "a token behind a byte order mark", (4, "it is not JSON"), "/token", |_| {
            Reply::Http { status: 200, headers: vec![], body: format!("\u{feff}{}", tokens(0)) }
        })),
        traced(token("a token in an object", (4, "must be a string"), "access_token", json!({ "value": SECRET }))),
        traced(token("a token without underscores", (0, ""), "accessToken", json!(SECRET))),
        path(at_authorization, "a token without end", (3, "longer than"), "/token", |_| Reply::Flood(HEAD.into())),
        path(at_authorization, "a token that drips", (3, "took too long"), "/token", |_| Reply::Drip(HEAD.into())),
        path(at_authorization, "a token that is elsewhere: the code stays", (4, "answers 307"), "/token", |urls| {
            Reply::Http {
                status: 307,
                headers: vec![("Location".into(), format!("{}/token", urls.evil))],
                body: String::new(),
            }
        }),
        path(at_authorization, "a token endpoint that is down", (3, "answers 503"), "/token", |_| Reply::status(503)),
        at_authorization("an error that tells the secrets", (4, "invalid_grant"), |request, _| {
            let told = format!("bad: {}", request.body);
            let error = json!({ "error": "invalid_grant", "error_description": told });
            (request.path() == "/token").then(|| Reply::json(400, &error))
        }),
        at_authorization("an error that tells a secret at its edge", (4, "invalid_grant"), |request, _| {
            let code = request.param("code").unwrap_or_default();
            let error = |pad: usize| format!("{}{code}", "x".repeat(pad));
            let told = [470, 480, 490, 930, 950, 970].map(error).join(" ");
            let error = json!({ "error": "invalid_grant", "error_description": told });
            (request.path() == "/token").then(|| Reply::json(400, &error))
        }),
        path(at_authorization, "a client that is forgotten again and again", (4, "invalid_client"), "/token", |_| {
            Reply::json(401, &json!({ "error": "invalid_client" }))
        }),
        token("a token of another type", (4, "instead of Bearer"), "token_type", json!("mac")),
        token("a token that is bound to a key nobody has", (4, "instead of Bearer"), "token_type", json!("DPoP")),
        token(
            "a token that ends the header",
            (4, "no token may have"),
            "access_token",
            json!("s3cr3t\r\nHost: evil.example"),
        ),
        token("an empty token", (4, "access_token is missing"), "access_token", json!("")),
        token("a token that is no text", (4, "access_token must be a string"), "access_token", json!(7)),
        token("a token that has expired on arrival", (4, "had expired"), "expires_in", json!(0)),
        token("a token from the past", (4, "expires_in must be a number"), "expires_in", json!(-60)),
        token("a life in words", (4, "not a token response"), "expires_in", json!("for ever")),
        token("a life that is a number in a text", (0, ""), "expires_in", json!("3600")),
        token("a token for ever", (0, ""), "expires_in", json!(u64::MAX)),
        token("a life that is a float", (0, ""), "expires_in", json!(3599.0)),
        token("a life that is nothing", (0, ""), "expires_in", Value::Null),
        token("a life that is a list", (4, "not a token response"), "expires_in", json!([3600])),
        token("a scope that is null", (0, ""), "scope", Value::Null),
        token("an error that is null", (0, ""), "error", Value::Null),
        // The MCP server.
        at_mcp("401 without end", (4, "refuses the token"), |request, urls| {
            (request.path() == "/mcp").then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
        }),
        method("403 without end", (4, "more was asked for 2 times"), "tools/call", |_, urls| {
            static MORE: AtomicUsize = AtomicUsize::new(0);
            let more = MORE.fetch_add(1, Ordering::SeqCst);
            let value = challenge(urls, &format!(", error=\"insufficient_scope\", scope=\"more{more}\""));
            Reply::status(403).with("WWW-Authenticate", &value)
        }),
        method("403 for a scope that the token has", (4, "would not help"), "tools/call", |_, urls| {
            let value = challenge(urls, ", error=\"insufficient_scope\", scope=\"read\"");
            Reply::status(403).with("WWW-Authenticate", &value)
        }),
        method("403 in the server's own language", (4, "Schlüssel fehlt"), "tools/call", |_, urls| {
            let more = ", error=\"insufficient_scope\", scope=\"read\", error_description=\"Schlüssel fehlt\"";
            Reply::status(403).with("WWW-Authenticate", &challenge(urls, more))
        }),
        method("403 that does not say for what", (4, "does not say which scopes"), "tools/call", |_, urls| {
            Reply::status(403).with("WWW-Authenticate", &challenge(urls, ", error=\"insufficient_scope\""))
        }),
        Row {
            args: &["--scope", "read", "call", "echo", "message=hi"],
            ..method("403 for more than --scope", (4, "--scope 'admin read'"), "tools/call", |_, urls| {
                let value = challenge(urls, ", error=\"insufficient_scope\", scope=\"admin\"");
                Reply::status(403).with("WWW-Authenticate", &value)
            })
        },
        method("403 for good", (4, "does not allow this: forbidden, never"), "tools/call", |_, _| {
            Reply::json(403, &json!({ "error": "forbidden", "error_description": format!("never{ESC}") }))
        }),
        method(
            "403 for good, in JSON-RPC",
            (4, "does not allow this: forbidden, never"),
            "tools/call",
            |request, _| {
                let data = json!({ "error": "forbidden", "correlation_id": "4711", "advice": "Ask the operator." });
                let error = json!({ "code": 403, "message": format!("never{ESC}"), "data": data });
                Reply::json(403, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": error }))
            },
        ),
        method("401 for good, in JSON-RPC", (4, "it asked for: invalid_token, It has"), "tools/call", |_, urls| {
            let error = json!({ "code": 401, "message": "It has expired.", "data": { "error": "invalid_token" } });
            let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
            Reply::json(401, &body).with("WWW-Authenticate", &challenge(urls, ""))
        }),
        method(
            "503 with words",
            (3, "answers 503 Service Unavailable and no MCP message: busy, Come back."),
            "tools/call",
            |_, _| Reply::json(503, &json!({ "error": "busy", "error_description": "Come back." })),
        ),
        method("the endpoint is elsewhere: the token stays", (3, "answers 307"), "tools/call", |_, urls| Reply::Http {
            status: 307,
            headers: vec![("Location".into(), format!("{}/mcp", urls.evil))],
            body: String::new(),
        }),
        method("an answer without end", (3, "longer than"), "tools/call", |_, _| Reply::Flood(HEAD.into())),
        method("an answer that drips", (3, "took too long"), "tools/call", |_, _| Reply::Drip(HEAD.into())),
        method("a stream without an answer", (3, "took too long"), "tools/call", |_, _| Reply::Drip(STREAM.into())),
        method("a stream without end", (3, "longer than"), "tools/call", |_, _| Reply::Flood(STREAM.into())),
        method("a stream that ends too soon", (3, "ended without an answer"), "tools/call", |_, _| {
            Reply::Raw(STREAM.into())
        }),
        method("a stream that stays open after the answer", (0, ""), "tools/call", |request, _| {
            let message = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": { "content": [{ "type": "text", "text": "hi" }] } });
            let other = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
            Reply::Drip(format!("{STREAM}data: {other}\r\n\r\ndata: {message}\r\n\r\n"))
        }),
        asks("a ping in the stream", "ping", |reply| reply["result"] == json!({})),
        asks("a question to a model", "sampling/createMessage", |reply| reply["error"]["code"] == -32601),
        asks("a question to the person", "elicitation/create", |reply| reply["error"]["code"] == -32601),
        asks("a question for folders", "roots/list", |reply| reply["error"]["code"] == -32601),
        // They are answered up to a bound, which `check` knows.
        method("pings without end", (3, "took too long"), "tools/call", |_, _| {
            let ping = |id: usize| format!("data: {}\n\n", json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
            Reply::Drip(format!("{STREAM}{}", (0..5_000).map(ping).collect::<String>()))
        }),
        method("a request of the server's with the same id", (0, ""), "tools/call", |request, _| {
            let id = &request.json()["id"];
            let theirs = json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
            let answer =
                json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": "hi" }] } });
            Reply::Raw(format!("{STREAM}data: {theirs}\n\ndata: {answer}\n\n").into())
        }),
        method("a request instead of an answer", (3, "no MCP message"), "tools/call", |request, _| {
            Reply::json(200, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "method": "ping", "result": {} }))
        }),
        method("fields of a stream that nobody knows", (0, ""), "tools/call", |request, _| {
            let result = json!({ "content": [{ "type": "text", "text": "hi" }] });
            let answer = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result });
            Reply::Raw(format!("{STREAM}retry\nretry: soon\nfoo: bar\ndata\n\ndata: {answer}\n\n").into())
        }),
        method("an error on a stream, without an id", (5, "no header"), "tools/call", |_, _| {
            let error = json!({ "jsonrpc": "2.0", "error": { "code": -32020, "message": "no header" } });
            Reply::Drip(format!("{STREAM}data: {error}\n\n"))
        }),
        method("a page instead of an answer", (3, "no MCP message"), "tools/call", |_, _| page()),
        method("another request's answer", (3, "no MCP message"), "tools/call", |_, _| {
            Reply::json(200, &json!({ "jsonrpc": "2.0", "id": 999, "result": {} }))
        }),
        method("an error with the token in it", (5, "‹access token›"), "tools/call", |request, _| {
            let told = format!("{ESC}you sent {}", request.header("authorization").unwrap_or_default());
            Reply::json(
                200,
                &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": { "code": -32603, "message": told } }),
            )
        }),
        long_token(
            CALL,
            method("a long token in an error", (5, "‹access token›"), "tools/call", |request, _| {
                let told = format!("you sent {}", request.header("authorization").unwrap_or_default());
                let error = json!({ "code": -32603, "message": told });
                Reply::json(200, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": error }))
            }),
        ),
        long_token(
            CALL,
            method("a long token in a challenge", (4, "‹access token›"), "tools/call", |request, _| {
                let told = request.header("authorization").unwrap_or_default();
                Reply::status(403)
                    .with("WWW-Authenticate", &format!("Bearer error=\"x\", error_description=\"{told}\""))
            }),
        ),
        long_token(
            &["trace", "echo", "message=hi"],
            method("a long token where a trace is cut", (0, "…"), "tools/call", |request, _| {
                let token = request.header("authorization").unwrap_or_default();
                let told = format!("hi {}{token}", "x".repeat(900));
                response(request, json!({ "content": [{ "type": "text", "text": told }] }))
            }),
        ),
        method("a result with the token in it", (0, ""), "tools/call", |request, _| {
            let told = format!("hi{ESC} {}", request.header("authorization").unwrap_or_default());
            response(request, json!({ "content": [{ "type": "text", "text": told }] }))
        }),
        method("a tool that fails", (5, "the tool failed"), "tools/call", |request, _| {
            response(request, json!({ "content": [{ "type": "text", "text": format!("no{ESC}") }], "isError": true }))
        }),
        method("a question back", (5, "cannot give"), "tools/call", |request, _| {
            response(request, json!({ "resultType": "input_required", "inputRequests": {} }))
        }),
        method("pages without end", (3, "more than 100 pages"), "tools/list", |request, _| {
            response(request, json!({ "tools": [], "nextCursor": "more" }))
        }),
        method("pages that are long together", (3, "is too long"), "tools/list", |request, _| {
            let tool = json!({ "name": "x", "description": "x".repeat(6_000_000), "inputSchema": {} });
            response(request, json!({ "tools": [tool], "nextCursor": "more" }))
        }),
        method("pages that are slow together", (3, "takes too long"), "tools/list", |request, _| {
            thread::sleep(std::time::Duration::from_secs(1));
            response(request, json!({ "tools": [], "nextCursor": "more" }))
        }),
        method("a tool whose headers inject", (5, "must not be used"), "tools/list", |request, _| {
            let schema = json!({ "type": "object", "properties": { "message": { "type": "string", "x-mcp-header": "A\r\nB: c" } } });
            response(request, json!({ "tools": [{ "name": "echo", "inputSchema": schema }] }))
        }),
        method("tools that are no list", (3, "has no tools"), "tools/list", |request, _| {
            response(request, json!({ "tools": {} }))
        }),
        method("a server that fails", (3, "answers 500"), "server/discover", |_, _| Reply::status(500)),
        method(
            "a server that fails in JSON-RPC",
            (5, "the server refuses: oh no (-32603)"),
            "server/discover",
            |request, _| {
                let error = json!({ "code": -32603, "message": "oh no" });
                Reply::json(500, &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": error }))
            },
        )
        .with_args(&["--protocol-version", "2026-07-28", "call", "echo", "message=hi"]),
        // Before 2025-06-18, messages may come together.
        method("a batch in a stream", (0, ""), "tools/call", |request, _| {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": {} });
            let result = json!({ "content": [{ "type": "text", "text": "hi" }] });
            let answer = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result });
            Reply::Drip(format!("{STREAM}data: {}\n\n", json!([progress, answer])))
        }),
        legacy("a legacy server that says 500 to what it does not know", |request| request.json()["id"].clone()),
        // As the Python SDK does.
        legacy("a legacy server that says 500 under an id of its own", |_| json!("server-error")),
        method("an error under an id of its own", (5, "the server refuses: no session"), "tools/call", |_, _| {
            let error = json!({ "code": -32600, "message": "no session" });
            Reply::json(400, &json!({ "jsonrpc": "2.0", "id": "server-error", "error": error }))
        }),
        method("a result that is none, under an id of its own", (3, "no MCP message"), "tools/call", |_, _| {
            Reply::json(500, &json!({ "jsonrpc": "2.0", "id": "server-error", "result": {} }))
        }),
        method("a version from the future", (3, "none of our versions"), "server/discover", |request, _| {
            response(request, json!({ "supportedVersions": ["2099-01-01"] }))
        }),
        Row {
            args: &["--dpop", "call", "echo", "message=hi"],
            ..at_mcp("no key, though one is wanted", (4, "DPoP"), |_, _| None)
        },
        Row {
            args: &["--json", "call", "echo", "message=hi"],
            ..method("JSON with the token in it", (0, ""), "tools/call", |request, _| {
                let told = format!("hi{ESC}\u{9b} {}", request.header("authorization").unwrap_or_default());
                response(request, json!({ "content": [{ "type": "text", "text": told }] }))
            })
        },
        Row {
            args: &["--json", "trace", "echo", "message=hi"],
            ..at_mcp("a trace beside JSON", (0, "1. Ask"), |_, _| None)
        },
        Row { args: &["trace", "echo", "message=hi"], ..at_mcp("a trace tells no secrets", (0, ""), |_, _| None) },
    ]
}

impl Row {
    fn with_args(self, args: &'static [&'static str]) -> Self {
        Row { args, ..self }
    }

    /// The challenge names no metadata, so that it is searched for.
    fn without_challenge(mut self) -> Self {
        let inner = self.mcp.take();
        self.mcp = Some(Arc::new(move |request, urls| {
            if request.path() == "/mcp" && request.header("authorization").is_none() {
                return Some(unauthorized("Bearer".into()));
            }
            inner.as_ref().and_then(|twist| twist(request, urls))
        }));
        self
    }

    /// The challenge names no scope, so that the metadata's count.
    fn without_scope(mut self) -> Self {
        let inner = self.mcp.take();
        self.mcp = Some(Arc::new(move |request, urls| {
            if request.path() == "/mcp" && request.header("authorization").is_none() {
                return Some(unauthorized(challenge(urls, "")));
            }
            inner.as_ref().and_then(|twist| twist(request, urls))
        }));
        self
    }

    fn check(self) -> Result<()> {
        let world = World::new(self.mcp, self.authorization)?;
        let outcome = world.run(self.args)?;
        ensure!(outcome.code == Some(self.code), "exit code {:?} instead of {}: {outcome:?}", outcome.code, self.code);
        let visible = outcome.visible();
        ensure!(visible.contains(self.says), "it does not say {:?}: {outcome:?}", self.says);
        ensure!(self.code == 0 || visible.contains("error at exchange "), "at which exchange? {outcome:?}");
        ensure!(self.code != 0 || visible.contains("hi"), "no result: {outcome:?}");
        ensure!(!visible.contains(SECRET), "a secret is shown: {outcome:?}");
        ensure!(
            !visible.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
            "the screen is painted: {outcome:?}"
        );
        ensure!(!visible.contains("POISON"), "a stranger's words are shown: {outcome:?}");
        ensure!(world.evil.seen().is_empty(), "somebody else was asked: {:?}", world.evil.seen());
        let expected = format!("{}/authorize?", world.authorization.url);
        ensure!(
            outcome.opened.lines().all(|line| line.starts_with(&expected)),
            "something else was opened: {outcome:?}"
        );
        for request in world.authorization.seen() {
            ensure!(
                !format!("{request:?}").contains("s3cr3t-access"),
                "the token went to the wrong server: {request:?}"
            );
            ensure!(!request.target.contains(SECRET), "a secret is in a URL: {request:?}");
        }
        for request in world.mcp.seen() {
            ensure!(
                !request.target.contains(SECRET) && !request.body.contains(SECRET),
                "in the wrong place: {request:?}"
            );
            ensure!(
                request.path() == "/mcp" || request.header("authorization").is_none(),
                "a needless token: {request:?}"
            );
        }
        // Whatever goes wrong, the client ends.
        ensure!(world.mcp.seen().len() <= 110 && world.authorization.seen().len() <= 20, "too many requests");
        ensure!(
            world.authorization.hits("/authorize") <= 3 && world.authorization.hits("/register") <= 2,
            "too many log-ins"
        );
        Ok(())
    }
}

#[test]
fn hostile_servers_get_nothing_and_are_told_apart() {
    let _turn = turn();
    let rows = rows();
    let count = rows.len();
    assert!(count >= 40);
    let only = std::env::var("ROW").unwrap_or_default();
    let queue = Arc::new(Mutex::new(rows));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let (queue, failures, only) = (queue.clone(), failures.clone(), only.clone());
            thread::spawn(move || {
                loop {
                    let Some(row) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    let name = row.name;
                    if !name.contains(&only) {
                        continue;
                    }
                    if let Err(error) = row.check() {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name}: {error:#}"));
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        assert!(worker.join().is_ok());
    }
    let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn a_port_where_nobody_is_and_arguments_that_make_no_sense() -> Result<()> {
    // Not a port that was free a moment ago: another test may have taken it.
    let client = Client::new("http://127.0.0.1:1/mcp")?;
    let outcome = client.run(&["tools"], follow)?;
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.stderr.contains("at exchange 1") && outcome.stderr.contains("Is the server running"),
        "{outcome:?}"
    );
    for (server, args) in [
        ("http://mcp.example/mcp", &["tools"][..]),
        ("file:///etc/passwd", &["tools"]),
        ("https://user@mcp.example/mcp", &["tools"]),
        ("http://localhost:1/mcp", &["call"]),
        ("http://localhost:1/mcp", &["--client-id", "x", "tools"]),
        ("http://localhost:1/mcp", &["--grant", "client-credentials", "tools"]),
        ("http://localhost:1/mcp", &["--redirect-uri", "https://evil.example/", "tools"]),
        ("http://localhost:1/mcp", &["--client-metadata", "http://localhost/x", "tools"]),
        ("http://localhost:1/mcp", &["--protocol-version", "1999-01-01", "tools"]),
    ] {
        let outcome = Client::new(server)?.run(args, follow)?;
        assert_eq!(outcome.code, Some(2), "{server} {args:?} {outcome:?}");
    }
    Ok(())
}
