//! Who is calling: the library's middleware before `/mcp`, and the [`Caller`](resource_server::Caller) that it passes
//! on. This file has only what this server adds: the names in its log and in the headers of its answers.

use std::{
    future::{Ready, ready},
    ops::Deref,
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use common::{
    claims::Claims,
    requests::{LogRefusal, LogUser},
};
use resource_server::{ResourceServer, actix};

use crate::caller::Naming;

/// The person behind a request: the library's caller, with the names that this server has for it.
#[derive(Clone)]
pub struct Caller(resource_server::Caller);

impl Caller {
    /// How answers name this person: written once for each token.
    pub fn naming(&self) -> &Naming {
        self.0.remember(Naming::new)
    }

    /// As the library knows the person.
    pub fn verified(&self) -> &resource_server::Caller {
        &self.0
    }
}

impl Deref for Caller {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(resource_server::Caller::from_request(req, payload).into_inner().map(Caller))
    }
}

/// The middleware: passes a request with a good token on; otherwise the library answers.
pub async fn authenticate<B: MessageBody + 'static>(
    resource_server: web::Data<ResourceServer>,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let mut response = actix::authenticate(resource_server, req, next).await?;
    let caller = response.request().extensions().get::<resource_server::Caller>().cloned();
    if let Some(caller) = caller.map(Caller) {
        response.request().extensions_mut().insert(LogUser(caller.username().to_owned()));
        caller.naming().put_into(response.headers_mut());
    }
    log_refusal(response.response_mut());
    Ok(response)
}

/// Writes to this server's log why the library has refused a request.
fn log_refusal<B>(response: &mut HttpResponse<B>) {
    let mut extensions = response.extensions_mut();
    if let Some(resource_server::LogRefusal { reason, detail, .. }) = extensions.remove() {
        extensions.insert(LogRefusal { reason, detail });
    }
}
