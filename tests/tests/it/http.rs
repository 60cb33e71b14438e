//! What every step checks before any handler looks at a request.
#![allow(clippy::unwrap_used)]

use integration_tests::{Reply, Server, rpc};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

async fn send(request: RequestBuilder) -> Reply {
    Reply::of(request).await.unwrap()
}

fn start(package: &str) -> Server {
    Server::start(package).unwrap()
}

/// A refusal on any route but `/mcp`: this status, and a JSON body that names the error.
fn assert_refused(reply: &Reply, status: u16, error: &str, case: &str) {
    assert_eq!(reply.status.as_u16(), status, "{case}: {reply:?}");
    assert!(reply.header("content-type").starts_with("application/json"), "{case}: {reply:?}");
    assert_eq!(reply.json()["error"], error, "{case}: {reply:?}");
    assert!(reply.json()["error_description"].is_string(), "{case}: {reply:?}");
}

/// A 403 of the guards: on `/mcp` it is a JSON-RPC error response, whose `id` is null as nothing was read.
fn assert_guarded(reply: &Reply, path: &str, error: &str, case: &str) {
    match path {
        "/mcp" => {
            assert_eq!(reply.status, 403, "{case}: {reply:?}");
            assert!(reply.header("content-type").starts_with("application/json"), "{case}: {reply:?}");
            assert_eq!(reply.refusal(&Value::Null)["error"], error, "{case}: {reply:?}");
        }
        _ => assert_refused(reply, 403, error, case),
    }
}

const FOREIGN_ORIGINS: [&str; 14] = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost:9000.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example/localhost",
    "http://evil.example#localhost",
    "http://localhost@evil.example",
    "http://evil.example@localhost",
    "http://xlocalhost",
    "http://[::2]",
    "ftp://localhost",
    "localhost",
    "null",
    "",
];

/// The headers that pages send, and those that they read.
const SENT: &str = "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name,mcp-session-id,last-event-id";
const EXPOSED: [&str; 5] = ["www-authenticate", "retry-after", "x-correlation-id", "x-mcp-user", "x-mcp-scopes"];

#[tokio::test]
async fn a_foreign_origin_is_refused_on_every_route() {
    for package in ["step1", "step4"] {
        let server = start(package);
        for origin in FOREIGN_ORIGINS {
            for path in ["/health", "/mcp", "/nowhere"] {
                let reply = send(server.get(path).header("Origin", origin)).await;
                assert_guarded(&reply, path, "forbidden_origin", &format!("{package} {path} {origin}"));
            }
        }
        let reply = send(server.legacy("ping", json!({})).header("Origin", "https://evil.example")).await;
        assert_guarded(&reply, "/mcp", "forbidden_origin", package);
    }
}

#[tokio::test]
async fn two_origins_are_refused_even_if_each_is_allowed() {
    let server = start("step1");
    let request = server.get("/health").header("Origin", "http://localhost").header("Origin", "http://localhost");
    assert_refused(&send(request).await, 403, "forbidden_origin", "two origins");
}

#[tokio::test]
async fn a_loopback_origin_is_allowed_on_any_port() {
    let server = start("step4");
    for origin in [
        "http://localhost",
        "https://localhost",
        "http://localhost:3000",
        "http://LOCALHOST:3000",
        "http://127.0.0.1:6274",
        "https://127.0.0.1",
        "http://[::1]:8080",
        "https://[::1]",
    ] {
        let reply = send(server.get("/health").header("Origin", origin)).await;
        assert_eq!(reply.status, 200, "{origin}: {reply:?}");
        assert!(!reply.header("access-control-allow-origin").is_empty(), "{origin}: {reply:?}");
        let exposed = reply.header("access-control-expose-headers").to_lowercase();
        for name in EXPOSED {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {reply:?}");
        }
        let reply = send(server.legacy("ping", json!({})).header("Origin", origin)).await;
        assert_eq!(reply.status, 200, "{origin}: {reply:?}");
    }
}

#[tokio::test]
async fn the_public_url_names_an_origin_and_a_host_that_are_allowed() {
    let server = Server::start_with("step4", &["--public-url", "https://mcp.example/"]).unwrap();
    for (origin, host, status) in [
        ("https://mcp.example", "mcp.example", 200),
        ("https://mcp.example:443", "mcp.example:443", 200),
        ("https://mcp.example", "MCP.example", 200),
        ("http://mcp.example", "mcp.example", 403),
        ("https://mcp.example:444", "mcp.example", 403),
        ("https://mcp.example.evil", "mcp.example", 403),
        ("https://mcp.example", "mcp.example.evil", 403),
        ("https://mcp.example", "xmcp.example", 403),
    ] {
        let reply = send(server.get("/health").header("Origin", origin).header("Host", host)).await;
        assert_eq!(reply.status, status, "{origin} {host}: {reply:?}");
    }
}

