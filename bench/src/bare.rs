//! The limit: an actix-web handler that reads the same JSON and writes the same answer, and checks nothing else. The
//! extra time that a step takes is the price of being an MCP server. With BENCH_PUBLIC_KEY it verifies every request's
//! token, which is the limit for a server without a token cache.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header::AUTHORIZATION, web};
use bench::Verifier;
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

async fn verified_echo(http: HttpRequest, verifier: web::Data<Verifier>, request: web::Json<Request>) -> HttpResponse {
    let token = http.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match token.map(|token| verifier.verify(token)) {
        Some(Ok(claims)) if claims.scope.contains("mcp:tools") => echo(request).await,
        Some(Ok(_)) => HttpResponse::Forbidden().finish(),
        _ => HttpResponse::Unauthorized().finish(),
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let verifier = Verifier::from_env()?.map(web::Data::new);
    let server = HttpServer::new(move || match &verifier {
        None => App::new().service(web::resource("/mcp").post(echo)),
        Some(verifier) => App::new().app_data(verifier.clone()).service(web::resource("/mcp").post(verified_echo)),
    });
    let server = server.workers(1).bind(("127.0.0.1", 0))?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
