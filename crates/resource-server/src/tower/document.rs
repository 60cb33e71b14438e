//! The protected-resource document, served.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use tower_service::Service;

use crate::resource_server::ResourceServer;

/// The service that answers with the protected-resource document (RFC 9728): to be mounted at each of
/// [`ResourceServer::metadata_paths`].
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    /// The document of this resource server.
    ///
    /// # Panics
    /// Never: the document is JSON.
    pub fn new(resource_server: &ResourceServer) -> Self {
        Document(serde_json::to_vec(resource_server.metadata()).expect("its keys are strings").into())
    }
}

impl<B> Service<Request<B>> for Document {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::from(self.0.clone()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            *response.body_mut() = Full::default();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        std::future::ready(Ok(response))
    }
}