#[tokio::test]
async fn allow_origin_and_allow_host_add_to_what_is_allowed() {
    let args = [
        ["--allow-origin", "https://app.example"],
        ["--allow-origin", "https://b.example"],
        ["--allow-host", "inner"],
        ["--allow-host", "BÜCHER.example"],
    ]
    .concat();
    let server = Server::start_with("step4", &args).unwrap();
    for origin in ["https://app.example", "https://b.example", "http://localhost"] {
        let reply = send(server.get("/health").header("Origin", origin).header("Host", "inner:8080")).await;
        assert_eq!(reply.status, 200, "{origin}: {reply:?}");
    }
    let reply = send(server.get("/health").header("Origin", "https://c.example")).await;
    assert_refused(&reply, 403, "forbidden_origin", "c.example");
    // In the form in which clients send it.
    let reply = send(server.get("/health").header("Host", "xn--bcher-kva.example")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

const OTHER_SCHEMES: [&str; 6] = [
    "chrome-extension://abcdefghijklmnop",
    "moz-extension://6c3ff8d2-1d5e-4f5c-9d0b-0a7e3a1b2c3d",
    "tauri://localhost",
    "app://notes.example",
    "vscode-webview://abc",
    "capacitor://app.example:8100",
];

#[tokio::test]
async fn an_origin_of_any_scheme_can_be_allowed_and_only_exactly_that_one_is() {
    let args: Vec<_> = OTHER_SCHEMES.iter().flat_map(|origin| ["--allow-origin", origin]).collect();
    let (open, closed) = (Server::start_with("step4", &args).unwrap(), start("step4"));
    for origin in OTHER_SCHEMES {
        let reply = send(open.legacy("ping", json!({})).header("Origin", origin)).await;
        assert_eq!(reply.outcome(), (200, 0), "{origin}: {reply:?}");
        assert!(
            matches!(reply.header("access-control-allow-origin"), "*")
                || reply.header("access-control-allow-origin") == origin
        );
        let reply = send(preflight(&open, "/mcp", origin)).await;
        assert!(reply.status.is_success(), "{origin}: {reply:?}");
        // None of these is allowed by default: `tauri://localhost` is not a loopback origin of a browser.
        let reply = send(closed.get("/health").header("Origin", origin)).await;
        assert_refused(&reply, 403, "forbidden_origin", origin);
        for other in [
            format!("{origin}x"),
            format!("{origin}/"),
            format!("{origin}/index.html"),
            format!("{origin}.evil.example"),
            format!("{origin}?"),
            format!("{origin}#"),
            format!("x{origin}"),
            origin.replace("://", ":"),
            origin.replace("://", ":///"),
            origin.replace("://", "://x@"),
            origin.replace("://", "://%00"),
            format!("{}:81", origin.trim_end_matches(":8100")),
            origin.split_once("://").map(|(_, host)| format!("https://{host}")).unwrap(),
        ] {
            let reply = send(open.get("/health").header("Origin", &other)).await;
            let loopback = other == "https://localhost";
            assert_eq!(reply.status, if loopback { 200 } else { 403 }, "{other}: {reply:?}");
        }
    }
    let reply = send(open.get("/health").header("Origin", "chrome-extension://ABCDEFGHIJKLMNOP")).await;
    assert_refused(&reply, 403, "forbidden_origin", "the id of an extension has no capitals");
}

#[test]
fn what_is_not_one_exact_origin_is_refused_at_start() {
    for origin in [
        "null",
        "*",
        "",
        "app.example",
        "https://",
        "https:app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?",
        "https://app.example#x",
        "https://user@app.example",
        "https://*.example",
        "https://*",
        "*://app.example",
        "https://app.example:",
        "https://app.example:99999",
        "https://app.example:*",
        "https://a.example,https://b.example",
        " https://app.example",
        "https://app.example ",
        "https://app%2eexample",
        "chrome-extension://",
        "chrome-extension://*",
        "chrome-extension://abc/",
        "tauri://localhost/index.html",
        "file:///",
        "file://",
        "data:text/html,x",
        "blob:https://app.example",
        "about:blank",
    ] {
        let output = integration_tests::command("step1")
            .unwrap()
            .args(["--port", "0", &format!("--allow-origin={origin}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{origin:?}: {said}");
        assert!(said.contains("--allow-origin") && said.contains("is not an origin"), "{origin:?}: {said}");
    }
}

#[test]
fn what_is_not_the_name_of_a_host_is_refused_at_start() {
    for host in [
        "",
        "*",
        "*.example",
        "mcp.example:9000",
        "https://mcp.example",
        "mcp.example/",
        "user@mcp.example",
        "::1",
        "a b",
    ] {
        let output = integration_tests::command("step1")
            .unwrap()
            .args(["--port", "0", &format!("--allow-host={host}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{host:?}: {said}");
        assert!(said.contains("--allow-host") && said.contains("is not the name of a host"), "{host:?}: {said}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_on_every_route() {
    for package in ["step1", "step4"] {
        let server = start(package);
        for host in
            ["evil.example", "evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"]
        {
            for path in ["/health", "/mcp", "/nowhere"] {
                let reply = send(server.get(path).header("Host", host)).await;
                assert_guarded(&reply, path, "forbidden_host", &format!("{package} {path} {host}"));
            }
        }
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9000", "[::1]", "[::1]:9000"] {
            let reply = send(server.get("/health").header("Host", host)).await;
            assert_eq!(reply.status, 200, "{package} {host}: {reply:?}");
        }
    }
}

fn preflight(server: &Server, path: &str, origin: &str) -> RequestBuilder {
    server
        .request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", SENT)
}

#[tokio::test]
async fn a_preflight_from_an_allowed_origin_is_told_what_it_may_send_and_read() {
    for package in ["step1", "step4"] {
        let server = start(package);
        let reply = send(preflight(&server, "/mcp", "http://localhost:3000")).await;
        assert!(matches!(reply.status.as_u16(), 200 | 204), "{package}: {reply:?}");
        let allowed = reply.header("access-control-allow-headers").to_lowercase();
        for header in SENT.split(',') {
            assert!(allowed.split(',').any(|name| name.trim() == header), "{package} {header}: {reply:?}");
        }
        assert!(reply.header("access-control-allow-methods").contains("POST"), "{package}: {reply:?}");
        let exposed = reply.header("access-control-expose-headers").to_lowercase();
        for name in EXPOSED {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {reply:?}");
        }
        assert!(matches!(reply.header("access-control-allow-origin"), "*" | "http://localhost:3000"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_preflight_from_a_foreign_origin_is_refused() {
    for package in ["step1", "step4"] {
        let server = start(package);
        for origin in ["https://evil.example", "http://localhost.evil.example", "null"] {
            let reply = send(preflight(&server, "/mcp", origin)).await;
            assert_guarded(&reply, "/mcp", "forbidden_origin", &format!("{package} {origin}"));
            assert_eq!(reply.header("access-control-allow-origin"), "", "{package} {origin}: {reply:?}");
        }
    }
}

/// A `ping` of exactly this many bytes.
fn ping_of(bytes: usize) -> String {
    let empty = rpc("ping", json!({ "padding": "" })).to_string();
    let padding = "x".repeat(bytes - empty.len());
    rpc("ping", json!({ "padding": padding })).to_string()
}

#[tokio::test]
async fn a_body_of_one_mebibyte_is_taken_and_one_byte_more_is_not() {
    let server = start("step4");
    let reply = send(server.post_text(ping_of(1 << 20))).await;
    assert_eq!(reply.outcome(), (200, 0), "{reply:?}");
    let reply = send(server.post_text(ping_of((1 << 20) + 1))).await;
    assert_refused(&reply, 413, "payload_too_large", "one byte too many");
    let reply = send(server.legacy("ping", json!({}))).await;
    assert_eq!(reply.status, 200, "the server goes on: {reply:?}");
}

#[tokio::test]
async fn a_content_type_other_than_json_is_refused() {
    let server = start("step4");
    let post = || server.request(Method::POST, "/mcp").body(rpc("ping", json!({})).to_string());
    assert_refused(&send(post()).await, 415, "unsupported_media_type", "none");
    for kind in [
        "text/plain",
        "application/jsonx",
        "application/json-rpc",
        "text/json",
        "application/x-www-form-urlencoded",
        "json",
        "",
    ] {
        let reply = send(post().header("Content-Type", kind)).await;
        assert_refused(&reply, 415, "unsupported_media_type", kind);
    }
    for kind in
        ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json;charset=utf-8"]
    {
        let reply = send(post().header("Content-Type", kind)).await;
        assert_eq!(reply.outcome(), (200, 0), "{kind}: {reply:?}");
    }
}

#[tokio::test]
async fn an_accept_header_that_excludes_json_is_refused() {
    let server = start("step4");
    let post = || {
        let body = rpc("ping", json!({})).to_string();
        server.request(Method::POST, "/mcp").header("Content-Type", "application/json").body(body)
    };
    for accept in
        ["text/event-stream", "text/html", "application/json;q=0", "*/*, application/json;q=0", "image/*", "text/*"]
    {
        let reply = send(post().header("Accept", accept)).await;
        assert_refused(&reply, 406, "not_acceptable", accept);
    }
    for accept in [
        "application/json",
        "Application/JSON",
        "application/*",
        "*/*",
        "application/json, text/event-stream",
        "text/event-stream, application/json;q=0.1",
        "text/html, */*;q=0.1",
        "application/*;q=0, application/json",
    ] {
        let reply = send(post().header("Accept", accept)).await;
        assert_eq!(reply.outcome(), (200, 0), "{accept}: {reply:?}");
    }
}

#[tokio::test]
async fn the_mcp_endpoint_takes_only_post() {
    let server = start("step4");
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::PATCH] {
        let reply = send(server.request(method.clone(), "/mcp").header("Accept", "text/event-stream")).await;
        assert_refused(&reply, 405, "method_not_allowed", method.as_str());
        assert_eq!(reply.header("allow"), "POST", "{method}: {reply:?}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    for package in ["step1", "step4"] {
        let server = start(package);
        for path in ["/", "/nowhere", "/mcp/", "/health/", "/MCP", "/mcp/sse", "/.well-known/openid-configuration"] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let reply = send(server.request(method, path)).await;
                assert_refused(&reply, 404, "not_found", &format!("{package} {path}"));
            }
        }
    }
    let reply = send(start("step1").get("/mcp")).await;
    assert_refused(&reply, 404, "not_found", "step 1 has no /mcp");
}

#[tokio::test]
async fn health_tells_the_step_and_what_it_can_do() {
    for (package, step) in [("step1", 1), ("step4", 4)] {
        let server = start(package);
        let health: Value = send(server.get("/health")).await.json();
        assert_eq!(health["status"], "ok", "{health}");
        assert_eq!(health["step"], step, "{health}");
        assert!(health["version"].is_string() && health["enabled"].is_array(), "{health}");
    }
}

#[test]
fn an_answered_chunked_body_does_not_keep_the_connection() {
    use std::io::{Read, Write};
    let server = tokio::runtime::Runtime::new().unwrap().block_on(async { Server::start("step4").unwrap() });
    let host = server.url().trim_start_matches("http://").to_owned();
    for path in ["/nope", "/mcp"] {
        let mut stream = std::net::TcpStream::connect(&host).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(8))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|_| panic!("{path}: still open: {answer}"));
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

#[test]
fn a_body_that_does_not_arrive_within_ten_seconds_is_given_up() {
    use std::{
        io::{Read, Write},
        time::{Duration, Instant},
    };
    let server = start("step4");
    let mut stream = std::net::TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{";
    let started = Instant::now();
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    let waited = started.elapsed().as_secs();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    assert!((9..=19).contains(&waited), "{waited} s");
}

#[tokio::test]
async fn a_preflight_may_ask_for_headers_we_do_not_know_and_learns_which_we_do() {
    let server = Server::start("step4").unwrap();
    let request = server
        .request(reqwest::Method::OPTIONS, "/mcp")
        .header("Origin", "http://localhost:1")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "x-unknown, authorization");
    let reply = Reply::of(request).await.unwrap();
    assert!(reply.status.is_success(), "{reply:?}");
    let allowed = reply.header("access-control-allow-headers").to_ascii_lowercase();
    assert!(allowed.contains("authorization") && !allowed.contains("x-unknown"), "{allowed}");
}

#[tokio::test]
async fn an_origin_that_only_a_forgiving_parser_takes_for_ours_is_refused() {
    let server = Server::start("step4").unwrap();
    for origin in [
        "http:localhost",
        "http:///localhost",
        "http://localhost/..",
        "http://localhost\\",
        "http://x@localhost",
        "http://local\thost",
        "http://localhost:",
        "http://local%68ost",
    ] {
        let reply = Reply::of(server.get("/health").header("Origin", origin)).await.unwrap();
        assert_eq!(reply.status, 403, "{origin}");
    }
}
