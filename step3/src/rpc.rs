//! `POST /mcp`: a JSON-RPC request in, a JSON-RPC response out (MCP 2026-07-28 "Streamable HTTP").
//!
//! A request passes these stations, in this order; the first that refuses it, answers it:
//! [`Call::parse`] (is it JSON? JSON-RPC 2.0? a notification?) → [`Call::check_version`] →
//! [`Call::check_modern`] (do headers and body agree? is `_meta` complete?) → the method table.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{ContentType, HeaderName},
    },
    web,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    http::JsonBody,
    jsonrpc::{
        Envelope, ErrorObject, Failure, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST,
        METHOD_NOT_FOUND, PARSE_ERROR, Success, UNSUPPORTED_PROTOCOL_VERSION, written,
    },
    mcp::{
        CacheScope, Caching, DiscoverResult, EmptyResult, Implementation, InitializeParams, InitializeResult, LEGACY,
        MODERN, McpResult, ServerCapabilities,
    },
    params::{self, Text},
};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json, value::RawValue};

const INSTRUCTIONS: &str = "A teaching server: its tools and prompts are few, and say themselves what they do.";
const META: &str = "io.modelcontextprotocol/";
/// What only modern requests have in `_meta`. Other keys of the protocol are older, such as `related-task`.
const MODERN_META: [&str; 3] = ["protocolVersion", "clientCapabilities", "clientInfo"];
static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
static METHOD: HeaderName = HeaderName::from_static("mcp-method");
static NAME: HeaderName = HeaderName::from_static("mcp-name");
/// How long a client may keep a list, in milliseconds: one minute.
const TTL_MS: u32 = 60_000;
/// For whom: every caller sees the same lists.
const CACHE_SCOPE: CacheScope = CacheScope::Public;

/// Which of the two protocols a request speaks (MCP 2026-07-28 "Versioning", Terminology).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    /// 2026-07-28: every request carries its version and capabilities in `_meta`.
    Modern,
    /// 2025-11-25 and before: `initialize` comes first.
    Legacy,
}

/// A request that asks for something to be done.
pub struct Call<'a> {
    pub http: &'a HttpRequest,
    pub method: Cow<'a, str>,
    methods: &'a Methods,
    era: Era,
    /// The header `MCP-Protocol-Version`.
    version: Option<Cow<'a, str>>,
    pub id: &'a RawValue,
    params: &'a RawValue,
    head: Head<'a>,
    /// What is in `_meta`; an error if that is no object.
    meta: serde_json::Result<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

/// A request, a notification (`None`, which nobody answers), or neither.
type Parsed<'a> = Result<Option<Call<'a>>, Refusal<'a>>;

