//! What is in the documents of authorization servers.

use serde_json::Value;
use url::Url;

use super::{resource_document::is_secure, server_documents::each};
use crate::{context::Context, model::Judged};

/// The members that are addresses of endpoints.
const ENDPOINTS: [&str; 6] = [
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "jwks_uri",
];

pub async fn endpoints(context: &Context) -> Judged {
    each(context, |document| {
        let missing: Vec<_> =
            ENDPOINTS[..2].iter().filter(|name| !document.json[**name].is_string()).copied().collect();
        (!missing.is_empty()).then(|| format!("{} is missing.", missing.join(" and ")))
    })
    .await
}

pub async fn secure_endpoints(context: &Context) -> Judged {
    each(context, |document| {
        let named = ENDPOINTS.iter().filter_map(|name| Some((name, document.json[*name].as_str()?)));
        let good = |text: &str| Url::parse(text).is_ok_and(|url| is_secure(&url) && url.fragment().is_none());
        let bad: Vec<_> = named.filter(|(_, url)| !good(url)).map(|(name, url)| format!("{name} is {url:?}")).collect();
        (!bad.is_empty()).then(|| format!("{}.", bad.join(", ")))
    })
    .await
}

pub async fn response_types(context: &Context) -> Judged {
    each(context, |document| {
        let missing = !document.texts("response_types_supported").contains(&"code");
        missing.then(|| "`response_types_supported` does not have `code`.".to_owned())
    })
    .await
}

pub async fn pkce(context: &Context) -> Judged {
    each(context, |document| {
        let missing = !document.texts("code_challenge_methods_supported").contains(&"S256");
        missing.then(|| "`code_challenge_methods_supported` does not have `S256`.".to_owned())
    })
    .await
}

pub async fn plain(context: &Context) -> Judged {
    each(context, |document| {
        let offered = document.texts("code_challenge_methods_supported").contains(&"plain");
        offered.then(|| "`code_challenge_methods_supported` has `plain`.".to_owned())
    })
    .await
}

pub async fn removed(context: &Context) -> Judged {
    each(context, |document| {
        let grants =
            document.texts("grant_types_supported").into_iter().filter(|one| matches!(*one, "implicit" | "password"));
        let types = document.texts("response_types_supported");
        let types = types.into_iter().filter(|one| one.split(' ').any(|part| part == "token"));
        let offered: Vec<_> = grants.chain(types).collect();
        (!offered.is_empty()).then(|| format!("It offers {}.", offered.join(", ")))
    })
    .await
}

pub async fn iss(context: &Context) -> Judged {
    each(context, |document| {
        let missing = document.json["authorization_response_iss_parameter_supported"] != Value::Bool(true);
        missing.then(|| "`authorization_response_iss_parameter_supported` is not true.".to_owned())
    })
    .await
}

pub async fn client_documents(context: &Context) -> Judged {
    each(context, |document| {
        let missing = document.json["client_id_metadata_document_supported"] != Value::Bool(true);
        missing.then(|| "`client_id_metadata_document_supported` is not true.".to_owned())
    })
    .await
}

pub async fn public_clients(context: &Context) -> Judged {
    each(context, |document| {
        let missing = !document.texts("token_endpoint_auth_methods_supported").contains(&"none");
        missing.then(|| "`token_endpoint_auth_methods_supported` does not have `none`.".to_owned())
    })
    .await
}

pub async fn alg_none(context: &Context) -> Judged {
    each(context, |document| {
        let offered = document.texts("token_endpoint_auth_signing_alg_values_supported").contains(&"none");
        offered.then(|| "`token_endpoint_auth_signing_alg_values_supported` has `none`.".to_owned())
    })
    .await
}

pub async fn signing_algorithms(context: &Context) -> Judged {
    each(context, |document| {
        let methods = document.texts("token_endpoint_auth_methods_supported");
        let signed = methods.iter().any(|method| method.ends_with("_jwt"));
        let silent = document.texts("token_endpoint_auth_signing_alg_values_supported").is_empty();
        (signed && silent).then(|| "`token_endpoint_auth_signing_alg_values_supported` is missing.".to_owned())
    })
    .await
}
