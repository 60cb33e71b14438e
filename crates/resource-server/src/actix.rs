//! For actix-web: [`authenticate`] is the middleware, [`Caller`] an extractor, and [`documents`] mounts the
//! protected-resource document.

use std::future::{Ready, ready};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        StatusCode,
        header::{AUTHORIZATION, HeaderValue},
    },
    middleware::Next,
    web,
};
use oauth::challenge::Challenge;

use crate::{answer::Answer, caller::Caller, refusal::Refusal, resource_server::ResourceServer};

/// The middleware, for `wrap(from_fn(authenticate))`: a good token, or an answer from here. The application has the
/// [`ResourceServer`] as `app_data(web::Data::new(…))`. Handlers take a [`Caller`]; a refusal's
/// [`LogRefusal`](crate::LogRefusal) is in the response's extensions.
///
/// # Errors
/// Those of the service behind it.
pub async fn authenticate<B: MessageBody + 'static>(
    resource_server: web::Data<ResourceServer>,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let authorization = req.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes);
    match resource_server.authenticate(authorization).await {
        Ok(caller) => {
            req.extensions_mut().insert(caller);
            Ok(next.call(req).await?.map_into_left_body())
        }
        Err(refusal) => {
            let answer = resource_server.answer(&refusal, None);
            Ok(req.into_response(HttpResponse::from(answer)).map_into_right_body())
        }
    }
}

/// Mounts the protected-resource document at its paths: `App::new().configure(documents(&resource_server))`.
pub fn documents(resource_server: &ResourceServer) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    let resource_server = resource_server.clone();
    move |app| {
        for path in resource_server.metadata_paths() {
            let resource_server = resource_server.clone();
            let document = move || ready(HttpResponse::Ok().json(resource_server.metadata()));
            app.service(web::resource(path).get(document));
        }
    }
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        for header in answer.headers {
            response.insert_header(header);
        }
        let mut response = response.body(answer.body);
        response.extensions_mut().insert(answer.log);
        response
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(req.extensions().get::<Caller>().cloned().ok_or_else(|| {
            // Without the middleware in front of this handler, nobody gets in.
            let answer = Answer::new(&Refusal::token_missing(), Challenge::new("Bearer"), None);
            InternalError::from_response("there is no caller", answer.into()).into()
        }))
    }
}
