//! A tool does what its schemas say: arguments are refused exactly if they break the `inputSchema`, and results fit the
//! `outputSchema`. Both are judged by an independent validator.

use anyhow::{Context, Result};
use integration_tests::{Reply, Server, gen_token};
use serde_json::{Value, json};

#[tokio::test]
async fn tools_take_what_their_input_schema_takes_and_give_what_their_output_schema_says() -> Result<()> {
    let server = Server::start("step9")?;
    let token = gen_token(&server.keys(), server.url(), &["--username", "admin"])?;
    let ask = async |method: &str, params: Value| -> Result<Value> {
        let reply = Reply::of(server.legacy(method, params).bearer_auth(&token)).await?;
        reply.json().get("result").cloned().with_context(|| format!("{method}: {reply:?}"))
    };
    let arguments = [
        json!({}),
        json!({ "message": "hi" }),
        json!({ "message": "" }),
        json!({ "message": 1 }),
        json!({ "message": null }),
        json!({ "message": "hi", "repeat_count": 1 }),
        json!({ "message": "hi", "repeat_count": 10 }),
        json!({ "message": "hi", "repeat_count": 2.0 }),
        json!({ "message": "hi", "repeat_count": 0 }),
        json!({ "message": "hi", "repeat_count": 11 }),
        json!({ "message": "hi", "repeat_count": 1.5 }),
        json!({ "message": "hi", "repeat_count": -1 }),
        json!({ "message": "hi", "repeat_count": "2" }),
        json!({ "message": "hi", "repeat_count": null }),
        json!({ "message": "hi", "repeat_count": 1e300 }),
        json!({ "message": "hi", "repeat_count": -2.0 }),
        json!({ "message": "hi", "repeat_count": 10.0 }),
        json!({ "message": "hi", "repeat_count": [2] }),
        json!({ "message": "hi", "repeat_count": {} }),
        json!({ "message": ["hi"] }),
        json!({ "message": {} }),
        json!({ "message": true }),
        json!({ "message": "hi", "other": 1 }),
        json!({ "message": "hi", "": null }),
        json!({ "timezone": "UTC" }),
        json!({ "timezone": "Europe/Paris" }),
        json!({ "timezone": 1 }),
        json!({ "timezone": null }),
        json!({ "text": "a note" }),
        json!({ "text": "" }),
        json!({ "text": ["a note"] }),
        json!({ "limit": 1 }),
        json!({ "limit": 100.0 }),
        json!({ "limit": 0 }),
        json!({ "limit": 101 }),
        json!({ "limit": 1.5 }),
        json!({ "limit": -1 }),
        json!({ "limit": "1" }),
        json!({ "limit": null }),
        json!({ "limit": 50, "cursor": 1 }),
        json!({ "cursor": null }),
        json!({ "cursor": ["x"] }),
        json!({ "limit": 50, "offset": 1 }),
        json!({ "id": "none" }),
        json!({ "id": 1 }),
        json!({ "id": "none", "text": "both" }),
    ];
    let tools = ask("tools/list", json!({})).await?["tools"].clone();
    let tools = tools.as_array().context("no tools")?;
    assert_eq!(tools.len(), 7);
    let mut accepted = 0;
    for tool in tools {
        let input = jsonschema::draft202012::new(&tool["inputSchema"])?;
        let output = jsonschema::draft202012::new(&tool["outputSchema"])?;
        for arguments in &arguments {
            let result = ask("tools/call", json!({ "name": tool["name"], "arguments": arguments })).await?;
            let case = format!("{} {arguments}: {result}", tool["name"]);
            assert_eq!(result["isError"], !input.is_valid(arguments), "{case}");
            if result["isError"] == false {
                assert!(output.is_valid(&result["structuredContent"]), "{case}");
                accepted += 1;
            } else {
                assert!(result.get("structuredContent").is_none(), "{case}");
            }
        }
    }
    // echo 6, get_time 3, whoami 1, save_note 2, delete_note 1, list_notes and list_users 3 each.
    assert_eq!(accepted, 19);
    Ok(())
}
