//! The method table. A request's `method` is looked up in it, and what the method returns is written as a JSON-RPC
//! response: in one place, so that the methods need not know JSON-RPC.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{ContentType, HeaderValue, RETRY_AFTER},
    },
};
use common::{
    jsonrpc::{ErrorObject, Failure, INTERNAL_ERROR, METHOD_NOT_FOUND, Success, written},
    mcp::{CacheScope, Caching, Era, Implementation, McpResult, ServerCapabilities},
    params::{self, Text},
};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::auth::Caller;
use crate::notes::UNAVAILABLE;

/// How long a client may keep a list, in milliseconds: one minute.
const TTL_MS: u32 = 60_000;
const CACHE_SCOPE: CacheScope = CacheScope::Private; // what somebody sees depends on their permissions

/// A request that asks for something to be done. Every method gets one.
pub struct Call<'a> {
    pub http: &'a HttpRequest,
    pub caller: &'a Caller,
    pub methods: &'a Methods,
    pub id: &'a RawValue,
    pub method: Cow<'a, str>,
    /// An object; [`Call::params`] reads it.
    pub params: &'a RawValue,
    /// Which of the two protocols it speaks. The check that [`Methods::new`] is given decides.
    pub era: Era,
    /// The member `name` of the params. The same check finds it.
    pub name: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// The method's own parameters, as its own type.
    pub fn params<T: Deserialize<'a>>(&self) -> Result<T, ErrorObject> {
        params::read(self.params)
            .map_err(|misfit| ErrorObject::invalid_params(format!("The params do not fit: {misfit}.")))
    }

    /// A method of the other era does not exist in this one.
    pub fn only_in(&self, era: Era) -> Result<(), ErrorObject> {
        if self.era == era { Ok(()) } else { Err(ErrorObject::method_not_found()) }
    }

    /// The name of the tool or prompt, for methods that have one.
    pub fn name(&self) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text>(self.name?.get()).ok().map(|text| text.0)
    }

    /// The response of a request that is not carried out.
    pub fn refuse(&self, status: StatusCode, error: &ErrorObject) -> HttpResponse {
        HttpResponseBuilder::new(status).json(Failure::new(Some(self.id), error))
    }

    /// The response of a method that failed.
    fn fail(&self, error: &ErrorObject) -> HttpResponse {
        let status = match (error.code, self.era) {
            (METHOD_NOT_FOUND, Era::Modern) => StatusCode::NOT_FOUND,
            (INTERNAL_ERROR, _) => StatusCode::INTERNAL_SERVER_ERROR,
            (UNAVAILABLE, _) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let mut response = self.refuse(status, error);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(2));
        }
        response
    }

    /// The response, with what the modern era adds to every result ("Result", "Caching").
    fn write<R: McpResult>(&self, result: R) -> Result<Vec<u8>, ErrorObject> {
        let mut reply = Reply { result, result_type: None, caching: None, meta: None };
        reply.meta.get_or_insert_default().user = Some(&self.caller.naming().meta);
        if matches!(&*self.method, "initialize" | "server/discover") {
            reply.meta.get_or_insert_default().handshake = Some(&self.methods.handshake);
        }
        if self.era == Era::Modern {
            reply.result_type = Some("complete");
            reply.caching = R::CACHEABLE.then_some(Caching { ttl_ms: TTL_MS, cache_scope: CACHE_SCOPE });
            reply.meta.get_or_insert_default().server_info = Some(&self.methods.server_info);
        }
        let mut json = Vec::with_capacity(512); // most answers fit
        serde_json::to_writer(&mut json, &Success::new(self.id, reply)).map_err(ErrorObject::internal)?;
        Ok(json)
    }
}

/// A result with what is added to it; a legacy result stays plain.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a, R> {
    #[serde(flatten)]
    result: R,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(flatten)]
    caching: Option<Caching>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Meta<'a>>,
}

/// `_meta`: what accompanies the result.
#[derive(Default, Serialize)]
struct Meta<'a> {
    #[serde(rename = "io.github.mcp-auth-steps/user", skip_serializing_if = "Option::is_none")]
    user: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/serverInfo", skip_serializing_if = "Option::is_none")]
    server_info: Option<&'a RawValue>,
    #[serde(flatten)]
    handshake: Option<&'a Map<String, Value>>,
}

/// Looks at a call before its method is looked up: sets its era, or answers it.
pub type Check = fn(&mut Call<'_>) -> Result<(), HttpResponse>;
/// Lets a call pass, or answers it.
pub type Guard = Box<dyn Fn(&Call<'_>) -> Result<(), HttpResponse> + Send + Sync>;
type Method = Box<dyn for<'a> Fn(&'a Call<'a>) -> LocalBoxFuture<'a, Result<Vec<u8>, ErrorObject>> + Send + Sync>;

/// What can be called, and by what name.
pub struct Methods {
    table: HashMap<&'static str, Method>,
    check: Check,
    guard: Guard,
    /// Written once, since every modern response has it.
    server_info: Box<RawValue>,
    handshake: Map<String, Value>,
}

impl Methods {
    pub fn new(check: Check, guard: Guard) -> Self {
        Methods { table: HashMap::new(), check, guard, server_info: written(&server_info()), handshake: Map::new() }
    }

    /// Adds a method.
    pub fn on<R, F>(mut self, name: &'static str, method: F) -> Self
    where
        R: McpResult,
        F: for<'a> AsyncFn(&'a Call<'a>) -> Result<R, ErrorObject> + Send + Sync + 'static,
    {
        let method = Arc::new(method);
        let method: Method = Box::new(move |call| {
            let method = Arc::clone(&method);
            Box::pin(async move { call.write(method(call).await?) })
        });
        self.table.insert(name, method);
        self
    }

    /// Puts a value into the `_meta` of what `initialize` and `server/discover` answer.
    pub fn in_handshake(mut self, key: &str, value: Value) -> Self {
        self.handshake.insert(key.to_owned(), value);
        self
    }

    /// A capability is there if the method that lists it is.
    pub fn capabilities(&self) -> ServerCapabilities {
        let capability = |list: &str| self.table.contains_key(list).then(Map::new);
        ServerCapabilities { tools: capability("tools/list"), prompts: capability("prompts/list") }
    }
}

/// Carries a request out.
pub async fn answer(mut call: Call<'_>) -> Result<HttpResponse, HttpResponse> {
    (call.methods.check)(&mut call)?;
    let method = call.methods.table.get(&*call.method);
    let method = method.ok_or_else(|| call.fail(&ErrorObject::method_not_found()))?;
    (call.methods.guard)(&call)?;
    let json = method(&call).await.map_err(|error| call.fail(&error))?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json))
}

pub fn server_info() -> Implementation {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    Implementation { name, title: "MCP authorization, step by step", version }
}
