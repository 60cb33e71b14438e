//! Which scopes an MCP server's tools need: decided here, before the server behind reads the message.

use std::{
    collections::HashMap,
    error::Error,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::ALLOW};
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body,
    message::{INVALID_PARAMS, Message},
    service::{Answering, Body, ready},
};
use crate::{answer::Answer, caller::Caller, refusal::Refusal, resource_server::ResourceServer};

/// A good token is enough for these: everybody may ask what there is.
const FREE: [&str; 4] = ["initialize", "ping", "server/discover", "tools/list"];

/// The layer that reads each message and lets it pass only if its caller may send it: for servers whose messages carry
/// all that they need, without sessions, behind [`Authenticate`](super::Authenticate). It refuses what is not in its
/// table: a tool without an entry, and a method other than `initialize`, `ping`, `server/discover`, `tools/list` and
/// notifications.
///
/// The decision is made by the body alone, which is at most 1 MiB, arrives within ten seconds, and is handed on as it
/// came. A missing scope is answered with 403 and a challenge that names it (MCP 2026-07-28 "Scope Challenge Handling").
#[derive(Clone)]
pub struct Permissions(Arc<Table>);

#[derive(Clone)]
struct Table {
    resource_server: ResourceServer,
    methods: HashMap<String, Vec<String>>,
    tools: HashMap<String, Vec<String>>,
}

impl Permissions {
    /// A table without tools.
    pub fn new(resource_server: &ResourceServer) -> Self {
        let methods = FREE.into_iter().map(|method| (method.to_owned(), Vec::new())).collect();
        Permissions(Arc::new(Table { resource_server: resource_server.clone(), methods, tools: HashMap::new() }))
    }

    /// A tool, and the scopes of which a caller needs one; none: a good token is enough.
    #[must_use]
    pub fn tool<S: Into<String>>(mut self, name: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Arc::make_mut(&mut self.0).tools.insert(name.into(), scopes);
        self
    }

    /// A method other than `tools/call`, such as `prompts/get`, likewise.
    #[must_use]
    pub fn method<S: Into<String>>(mut self, name: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Arc::make_mut(&mut self.0).methods.insert(name.into(), scopes);
        self
    }
}

impl Table {
    /// Whether the caller may send what is in the body; else the answer.
    fn check(&self, caller: Option<&Caller>, body: &[u8]) -> Result<(), Answer> {
        let Some(caller) = caller else {
            return Err(self.resource_server.answer(&Refusal::token_missing(), None)); // Authenticate is not in front
        };
        let message = Message::read(body)
            .map_err(|malformed| Answer::rpc_error(400, malformed.code, malformed.message, malformed.id.as_deref()))?;
        let id = message.id.as_deref();
        let forbidden = |reason, why| Err(self.resource_server.answer(&Refusal::forbidden(reason, why), id));
        let scopes = match &*message.method {
            "tools/call" => {
                let name = message.name();
                let name =
                    name.ok_or_else(|| Answer::rpc_error(400, INVALID_PARAMS, "The params name no tool.", id))?;
                match self.tools.get(name) {
                    Some(scopes) => scopes,
                    None => return forbidden("tool_forbidden", "Nobody is permitted to call this tool."),
                }
            }
            method if id.is_none() && method.starts_with("notifications/") => return Ok(()),
            method => match self.methods.get(method) {
                Some(scopes) => scopes,
                None => return forbidden("method_forbidden", "Nobody is permitted to call this method."),
            },
        };
        if scopes.is_empty() || scopes.iter().any(|scope| caller.scope.contains(scope)) {
            return Ok(());
        }
        let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
        Err(self.resource_server.answer(&Refusal::insufficient_scope(&[&scopes]), id))
    }
}

impl<S> Layer<S> for Permissions {
    type Service = PermissionsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PermissionsService { table: Arc::clone(&self.0), inner }
    }
}

/// A service behind [`Permissions`].
#[derive(Clone)]
pub struct PermissionsService<S> {
    table: Arc<Table>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for PermissionsService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = Answering<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = ready(&mut self.inner);
        let table = Arc::clone(&self.table);
        Box::pin(async move {
            // Anybody who knew a session's id could read its stream, so there are no sessions here.
            if request.method() != Method::POST {
                let refusal = Refusal::new(405, Some("method_not_allowed"), "request_malformed", "Send a POST.");
                let mut response = Response::from(table.resource_server.answer(&refusal, None));
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                return Ok(response.map(Either::Left));
            }
            let (parts, body) = request.into_parts();
            let checked = match body::read(body).await {
                Ok(body) => table.check(parts.extensions.get(), &body).map(|()| body),
                Err(refusal) => Err(table.resource_server.answer(&refusal, None)),
            };
            match checked {
                Ok(body) => {
                    let request = Request::from_parts(parts, Full::from(body));
                    Ok(inner.call(request).await?.map(Either::Right))
                }
                Err(answer) => Ok(Response::from(answer).map(Either::Left)),
            }
        })
    }
}
