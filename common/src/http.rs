//! The requirements that an HTTP request must meet before a handler sees it, and the form of a refusal.

use std::{fmt, pin::Pin, time::Duration};

use actix_http::{BoxedPayloadStream, Request};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    dev::Payload,
    error::PayloadError,
    http::{StatusCode, header},
    web::{self, Bytes},
};
use futures_util::Stream;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{ErrorObject, Failure};

/// The largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that is refused before any handler looks at it, as
/// `{"error": "…", "error_description": "…"}`.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl HttpError {
    pub fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        HttpError { status, error, description }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description)
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        error_response(self.status, self.error, self.description)
    }
}

/// Has a request's body, if there is one, read through another stream.
pub(crate) fn wrap_body<S>(request: &mut Request, wrap: impl FnOnce(Payload) -> S)
where
    S: Stream<Item = Result<Bytes, PayloadError>> + 'static,
{
    if !matches!(request.payload(), Payload::None) {
        let payload: BoxedPayloadStream = Box::pin(wrap(request.take_payload()));
        *request.payload() = Payload::Stream { payload };
    }
}

/// The answer `{"error": "…", "error_description": "…"}`.
pub fn error_response(status: StatusCode, error: &str, description: &str) -> HttpResponse {
    HttpResponseBuilder::new(status).json(ErrorBody::new(error, description))
}

/// What the body of a refusal says.
#[derive(Default, Serialize)]
pub struct ErrorBody<'a> {
    /// The code of RFC 6750 §3.1, or a word such as `forbidden`.
    pub error: &'a str,
    /// The sentence for people; the same as in the challenge, where there is one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub error_description: &'a str,
    /// A finer code than `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What the response and the log have in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    pub fn new(error: &'a str, error_description: &'a str) -> Self {
        ErrorBody { error, error_description, ..Self::default() }
    }

    /// The answer on `/mcp`. Many clients show people only the `message` of a JSON-RPC error response, so a 401, a 403
    /// and every refusal of a message whose `id` is known are one. Its `code` is the HTTP status. Before the message is
    /// read, its `id` is null: some clients accept no response without the member. All other refusals have no `id` to
    /// name, and some clients would wait for a response to theirs: they keep the form of [`error_response`].
    pub fn on_mcp(self, status: StatusCode, id: Option<&RawValue>) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(status);
        if id.is_none() && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return response.json(self);
        }
        let message = self.error_description.to_owned();
        let data = serde_json::to_value(ErrorBody { error_description: "", ..self }).ok();
        let error = ErrorObject { code: i32::from(status.as_u16()), message, data };
        response.json(Failure::new(Some(id.unwrap_or(RawValue::NULL)), &error))
    }
}

/// Answers what no route matches.
pub async fn not_found() -> HttpResponse {
    error_response(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path.")
}

/// The body of a request that sends JSON and can read JSON: 415, 406, 413 or 408 otherwise.
pub struct JsonBody(pub Bytes);

impl FromRequest for JsonBody {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, HttpError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let acceptable = sends_json(req).and_then(|()| reads_json(req));
        let body = read_body(req, payload);
        Box::pin(async move {
            acceptable?;
            body.await.map(JsonBody)
        })
    }
}

/// The body of a request: at most 1 MiB, within ten seconds; 413 or 408 otherwise.
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, HttpError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_body(req, payload);
        Box::pin(async { body.await.map(Body) })
    }
}

fn read_body(req: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<Bytes, HttpError>> + use<> {
    let announced =
        req.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let payload = web::Payload::from_request(req, payload).into_inner();
    async move {
        let too_large =
            || HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "A request body is at most 1 MiB.");
        let broken = HttpError::new(StatusCode::BAD_REQUEST, "bad_request", "The body could not be read.");
        if announced.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(too_large());
        }
        let Ok(payload) = payload else { return Err(broken) };
        match tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(MAX_BODY)).await {
            Ok(Ok(Ok(bytes))) => Ok(bytes),
            Ok(Ok(Err(_))) => Err(broken),
            Ok(Err(_)) => Err(too_large()),
            Err(_) => Err(HttpError::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The body did not arrive within 10 seconds.",
            )),
        }
    }
}

fn sends_json(req: &HttpRequest) -> Result<(), HttpError> {
    let mut types = req.headers().get_all(header::CONTENT_TYPE);
    let json = matches!((types.next(), types.next()), (Some(value), None)
        if value.to_str().is_ok_and(|value| media_type(value).eq_ignore_ascii_case("application/json")));
    let plain = !req.headers().contains_key(header::CONTENT_ENCODING);
    if json && plain {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Send Content-Type: application/json, not compressed.",
    ))
}

/// Whether `Accept` lets us answer in JSON (RFC 9110 §12.5.1): of the ranges that match, the most
/// specific one decides, and `q=0` is a no. Without the header anything will do.
fn reads_json(req: &HttpRequest) -> Result<(), HttpError> {
    let mut best: Option<(usize, bool)> = None;
    let mut present = false;
    for value in req.headers().get_all(header::ACCEPT) {
        present = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let is = |known: &str| media_type(range).eq_ignore_ascii_case(known);
            let Some(specificity) = ["*/*", "application/*", "application/json"].into_iter().position(is) else {
                continue;
            };
            let wanted =
                !range.split(';').skip(1).filter_map(|parameter| parameter.split_once('=')).any(|(name, q)| {
                    name.trim_ascii_start().eq_ignore_ascii_case("q") && q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
                });
            if best.is_none_or(|(most, _)| specificity > most) {
                best = Some((specificity, wanted));
            }
        }
    }
    if !present || best.is_some_and(|(_, wanted)| wanted) {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "Answers are application/json, which the Accept header excludes.",
    ))
}

/// `application/json` of `application/json; charset=utf-8`.
fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}