/// The parameters that concern the protocol rather than the method.
#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// The method's own parameters, as its own type.
    pub fn params<T: Deserialize<'a>>(&self) -> Result<T, ErrorObject> {
        params::read(self.params)
            .map_err(|misfit| ErrorObject::invalid_params(format!("The params do not fit: {misfit}.")))
    }

    /// Takes the message apart, and tells its era.
    fn parse(http: &'a HttpRequest, methods: &'a Methods, body: &'a [u8]) -> Parsed<'a> {
        let bad = |id, message: &str| Refusal::bad(id, ErrorObject::new(INVALID_REQUEST, message));
        let text = std::str::from_utf8(body).map_err(|_| Refusal::not_json("The body is not UTF-8."))?;
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(_) if text.trim_start().starts_with('[') => {
                return Err(bad(None, "Send one message at a time: MCP has no batches."));
            }
            Ok(envelope) => envelope,
            // JSON that is no message, or no JSON at all? Only reading it to the end can tell.
            Err(_) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => return Err(bad(None, "A message is one JSON object, and names each member once.")),
                Err(_) => return Err(Refusal::not_json("The body is not JSON.")),
            },
        };
        let string = |json: &'a RawValue| serde_json::from_str::<Text>(json.get()).ok().map(|text| text.0);
        let id = envelope.id.filter(|id| is_id(id.get()));
        if envelope.jsonrpc.and_then(string).as_deref() != Some("2.0") {
            return Err(bad(id, "The member jsonrpc must be \"2.0\"."));
        }
        let Some(method) = envelope.method.and_then(string) else {
            return Err(bad(id, "The member method must be a string: this endpoint takes requests and notifications."));
        };
        if envelope.params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(bad(id, "The member params must be an object."));
        }
        if envelope.id.is_none() {
            return Ok(None);
        }
        let Some(id) = id else {
            return Err(bad(None, "The member id must be a string or an integer."));
        };
        let params = envelope.params.unwrap_or_else(params::empty);
        let version = header(http, &PROTOCOL_VERSION);
        let modern_header = version.as_deref().is_some_and(|version| version >= MODERN);
        let head = serde_json::from_str::<Head>(params.get())
            .map_err(|_| bad(Some(id), "The params must name each member once, in Unicode."))?;
        let meta = head.meta.map_or(Ok(BTreeMap::new()), |meta| serde_json::from_str(meta.get()));
        let is_modern = |key: &Cow<str>| key.strip_prefix(META).is_some_and(|key| MODERN_META.contains(&key));
        let modern_meta = meta.iter().flat_map(BTreeMap::keys).any(is_modern);
        let era = if modern_header || modern_meta { Era::Modern } else { Era::Legacy };
        Ok(Some(Call { http, method, methods, era, version, id, params, head, meta }))
    }

    /// The `MCP-Protocol-Version` header, if there is one, names a version we serve.
    fn check_version(&self) -> Result<(), Refusal<'a>> {
        match self.version.as_deref() {
            Some(version) if version != MODERN && !LEGACY.contains(&version) => {
                Err(self.unsupported(version, &served()))
            }
            _ => Ok(()),
        }
    }

    /// What a modern request owes us besides: headers that say the same as the body ("Server
    /// Validation"), and `_meta` with the version and the client's capabilities.
    fn check_modern(&self) -> Result<(), Refusal<'a>> {
        let mismatch = |message: String| self.refuse(ErrorObject::new(HEADER_MISMATCH, message));
        let missing = |name: &str| mismatch(format!("Header mismatch: the header {name} is missing."));
        let meta = |key: &str| self.meta.as_ref().ok()?.get(&*format!("{META}{key}")).copied();

        let version = self.version.as_ref().ok_or_else(|| missing("MCP-Protocol-Version"))?;
        let body_version = meta("protocolVersion").map(|json| serde_json::from_str::<String>(json.get()));
        if let Some(Ok(body_version)) = &body_version
            && body_version != version
        {
            return Err(mismatch("Header mismatch: MCP-Protocol-Version is not what _meta says.".to_owned()));
        }
        let method = header(self.http, &METHOD).ok_or_else(|| missing("Mcp-Method"))?;
        if method != self.method {
            return Err(mismatch("Header mismatch: Mcp-Method is not the method.".to_owned()));
        }
        let named = match &*self.method {
            "tools/call" | "prompts/get" => Some(self.head.name),
            "resources/read" => Some(self.head.uri),
            _ => None,
        };
        if let Some(named) = named {
            let value = header(self.http, &NAME).ok_or_else(|| missing("Mcp-Name"))?;
            let body = named.and_then(|json| serde_json::from_str::<String>(json.get()).ok());
            if body.is_none() || decode_sentinel(&value).as_deref() != body.as_deref() {
                return Err(mismatch("Header mismatch: Mcp-Name is not what the params name.".to_owned()));
            }
        }
        let capabilities = meta("clientCapabilities").is_some_and(|json| json.get().starts_with('{'));
        if !matches!(body_version, Some(Ok(_))) || !capabilities {
            let message =
                format!("_meta must have {META}protocolVersion (a string) and {META}clientCapabilities (an object).");
            return Err(self.refuse(ErrorObject::new(INVALID_PARAMS, message)));
        }
        // A legacy version is served, but not to requests of this form.
        if version != MODERN {
            return Err(self.unsupported(version, &[MODERN]));
        }
        Ok(())
    }

    /// A legacy request may leave `_meta` out, but not put something else there.
    fn check_legacy(&self) -> Result<(), Refusal<'a>> {
        let invalid = |_| ErrorObject::invalid_params("The params do not fit: _meta must be an object.");
        self.meta.as_ref().map(|_| ()).map_err(invalid).map_err(|error| Refusal {
            status: StatusCode::OK,
            id: Some(self.id),
            error,
        })
    }

    fn refuse(&self, error: ErrorObject) -> Refusal<'a> {
        Refusal::bad(Some(self.id), error)
    }

    fn unsupported(&self, requested: &str, supported: &[&str]) -> Refusal<'a> {
        let mut error = ErrorObject::new(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version");
        error.data =
            Some(json!({ "supported": supported, "requested": requested.chars().take(64).collect::<String>() }));
        self.refuse(error)
    }

    /// A method of the other era does not exist in this one.
    fn only_in(&self, era: Era) -> Result<(), ErrorObject> {
        if self.era == era { Ok(()) } else { Err(ErrorObject::new(METHOD_NOT_FOUND, "Method not found")) }
    }

    /// The response, with what the modern era adds to every result ("Result", "Caching").
    fn write<R: McpResult>(&self, result: R) -> Result<Vec<u8>, ErrorObject> {
        let mut reply = Reply { result, result_type: None, caching: None, meta: BTreeMap::new() };
        if self.era == Era::Modern {
            reply.result_type = Some("complete");
            reply.caching = R::CACHEABLE.then_some(Caching { ttl_ms: TTL_MS, cache_scope: CACHE_SCOPE });
            reply.meta.insert("io.modelcontextprotocol/serverInfo", &self.methods.server_info);
        }
        let mut json = Vec::with_capacity(512); // most answers fit
        serde_json::to_writer(&mut json, &Success::new(self.id, reply))
            .map_err(|error| ErrorObject::internal(&error))?;
        Ok(json)
    }
}

