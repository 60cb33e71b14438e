//! Who is calling.

use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::service::{Answering, Body, ready};
use crate::resource_server::ResourceServer;

/// The layer that lets only requests with a good token through. It puts the [`Caller`](crate::Caller) into the request's
/// extensions; a refusal's [`LogRefusal`](crate::LogRefusal) is in the response's.
#[derive(Clone)]
pub struct Authenticate(ResourceServer);

impl Authenticate {
    /// The layer for this resource server.
    pub fn new(resource_server: &ResourceServer) -> Self {
        Authenticate(resource_server.clone())
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = AuthenticateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthenticateService { resource_server: self.0.clone(), inner }
    }
}

/// A service behind [`Authenticate`].
#[derive(Clone)]
pub struct AuthenticateService<S> {
    resource_server: ResourceServer,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for AuthenticateService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = Answering<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = ready(&mut self.inner);
        let resource_server = self.resource_server.clone();
        Box::pin(async move {
            let headers = request.headers().get_all(AUTHORIZATION);
            let values: Vec<HeaderValue> = headers.iter().cloned().collect(); // the body need not be shared with a thread
            match resource_server.authenticate(values.iter().map(HeaderValue::as_bytes)).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    Ok(inner.call(request).await?.map(Either::Right))
                }
                Err(refusal) => Ok(Response::from(resource_server.answer(&refusal, None)).map(Either::Left)),
            }
        })
    }
}
