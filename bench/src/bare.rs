//! The limit: an actix-web handler that reads the same JSON and writes the same answer, and checks
//! nothing else. What a step takes longer than this is the price of being an MCP server.

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    id: u64,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    message: String,
}

#[derive(Serialize)]
struct Response {
    jsonrpc: &'static str,
    id: u64,
    result: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    content: [Text; 1],
    structured_content: Structured,
    is_error: bool,
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Structured {
    text: String,
}

async fn echo(request: web::Json<Request>) -> HttpResponse {
    let Request { id, params } = request.into_inner();
    let text = params.arguments.message;
    HttpResponse::Ok().json(Response {
        jsonrpc: "2.0",
        id,
        result: Outcome {
            content: [Text { r#type: "text", text: text.clone() }],
            structured_content: Structured { text },
            is_error: false,
        },
    })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let server =
        HttpServer::new(|| App::new().service(web::resource("/mcp").post(echo))).workers(1).bind(("127.0.0.1", 0))?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