/// All versions we serve, newest first.
fn served() -> Vec<&'static str> {
    [MODERN].into_iter().chain(LEGACY).collect()
}

/// A string or an integer, of any length.
fn is_id(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    json.starts_with('"') || digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A header's value; several of one name are one list (RFC 9110 §5.3), which then equals nothing we expect.
fn header<'a>(http: &'a HttpRequest, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = http.headers().get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    let value = values.fold(first, |list, value| Cow::Owned(format!("{list}, {value}")));
    Some(match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim()),
        Cow::Owned(value) => Cow::Owned(value.trim().to_owned()),
    })
}

/// `=?base64?aGk=?=` is `hi`; anything else is itself ("Value Encoding"). Broken base64 is nothing.
fn decode_sentinel(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

/// A request that is not carried out.
struct Refusal<'a> {
    status: StatusCode,
    id: Option<&'a RawValue>,
    error: ErrorObject,
}

impl<'a> Refusal<'a> {
    fn bad(id: Option<&'a RawValue>, error: ErrorObject) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, id, error }
    }

    fn not_json(why: &str) -> Self {
        Self::bad(None, ErrorObject::new(PARSE_ERROR, why))
    }
}

impl From<Refusal<'_>> for HttpResponse {
    fn from(refusal: Refusal<'_>) -> Self {
        HttpResponseBuilder::new(refusal.status).json(Failure::new(refusal.id, &refusal.error))
    }
}

/// A result with what the modern era adds to it; a legacy result stays plain.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a, R> {
    #[serde(flatten)]
    result: R,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(flatten)]
    caching: Option<Caching>,
    #[serde(rename = "_meta", skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<&'static str, &'a RawValue>,
}

