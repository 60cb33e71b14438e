//! JSON-RPC and MCP, the modern protocol and the legacy one, row by row of the contract's table.
#![allow(clippy::unwrap_used)]

use integration_tests::{LEGACY, MODERN, Reply, Server, gen_token, meta, rpc, with_meta};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

/// Names and values of headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

async fn send(request: RequestBuilder) -> Reply {
    Reply::of(request).await.unwrap()
}

fn step4() -> Server {
    Server::start("step4").unwrap()
}

/// Both protocols' requests with the same method and params.
fn both(server: &Server, method: &str, params: &Value) -> [(&'static str, RequestBuilder); 2] {
    [("modern", server.modern(method, params.clone())), ("legacy", server.legacy(method, params.clone()))]
}

/// The same bytes with the headers of the modern protocol, and without.
fn both_raw(server: &Server, body: &[u8]) -> [(&'static str, RequestBuilder); 2] {
    let modern = server.post_text(body.to_vec()).header("MCP-Protocol-Version", MODERN).header("Mcp-Method", "ping");
    [("modern", modern), ("legacy", server.post_text(body.to_vec()))]
}

async fn result(request: RequestBuilder, case: &str) -> Value {
    let reply = send(request).await;
    assert_eq!(reply.outcome(), (200, 0), "{case}: {reply:?}");
    let json = reply.json();
    assert_eq!((&json["jsonrpc"], &json["id"]), (&json!("2.0"), &json!(1)), "{case}: {reply:?}");
    assert!(json["result"].is_object(), "{case}: {reply:?}");
    json["result"].clone()
}

#[tokio::test]
async fn what_is_not_json_is_a_parse_error_without_an_id() {
    let server = step4();
    let bodies: [&[u8]; 9] = [
        b"",
        b" ",
        b"{",
        b"hello",
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#,
        br"{'jsonrpc':'2.0','id':1,'method':'ping'}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xff\"}",
        b"[{]",
    ];
    for body in bodies {
        for (era, request) in both_raw(&server, body) {
            let reply = send(request).await;
            let case = format!("{era} {}", String::from_utf8_lossy(body));
            assert_eq!(reply.outcome(), (400, PARSE_ERROR), "{case}: {reply:?}");
            assert!(reply.json()["id"].is_null(), "{case}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_json_rpc_request_is_an_invalid_request() {
    let server = step4();
    for body in [
        json!([]),
        json!([rpc("ping", json!({}))]),
        json!(["2.0", 1, "ping", {}]),
        json!(null),
        json!(1),
        json!("ping"),
        json!({}),
        json!({ "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }),
        json!({ "jsonrpc": 2.0, "id": 1, "method": "ping" }),
        json!({ "jsonrpc": null, "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1 }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": 1 }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": null }),
        json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1.5, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": true, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": [1], "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": {}, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": [] }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": "x" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": 1 }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": true }),
        json!({ "jsonrpc": "2.0", "id": null, "method": "ping", "params": null }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized", "params": [] }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "no" } }),
    ] {
        for (era, request) in both_raw(&server, body.to_string().as_bytes()) {
            let reply = send(request).await;
            assert_eq!(reply.outcome(), (400, INVALID_REQUEST), "{era} {body}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_readable_id_comes_back_byte_for_byte() {
    let server = step4();
    for id in [r#""a""#, r#""""#, "0", "-1", "123456789012345678901234567890", r#""\u00e9""#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let reply = send(server.post_text(body)).await;
        assert_eq!(reply.outcome(), (200, 0), "{id}: {reply:?}");
        assert!(reply.text.contains(&format!(r#""id":{id}"#)), "{id}: {reply:?}");
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"nowhere"}}"#);
        let reply = send(server.post_text(body)).await;
        assert_eq!(reply.outcome(), (200, METHOD_NOT_FOUND), "{id}: {reply:?}");
        assert!(reply.text.contains(&format!(r#""id":{id}"#)), "{id}: {reply:?}");
    }
}

#[tokio::test]
async fn a_notification_is_accepted_and_not_answered_whatever_its_method() {
    let server = step4();
    for method in ["notifications/initialized", "notifications/cancelled", "tools/call", "nowhere", ""] {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": { "name": "echo" } });
        for (era, request) in both_raw(&server, body.to_string().as_bytes()) {
            let reply = send(request).await;
            assert_eq!((reply.status.as_u16(), reply.text.as_str()), (202, ""), "{era} {method}: {reply:?}");
        }
    }
    let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let reply = send(server.post(&body).header("MCP-Protocol-Version", "1999-01-01")).await;
    assert_eq!(reply.status, 202, "it is accepted before its version is looked at: {reply:?}");
}

#[tokio::test]
async fn a_version_that_is_not_served_is_refused_with_those_that_are() {
    let server = step4();
    for version in ["2027-01-01", "2024-11-05", "1999-01-01", "draft", "9"] {
        let mut body = rpc("tools/list", with_meta(json!({})));
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let headers = |request: RequestBuilder| {
            request.header("MCP-Protocol-Version", version).header("Mcp-Method", "tools/list")
        };
        let plain = rpc("tools/list", json!({}));
        for (case, body) in [("with _meta", body), ("without _meta", plain)] {
            let reply = send(headers(server.post(&body))).await;
            assert_eq!(reply.outcome(), (400, UNSUPPORTED_VERSION), "{version} {case}: {reply:?}");
            let data = &reply.json()["error"]["data"];
            assert_eq!(data["requested"], version, "{case}: {reply:?}");
            assert_eq!(data["supported"], json!([MODERN, LEGACY[0], LEGACY[1], LEGACY[2]]), "{case}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_legacy_version_in_the_header_is_served() {
    let server = step4();
    for version in LEGACY {
        let reply = send(server.legacy("ping", json!({})).header("MCP-Protocol-Version", version)).await;
        assert_eq!(reply.outcome(), (200, 0), "{version}: {reply:?}");
    }
}

#[tokio::test]
async fn a_modern_request_whose_headers_and_body_disagree_is_refused() {
    let server = step4();
    let call = rpc("tools/call", with_meta(json!({ "name": "echo", "arguments": { "message": "hi" } })));
    let get = rpc("prompts/get", with_meta(json!({ "name": "help" })));
    let list = rpc("tools/list", with_meta(json!({})));
    let mut unnamed = rpc("tools/call", with_meta(json!({})));
    unnamed["params"]["arguments"] = json!({});
    let version = ("MCP-Protocol-Version", MODERN);
    let cases: [(&str, &Value, Headers); 18] = [
        ("no headers", &list, &[]),
        ("no version", &list, &[("Mcp-Method", "tools/list")]),
        ("a legacy version", &list, &[("MCP-Protocol-Version", LEGACY[0]), ("Mcp-Method", "tools/list")]),
        ("two versions", &list, &[version, ("MCP-Protocol-Version", LEGACY[0]), ("Mcp-Method", "tools/list")]),
        ("no method", &list, &[version]),
        ("another method", &list, &[version, ("Mcp-Method", "prompts/list")]),
        ("another case of the method", &list, &[version, ("Mcp-Method", "Tools/List")]),
        ("two methods", &list, &[version, ("Mcp-Method", "tools/list"), ("Mcp-Method", "tools/list")]),
        ("an empty method", &list, &[version, ("Mcp-Method", "")]),
        ("no name", &call, &[version, ("Mcp-Method", "tools/call")]),
        ("another name", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "get_time")]),
        ("another case of the name", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "Echo")]),
        ("an empty name", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "")]),
        ("another name in base64", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?aGk=?=")]),
        ("broken base64", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?!!?=")]),
        ("two names", &call, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo"), ("Mcp-Name", "get_time")]),
        ("no name of a prompt", &get, &[version, ("Mcp-Method", "prompts/get")]),
        ("a name that the body lacks", &unnamed, &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")]),
    ];
    for (case, body, headers) in cases {
        let request = headers.iter().fold(server.post(body), |request, (name, value)| request.header(*name, *value));
        let reply = send(request).await;
        // Two versions in one request are either an unknown version or a disagreement. Both are refused.
        if case == "two versions" && reply.outcome() == (400, UNSUPPORTED_VERSION) {
            continue;
        }
        assert_eq!(reply.outcome(), (400, HEADER_MISMATCH), "{case}: {reply:?}");
        assert_eq!(reply.json()["id"], 1, "{case}: {reply:?}");
    }
}

#[tokio::test]
async fn a_name_in_base64_is_decoded_before_it_is_compared() {
    let server = step4();
    for name in ["echo", "=?base64?ZWNobw==?=", " echo "] {
        let params = with_meta(json!({ "name": "echo", "arguments": { "message": "hi" } }));
        let request = server.post(&rpc("tools/call", params)).header("MCP-Protocol-Version", MODERN);
        let result = result(request.header("Mcp-Method", "tools/call").header("Mcp-Name", name), name).await;
        assert_eq!(result["content"][0]["text"], "hi", "{name}: {result}");
    }
}

#[tokio::test]
async fn a_legacy_request_need_not_agree_with_its_headers() {
    let server = step4();
    let params = json!({ "name": "echo", "arguments": { "message": "hi" } });
    let request = server.legacy("tools/call", params).header("Mcp-Method", "ping").header("Mcp-Name", "other");
    assert_eq!(result(request, "legacy").await["content"][0]["text"], "hi");
    let request = server.legacy("initialize", json!({ "protocolVersion": LEGACY[2], "capabilities": {} }));
    let initialized = result(request.header("MCP-Protocol-Version", LEGACY[0]), "another version").await;
    assert_eq!(initialized["protocolVersion"], LEGACY[2]);
}

#[tokio::test]
async fn a_modern_request_without_version_or_capabilities_in_meta_has_invalid_params() {
    let server = step4();
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    let version = "io.modelcontextprotocol/protocolVersion";
    let without = |key: &str| {
        let mut meta = meta();
        meta.as_object_mut().unwrap().remove(key);
        json!({ "_meta": meta })
    };
    let with = |key: &str, value: Value| {
        let mut meta = meta();
        meta[key] = value;
        json!({ "_meta": meta })
    };
    for params in [
        json!({}),
        json!({ "_meta": null }),
        json!({ "_meta": {} }),
        json!({ "_meta": { "progressToken": 1 } }),
        without(version),
        without(capabilities),
        with(capabilities, json!(null)),
        with(capabilities, json!([])),
        with(capabilities, json!("x")),
        with(version, json!(1)),
        with(version, json!(null)),
        json!({ "_meta": 1 }),
        json!({ "_meta": [] }),
    ] {
        let request = server.post(&rpc("tools/list", params.clone()));
        let reply = send(request.header("MCP-Protocol-Version", MODERN).header("Mcp-Method", "tools/list")).await;
        assert_eq!(reply.outcome(), (400, INVALID_PARAMS), "{params}: {reply:?}");
    }
}

#[tokio::test]
async fn only_what_every_modern_request_has_in_meta_makes_a_request_modern() {
    let server = step4();
    for key in ["protocolVersion", "clientCapabilities", "clientInfo"] {
        let params = json!({ "_meta": { format!("io.modelcontextprotocol/{key}"): {} } });
        let reply = send(server.legacy("tools/list", params)).await;
        assert_eq!(reply.outcome(), (400, HEADER_MISMATCH), "{key}: {reply:?}");
    }
    for meta in [
        json!({ "io.modelcontextprotocol/related-task": { "taskId": "t1" } }), // MCP 2025-11-25 "Tasks"
        json!({ "io.modelcontextprotocol/logLevel": "info" }),
        json!({ "io.modelcontextprotocol/ProtocolVersion": MODERN }),
        json!({ "example.com/protocolVersion": MODERN, "protocolVersion": MODERN }),
        json!({ "progressToken": 1, "example.com/x": 1 }),
        json!({ "progressToken": null }),
        json!({}),
    ] {
        for version in [None, Some(LEGACY[0])] {
            let request = server.legacy("tools/list", json!({ "_meta": meta }));
            let request =
                version.iter().fold(request, |request, version| request.header("MCP-Protocol-Version", *version));
            let result = result(request, &format!("{meta} {version:?}")).await;
            assert!(result.get("resultType").is_none(), "{meta} {version:?}: {result}");
        }
    }
}

#[tokio::test]
async fn null_for_an_optional_member_counts_as_absent_in_every_step() {
    for step in (2..=10).chain([12]) {
        let server = Server::start(&format!("step{step}")).unwrap();
        let token = (step >= 6).then(|| gen_token(&server.keys(), server.url(), &["--username", "alice"]).unwrap());
        let send = async |body: &Value, headers: Headers<'_>| {
            let request =
                headers.iter().fold(server.post(body), |request, (name, value)| request.header(*name, *value));
            send(token.iter().fold(request, RequestBuilder::bearer_auth)).await
        };
        let message =
            |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = send(&message("ping", json!(null)), &[]).await;
        assert_eq!(reply.outcome(), (200, 0), "step {step}: {reply:?}");
        let reply = send(&message("ping", json!({ "_meta": null })), &[]).await;
        assert_eq!(reply.outcome(), (200, 0), "step {step}: {reply:?}");
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized", "params": null });
        assert_eq!(send(&notification, &[]).await.status, 202, "step {step}");
        let reply = send(&json!({ "jsonrpc": "2.0", "id": null, "method": "ping", "params": null }), &[]).await;
        assert_eq!(reply.outcome(), (400, INVALID_REQUEST), "step {step}: an id is not optional: {reply:?}");
        // A member that is absent from a modern request's `_meta` counts as missing, not as a disagreement.
        let modern: Headers = &[("MCP-Protocol-Version", MODERN), ("Mcp-Method", "server/discover")];
        for params in [json!(null), json!({ "_meta": null })] {
            let reply = send(&message("server/discover", params.clone()), modern).await;
            assert_eq!(reply.outcome(), (400, INVALID_PARAMS), "step {step} {params}: {reply:?}");
        }
        let mut params = with_meta(json!({ "cursor": null }));
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!(null);
        params["_meta"]["progressToken"] = json!(null);
        let reply = send(&message("server/discover", params), modern).await;
        assert_eq!(reply.outcome(), (200, 0), "step {step}: {reply:?}");
        if step < 3 {
            continue;
        }
        for method in ["tools/list", "prompts/list"] {
            for params in [json!(null), json!({ "cursor": null }), json!({ "cursor": null, "_meta": null })] {
                let reply = send(&message(method, params.clone()), &[]).await;
                assert_eq!(reply.outcome(), (200, 0), "step {step} {method} {params}: {reply:?}");
            }
        }
        if step < 4 {
            continue;
        }
        for (method, name) in [("tools/call", "get_time"), ("tools/call", "echo"), ("prompts/get", "help")] {
            let params = json!({ "name": name, "arguments": null, "_meta": null });
            let reply = send(&message(method, params), &[]).await;
            assert_eq!(reply.outcome(), (200, 0), "step {step} {method} {name}: {reply:?}");
            let is_error = &reply.json()["result"]["isError"];
            assert_eq!(*is_error == true, name == "echo", "step {step} {name}: {reply:?}");
        }
        // A member that a method or a tool needs, or that has a type of its own, cannot be null.
        for (method, params) in [
            ("tools/call", json!(null)),
            ("tools/call", json!({ "name": null })),
            ("prompts/get", json!({ "name": "help", "arguments": { "topic": null } })),
            ("initialize", json!(null)),
            ("initialize", json!({ "protocolVersion": null })),
        ] {
            let reply = send(&message(method, params.clone()), &[]).await;
            assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "step {step} {method} {params}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn arguments_that_are_not_an_object_are_invalid_params_in_every_step() {
    for step in (4..=10).chain([12]) {
        let server = Server::start(&format!("step{step}")).unwrap();
        let token = (step >= 6).then(|| gen_token(&server.keys(), server.url(), &["--username", "admin"]).unwrap());
        let tools: &[&str] = if step < 9 {
            &["echo", "get_time", "no_such_tool"]
        } else {
            &["echo", "get_time", "no_such_tool", "whoami", "save_note", "list_notes", "delete_note", "list_users"]
        };
        let named = tools.iter().map(|name| ("tools/call", *name));
        for (method, name) in named.chain([("prompts/get", "greeting"), ("prompts/get", "help")]) {
            for arguments in
                [json!([]), json!(["hi"]), json!("{}"), json!(""), json!(0), json!(1.5), json!(true), json!(false)]
            {
                let params = json!({ "name": name, "arguments": arguments });
                for (era, request) in both(&server, method, &params) {
                    let reply = send(token.iter().fold(request, RequestBuilder::bearer_auth)).await;
                    let case = format!("step {step} {era} {method} {params}: {reply:?}");
                    assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "{case}");
                    let says = reply.json()["error"]["message"].clone();
                    assert_eq!(says, "The params do not fit: arguments must be an object.", "{case}");
                }
            }
        }
    }
}

/// The schema requires `capabilities` and `clientInfo`. Nothing here depends on them, so a client without them is
/// accepted.
#[tokio::test]
async fn initialize_is_answered_whatever_the_client_says_of_itself() {
    let server = step4();
    let version = LEGACY[0];
    for params in [
        json!({ "protocolVersion": version }),
        json!({ "protocolVersion": version, "capabilities": {} }),
        json!({ "protocolVersion": version, "clientInfo": { "name": "tests", "version": "1" } }),
        json!({ "protocolVersion": version, "capabilities": null, "clientInfo": null }),
        json!({ "protocolVersion": version, "capabilities": 5, "clientInfo": [], "other": "x" }),
    ] {
        let result = result(server.legacy("initialize", params.clone()), &params.to_string()).await;
        assert_eq!(result["protocolVersion"], version, "{params}: {result}");
    }
}

#[tokio::test]
async fn initialize_agrees_on_a_legacy_version() {
    let server = step4();
    for (asked, told) in [
        (LEGACY[0], LEGACY[0]),
        (LEGACY[1], LEGACY[1]),
        (LEGACY[2], LEGACY[2]),
        (MODERN, LEGACY[0]),
        ("2024-11-05", LEGACY[0]),
        ("", LEGACY[0]),
        ("9999-99-99", LEGACY[0]),
    ] {
        let client = json!({ "name": "tests", "version": "1" });
        let params = json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": client });
        let result = result(server.legacy("initialize", params), asked).await;
        assert_eq!(result["protocolVersion"], told, "{asked}: {result}");
        assert_eq!(result["serverInfo"]["name"], "step4", "{asked}: {result}");
        assert!(result["serverInfo"]["version"].is_string(), "{asked}: {result}");
        assert!(result.get("resultType").is_none() && result.get("_meta").is_none(), "{asked}: {result}");
    }
}

#[tokio::test]
async fn initialize_without_a_version_has_invalid_params() {
    let server = step4();
    for params in [json!({}), json!({ "protocolVersion": 1 }), json!({ "protocolVersion": null })] {
        let reply = send(server.legacy("initialize", params.clone())).await;
        assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "{params}: {reply:?}");
    }
}

#[tokio::test]
async fn a_legacy_ping_is_answered_with_an_empty_result() {
    let server = step4();
    assert_eq!(result(server.legacy("ping", json!({})), "ping").await, json!({}));
    let reply = send(server.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))).await;
    assert_eq!(reply.outcome(), (200, 0), "params may be absent: {reply:?}");
}

#[tokio::test]
async fn the_modern_protocol_has_no_initialize_and_no_ping() {
    let server = step4();
    for method in ["initialize", "ping"] {
        let reply = send(server.modern(method, json!({ "protocolVersion": MODERN, "capabilities": {} }))).await;
        assert_eq!(reply.outcome(), (404, METHOD_NOT_FOUND), "{method}: {reply:?}");
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_found() {
    let server = step4();
    for method in ["nowhere", "tools/List", "resources/templates/list", "tools/list/", "rpc.discover"] {
        let reply = send(server.modern(method, json!({}))).await;
        assert_eq!(reply.outcome(), (404, METHOD_NOT_FOUND), "{method}: {reply:?}");
        let reply = send(server.legacy(method, json!({}))).await;
        assert_eq!(reply.outcome(), (200, METHOD_NOT_FOUND), "{method}: {reply:?}");
    }
    let reply = send(server.legacy("server/discover", json!({}))).await;
    assert_eq!(reply.outcome(), (200, METHOD_NOT_FOUND), "discover is modern: {reply:?}");
}

#[tokio::test]
async fn an_unknown_tool_or_prompt_and_malformed_params_are_invalid_params() {
    let server = step4();
    for (method, params) in [
        ("tools/call", json!({ "name": "nothing", "arguments": {} })),
        ("tools/call", json!({ "name": "Echo", "arguments": { "message": "hi" } })),
        ("tools/call", json!({ "name": "", "arguments": {} })),
        ("prompts/get", json!({ "name": "nothing" })),
        ("prompts/get", json!({ "name": "greeting" })),
        ("prompts/get", json!({ "name": "greeting", "arguments": {} })),
        ("prompts/get", json!({ "name": "greeting", "arguments": { "style": "formal" } })),
        ("prompts/get", json!({ "name": "greeting", "arguments": { "name": 1 } })),
        ("prompts/get", json!({ "name": "greeting", "arguments": { "name": null } })),
        ("prompts/get", json!({ "name": "greeting", "arguments": { "name": "Ada", "style": "rude" } })),
        ("prompts/get", json!({ "name": "greeting", "arguments": { "name": "Ada", "style": "" } })),
        ("prompts/get", json!({ "name": "greeting", "arguments": [] })),
        ("prompts/get", json!({ "name": "help", "arguments": "x" })),
    ] {
        for (era, request) in both(&server, method, &params) {
            let reply = send(request).await;
            assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "{era} {method} {params}: {reply:?}");
            assert_eq!(reply.json()["id"], 1, "{era} {method} {params}: {reply:?}");
        }
    }
    for params in [json!({}), json!({ "name": 1 }), json!({ "name": null, "arguments": {} })] {
        for method in ["tools/call", "prompts/get"] {
            let reply = send(server.legacy(method, params.clone())).await;
            assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "{method} {params}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn arguments_that_break_a_tools_schema_are_a_result_that_says_so() {
    let server = step4();
    let unknown = |name: &str, known: &str| {
        format!("{name} is not one of the properties (they are {known}), and additional ones are not allowed")
    };
    let one_to_ten = "repeat_count must be an integer from 1 to 10".to_owned();
    let text = "message must be a string".to_owned();
    let zone = "timezone must be an IANA time zone name, such as Europe/Paris".to_owned();
    let mut cases = vec![
        ("echo", json!({}), "message is required".to_owned()),
        ("echo", json!({ "repeat_count": 2 }), "message is required".to_owned()),
        ("echo", json!({ "message": "hi", "volume": 11 }), unknown("volume", "message, repeat_count")),
        ("echo", json!({ "Message": "hi" }), unknown("Message", "message, repeat_count")),
        ("get_time", json!({ "timezone": "Atlantis/Center" }), format!("{zone}, not \"Atlantis/Center\"")),
        ("get_time", json!({ "timezone": "x".repeat(1000) }), zone.clone()),
        ("get_time", json!({ "timezone": "" }), zone.clone()),
        ("get_time", json!({ "timezone": "+02:00" }), zone),
        ("get_time", json!({ "timezone": 1 }), "timezone must be a string".to_owned()),
        ("get_time", json!({ "timezone": null }), "timezone must be a string".to_owned()),
        ("get_time", json!({ "zone": "UTC" }), unknown("zone", "timezone")),
    ];
    for message in [json!(5), json!(-1), json!(2.5), json!(null), json!(true), json!([]), json!(["hi"]), json!({})] {
        cases.push(("echo", json!({ "message": message }), text.clone()));
    }
    for count in [
        json!(0),
        json!(11),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!("2"),
        json!("NaN"),
        json!(null),
        json!(false),
        json!([2]),
        json!({ "value": 2 }),
    ] {
        cases.push(("echo", json!({ "message": "hi", "repeat_count": count }), one_to_ten.clone()));
    }
    for (tool, arguments, says) in cases {
        let params = json!({ "name": tool, "arguments": arguments });
        for (era, request) in both(&server, "tools/call", &params) {
            let case = format!("{era} {params}");
            let result = result(request, &case).await;
            assert_eq!(result["isError"], true, "{case}: {result}");
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(text.contains(&says), "{case}: {text:?} does not say {says:?}");
            assert_plain(text);
        }
    }
}

/// Words that help nobody outside: a parser's position, Rust types, names of libraries.
fn assert_plain(message: &str) {
    let words = [
        "line ",
        "column",
        "expected",
        "invalid type",
        "EOF",
        "serde",
        "struct",
        "f64",
        "i64",
        "u16",
        "variant",
        "field",
    ];
    for word in words {
        assert!(!message.contains(word), "{message:?} says {word:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_protocol_names_the_member_in_json_schemas_words() {
    let server = step4();
    let call = |params: Value| ("tools/call", params);
    let greeting = |arguments: Value| ("prompts/get", json!({ "name": "greeting", "arguments": arguments }));
    for ((method, params), says) in [
        (("initialize", json!({})), "protocolVersion is required"),
        (("initialize", json!({ "protocolVersion": 1 })), "protocolVersion must be a string"),
        (("initialize", json!({ "protocolVersion": ["2025-11-25"] })), "protocolVersion must be a string"),
        (call(json!({})), "name is required"),
        (call(json!({ "name": 1 })), "name must be a string"),
        (call(json!({ "name": ["echo"] })), "name must be a string"),
        (call(json!({ "name": "echo", "arguments": 1 })), "arguments must be an object"),
        (("tools/list", json!({ "cursor": 5 })), "cursor must be a string"),
        (("prompts/list", json!({ "cursor": {} })), "cursor must be a string"),
        (("prompts/get", json!({})), "name is required"),
        (("prompts/get", json!({ "name": 1.5 })), "name must be a string"),
        (greeting(json!({})), "name is required"),
        (greeting(json!({ "name": 5 })), "name must be a string"),
        (greeting(json!({ "name": null })), "name must be a string"),
        (greeting(json!({ "name": "Ada", "style": 1 })), "style must be a string"),
        (greeting(json!({ "name": "Ada", "style": null })), "style must be a string"),
        (greeting(json!({ "name": "Ada", "style": "rude" })), "style must be formal, casual or enthusiastic"),
        (
            greeting(json!({ "name": "Ada", "planet": "Mars" })),
            "planet is not one of the properties (they are name, style)",
        ),
        (("prompts/get", json!({ "name": "help", "arguments": { "topic": [] } })), "topic must be a string"),
        (("tools/list", json!({ "_meta": 5 })), "_meta must be an object"),
    ] {
        let reply = send(server.legacy(method, params.clone())).await;
        assert_eq!(reply.outcome(), (200, INVALID_PARAMS), "{method} {params}: {reply:?}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{method} {params}: {message:?} does not say {says:?}");
        assert_plain(&message);
    }
    for (body, says) in [
        (r#"{"jsonrpc":"2.0","id":1,"#, "The body is not JSON."),
        ("{'id':1}", "The body is not JSON."),
        ("", "The body is not JSON."),
        ("[]", "Send one message at a time: MCP has no batches."),
        ("5", "A message is one JSON object, and names each member once."),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#,
            "A message is one JSON object, and names each member once.",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{},"_meta":{}}}"#,
            "The params must name each member once, in Unicode.",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
            "The params must name each member once, in Unicode.",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/clientInfo":null,"io.modelcontextprotocol/clientInfo":{}}}}"#,
            "The params must name each member once, in Unicode.",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\ud800":1}}"#,
            "The params must name each member once, in Unicode.",
        ),
    ] {
        let reply = send(server.post_text(body)).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert_eq!(reply.json()["error"]["message"], says, "{body}");
    }
}

#[tokio::test]
async fn what_only_bytes_can_say_is_refused_or_understood_as_json_schema_says() {
    let server = step4();
    let long = "x".repeat(900_000);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    for (arguments, says) in [
        (r#"{"message":"hi","repeat_count":1e400}"#.to_owned(), "repeat_count must be an integer from 1 to 10"),
        (r#"{"message":"hi","repeat_count":-1e400}"#.to_owned(), "repeat_count must be an integer from 1 to 10"),
        (
            r#"{"message":"hi","repeat_count":99999999999999999999999}"#.to_owned(),
            "repeat_count must be an integer from 1 to 10",
        ),
        (r#"{"message":1e400}"#.to_owned(), "message must be a string"),
        (r#"{"message":"a","message":"b"}"#.to_owned(), "message appears twice"),
        (r#"{"message":"a","m\u0065ssage":"b"}"#.to_owned(), "message appears twice"),
        (r#"{"message":"a","repeat_count":1,"repeat_count":2}"#.to_owned(), "repeat_count appears twice"),
        (r#"{"message":"\ud800"}"#.to_owned(), "message must be Unicode text"),
        (r#"{"message":"hi","\udfff":1}"#.to_owned(), "must be Unicode text"),
        (format!(r#"{{"message":{deep}}}"#), "message must be a string"),
        (format!(r#"{{"message":"hi","other":{deep}}}"#), "other is not one of the properties"),
        (format!(r#"{{"message":"hi","{long}":1}}"#), "… is not one of the properties"),
        (format!(r#"{{"message":"{long}"}}"#), "message must be at most 65536 bytes"),
    ] {
        let params = format!(r#"{{"name":"echo","arguments":{arguments}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let case: String = arguments.chars().take(100).collect();
        let result = result(server.post_text(body), &case).await;
        assert_eq!(result["isError"], true, "{case}: {result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(says), "{case}: {text:?} does not say {says:?}");
        assert_plain(text);
    }
    for (count, times) in [("2.0", 2), ("1e0", 1), ("0.3E1", 3), ("10.000", 10)] {
        let params = format!(r#"{{"name":"echo","arguments":{{"message":"x","repeat_count":{count}}}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let result = result(server.post_text(body), count).await;
        assert_eq!(result["content"][0]["text"], "x".repeat(times), "{count}: {result}");
    }
    // NaN and Infinity are no JSON (RFC 8259 §6).
    for value in ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "0x10"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":{value}}}}}}}"#
        );
        assert_eq!(send(server.post_text(body)).await.outcome(), (400, PARSE_ERROR), "{value}");
    }
}

#[tokio::test]
async fn echo_says_at_most_64_kib() {
    let server = step4();
    for (unit, length, count, fits) in [
        ("x", 65_536, 1, true),
        ("x", 65_537, 1, false),
        ("x", 6_553, 10, true),
        ("x", 6_554, 10, false),
        ("é", 3_276, 10, true), // bytes count, not characters
        ("é", 3_277, 10, false),
        ("x", 900_000, 10, false),
        ("", 0, 10, true),
    ] {
        let params = json!({ "name": "echo", "arguments": { "message": unit.repeat(length), "repeat_count": count } });
        for (era, request) in both(&server, "tools/call", &params) {
            let case = format!("{era} {length} × {unit:?} × {count}");
            let result = result(request, &case).await;
            assert_eq!(result["isError"], !fits, "{case}");
            let text = result["content"][0]["text"].as_str().unwrap();
            if fits {
                assert_eq!(text, unit.repeat(length * count), "{case}");
                assert_eq!(result["structuredContent"]["text"], text, "{case}");
            } else {
                assert!(text.starts_with("message must be at most ") && text.contains("bytes"), "{case}: {text}");
                assert!(result.get("structuredContent").is_none(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn echo_repeats_the_message_with_nothing_between() {
    let server = step4();
    for (arguments, text) in [
        (json!({ "message": "hi" }), "hi"),
        (json!({ "message": "hi", "repeat_count": 1 }), "hi"),
        (json!({ "message": "hi", "repeat_count": 2.0 }), "hihi"),
        (json!({ "message": "é\n", "repeat_count": 3 }), "é\né\né\n"),
        (json!({ "message": "x", "repeat_count": 10 }), "xxxxxxxxxx"),
        (json!({ "message": "", "repeat_count": 10 }), ""),
    ] {
        let params = json!({ "name": "echo", "arguments": arguments });
        for (era, request) in both(&server, "tools/call", &params) {
            let result = result(request, era).await;
            assert_eq!(result["content"], json!([{ "type": "text", "text": text }]), "{era} {params}: {result}");
            assert_ne!(result["isError"], true, "{era} {params}: {result}");
            assert!(result["structuredContent"].is_object(), "{era} {params}: {result}");
        }
    }
}

#[tokio::test]
async fn get_time_tells_the_time_in_the_zone_that_is_asked_for() {
    let server = step4();
    for (params, zone, offset) in [
        (json!({ "name": "get_time" }), "UTC", "Z"),
        (json!({ "name": "get_time", "arguments": {} }), "UTC", "Z"),
        (json!({ "name": "get_time", "arguments": { "timezone": "UTC" } }), "UTC", "Z"),
        (json!({ "name": "get_time", "arguments": { "timezone": "Asia/Kolkata" } }), "Asia/Kolkata", "+05:30"),
        (json!({ "name": "get_time", "arguments": { "timezone": "Asia/Tokyo" } }), "Asia/Tokyo", "+09:00"),
    ] {
        for (era, request) in both(&server, "tools/call", &params) {
            let result = result(request, era).await;
            let text = result["content"][0]["text"].as_str().unwrap();
            let ends_right = text.ends_with(offset) || (offset == "Z" && text.ends_with("+00:00"));
            assert!(ends_right && text.as_bytes()[10] == b'T', "{era} {params}: {text}");
            assert_eq!(result["structuredContent"]["timezone"], zone, "{era} {params}: {result}");
            assert_eq!(result["structuredContent"]["time"], text, "{era} {params}: {result}");
        }
    }
}

#[tokio::test]
async fn prompts_are_filled_in() {
    let server = step4();
    for (params, says) in [
        (json!({ "name": "greeting", "arguments": { "name": "Ada" } }), "Ada"),
        (json!({ "name": "greeting", "arguments": { "name": "Ada", "style": "formal" } }), "formal"),
        (json!({ "name": "greeting", "arguments": { "name": "Ada", "style": "casual" } }), "casual"),
        (json!({ "name": "greeting", "arguments": { "name": "Ada", "style": "enthusiastic" } }), "enthusiastic"),
        (json!({ "name": "help" }), "tools"),
        (json!({ "name": "help", "arguments": { "topic": "prompts" } }), "prompts"),
    ] {
        for (era, request) in both(&server, "prompts/get", &params) {
            let result = result(request, era).await;
            let message = &result["messages"][0];
            assert_eq!((&message["role"], &message["content"]["type"]), (&json!("user"), &json!("text")), "{result}");
            assert!(message["content"]["text"].as_str().unwrap().contains(says), "{era} {params}: {result}");
        }
    }
}

#[tokio::test]
async fn the_lists_are_complete_and_in_a_stable_order() {
    let server = step4();
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    for _ in 0..3 {
        for (era, request) in both(&server, "tools/list", &json!({})) {
            let result = result(request, era).await;
            assert_eq!(names(&result["tools"]), ["echo", "get_time"], "{era}");
            for tool in result["tools"].as_array().unwrap() {
                assert!(tool["title"].is_string() && tool["description"].is_string(), "{era}: {tool}");
                assert_eq!(tool["inputSchema"]["type"], "object", "{era}: {tool}");
                assert_eq!(tool["outputSchema"]["type"], "object", "{era}: {tool}");
                assert!(tool["annotations"].is_object(), "{era}: {tool}");
            }
        }
        for (era, request) in both(&server, "prompts/list", &json!({})) {
            let result = result(request, era).await;
            assert_eq!(names(&result["prompts"]), ["greeting", "help"], "{era}");
            let arguments = &result["prompts"][0]["arguments"];
            assert_eq!((&arguments[0]["name"], &arguments[0]["required"]), (&json!("name"), &json!(true)), "{era}");
        }
    }
}

#[tokio::test]
async fn modern_results_say_what_they_are_and_legacy_ones_are_plain() {
    let server = step4();
    for (method, params, cacheable) in [
        ("server/discover", json!({}), true),
        ("tools/list", json!({}), true),
        ("prompts/list", json!({}), true),
        ("tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }), false),
        ("tools/call", json!({ "name": "echo", "arguments": {} }), false),
        ("prompts/get", json!({ "name": "help" }), false),
    ] {
        let modern = result(server.modern(method, params.clone()), method).await;
        assert_eq!(modern["resultType"], "complete", "{method}: {modern}");
        let info = &modern["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert!(info["name"] == "step4" && info["version"].is_string(), "{method}: {modern}");
        assert_eq!(modern["ttlMs"].is_u64(), cacheable, "{method}: {modern}");
        assert_eq!(modern.get("cacheScope").is_some(), cacheable, "{method}: {modern}");
        if method == "server/discover" {
            continue;
        }
        let legacy = result(server.legacy(method, params), method).await;
        for key in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            assert!(legacy.get(key).is_none(), "{method} {key}: {legacy}");
        }
    }
}

#[tokio::test]
async fn discover_and_initialize_tell_the_same_capabilities() {
    for (package, expected) in [
        ("step2", json!({})),
        ("step3", json!({ "tools": {}, "prompts": {} })),
        ("step4", json!({ "tools": {}, "prompts": {} })),
    ] {
        let server = Server::start(package).unwrap();
        let discovered = result(server.modern("server/discover", json!({})), package).await;
        let params = json!({ "protocolVersion": LEGACY[0], "capabilities": {} });
        let initialized = result(server.legacy("initialize", params), package).await;
        assert_eq!(discovered["capabilities"], expected, "{package}");
        assert_eq!(initialized["capabilities"], expected, "{package}");
        assert_eq!(discovered["supportedVersions"], json!([MODERN, LEGACY[0], LEGACY[1], LEGACY[2]]), "{package}");
    }
}

#[tokio::test]
async fn a_body_made_to_hurt_a_parser_is_answered_and_the_server_goes_on() {
    let server = step4();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let call = |message: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":{message}}}}}}}"#
        )
    };
    for body in [call(&deep), call(r#""\ud800""#), call("1e999"), call(r#""a","message":"b""#)] {
        let case = body.chars().take(150).collect::<String>();
        assert_eq!(result(server.post_text(body), &case).await["isError"], true, "{case}");
    }
    for (body, outcome) in [
        (deep, (400, INVALID_REQUEST)),
        ("[".repeat(100_000), (400, PARSE_ERROR)),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_owned(), (400, INVALID_REQUEST)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#.to_owned(), (400, INVALID_REQUEST)),
        (rpc("ping", json!({})).to_string(), (200, 0)),
    ] {
        let reply = send(server.post_text(body)).await;
        assert_eq!(reply.outcome(), outcome, "{reply:?}");
    }
}

#[tokio::test]
async fn a_modern_request_in_a_legacy_version_is_told_which_versions_this_form_has() {
    let server = step4();
    let mut params = with_meta(json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2025-11-25");
    let request = server.post(&rpc("tools/list", params)).header("MCP-Protocol-Version", "2025-11-25");
    let reply = Reply::of(request.header("Mcp-Method", "tools/list")).await.unwrap();
    assert_eq!(reply.outcome(), (400, -32022), "{reply:?}");
    assert_eq!(reply.json()["error"]["data"], json!({ "supported": [MODERN], "requested": "2025-11-25" }));
}

#[tokio::test]
async fn a_malformed_meta_is_noticed_after_the_version_and_the_headers() {
    let server = step4();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": 5 } });
    for (version, method, outcome) in [
        (None, None, (200, -32602)),
        (Some("1999-01-01"), None, (400, -32022)),
        (Some("2099-01-01"), Some("tools/list"), (400, -32022)),
        (Some(MODERN), None, (400, -32020)),
        (Some(MODERN), Some("tools/list"), (400, -32602)),
    ] {
        let mut request = server.post(&body);
        for (name, value) in [("MCP-Protocol-Version", version), ("Mcp-Method", method)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        assert_eq!(Reply::of(request).await.unwrap().outcome(), outcome, "{version:?} {method:?}");
    }
}

#[tokio::test]
async fn a_broken_sentinel_is_not_the_same_as_no_name() {
    let server = step4();
    let request = server.modern("tools/call", json!({})).header("Mcp-Name", "=?base64?!!?=");
    assert_eq!(Reply::of(request).await.unwrap().outcome(), (400, -32020));
}

#[tokio::test]
async fn a_cursor_that_was_never_given_out_is_invalid() {
    let server = step4();
    for method in ["tools/list", "prompts/list"] {
        for cursor in [json!("x"), json!(5)] {
            let reply = Reply::of(server.legacy(method, json!({ "cursor": cursor }))).await.unwrap();
            assert_eq!(reply.outcome(), (200, -32602), "{method} {cursor}");
        }
    }
}