type Handler = Box<dyn for<'a> Fn(&'a Call<'a>) -> LocalBoxFuture<'a, Result<Vec<u8>, ErrorObject>> + Send + Sync>;

/// What can be called, and by what name.
pub struct Methods {
    table: HashMap<&'static str, Handler>,
    /// What every modern result says of the server.
    server_info: Box<RawValue>,
}

impl Methods {
    pub fn new() -> Self {
        Methods { table: HashMap::new(), server_info: written(&server_info()) }
    }

    /// Adds a method. Its result is written down here, so that no method knows of eras or envelopes.
    pub fn on<R, F>(mut self, name: &'static str, method: F) -> Self
    where
        R: McpResult,
        F: for<'a> AsyncFn(&'a Call<'a>) -> Result<R, ErrorObject> + Send + Sync + 'static,
    {
        let method = Arc::new(method);
        let handler: Handler = Box::new(move |call| {
            let method = Arc::clone(&method);
            Box::pin(async move { call.write(method(call).await?) })
        });
        self.table.insert(name, handler);
        self
    }

    /// A capability is there if the method that lists it is.
    fn capabilities(&self) -> ServerCapabilities {
        let capability = |list: &str| self.table.contains_key(list).then(Map::new);
        ServerCapabilities { tools: capability("tools/list"), prompts: capability("prompts/list") }
    }
}

/// The route's handler: everything that is posted to `/mcp` comes through here.
pub async fn handle(http: HttpRequest, methods: web::Data<Methods>, body: JsonBody) -> HttpResponse {
    match answer(&http, &methods, &body.0).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(http: &HttpRequest, methods: &Methods, body: &[u8]) -> Result<HttpResponse, HttpResponse> {
    let Some(call) = Call::parse(http, methods, body)? else {
        return Ok(HttpResponse::Accepted().finish());
    };
    call.check_version()?;
    match call.era {
        Era::Modern => call.check_modern()?,
        Era::Legacy => call.check_legacy()?,
    }
    let outcome = match methods.table.get(&*call.method) {
        Some(handler) => handler(&call).await,
        None => Err(ErrorObject::new(METHOD_NOT_FOUND, "Method not found")),
    };
    let json = outcome.map_err(|error| {
        let status = match (error.code, call.era) {
            (METHOD_NOT_FOUND, Era::Modern) => StatusCode::NOT_FOUND,
            (INTERNAL_ERROR, _) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        };
        Refusal { status, id: Some(call.id), error }
    })?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json))
}

fn server_info() -> Implementation {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    Implementation { name, title: "MCP authorization, step by step", version }
}

/// `initialize` (MCP 2025-11-25 "Lifecycle"): which of our versions, and what we can do.
pub async fn initialize(call: &Call<'_>) -> Result<InitializeResult, ErrorObject> {
    call.only_in(Era::Legacy)?;
    let asked: InitializeParams = call.params()?;
    Ok(InitializeResult {
        protocol_version: LEGACY.into_iter().find(|version| *version == asked.protocol_version).unwrap_or(LEGACY[0]),
        capabilities: call.methods.capabilities(),
        server_info: server_info(),
        instructions: INSTRUCTIONS,
    })
}

/// `ping` (MCP 2025-11-25 "Ping"): are you there?
pub async fn ping(call: &Call<'_>) -> Result<EmptyResult, ErrorObject> {
    call.only_in(Era::Legacy)?;
    Ok(EmptyResult {})
}

/// `server/discover` (MCP 2026-07-28 "Discovery"): what `initialize` used to say.
pub async fn discover(call: &Call<'_>) -> Result<DiscoverResult, ErrorObject> {
    call.only_in(Era::Modern)?;
    Ok(DiscoverResult {
        supported_versions: served(),
        capabilities: call.methods.capabilities(),
        instructions: INSTRUCTIONS,
    })
}
