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

/// Each document must list this value.
async fn lists(context: &Context, member: &str, value: &str) -> Judged {
    each(context, |document| {
        let missing = !document.texts(member).contains(&value);
        missing.then(|| format!("`{member}` does not have `{value}`."))
    })
    .await
}

/// No document may list this value.
async fn lacks(context: &Context, member: &str, value: &str) -> Judged {
    each(context, |document| {
        let listed = document.texts(member).contains(&value);
        listed.then(|| format!("`{member}` has `{value}`."))
    })
    .await
}

/// Each document must say yes to this.
async fn says_yes(context: &Context, member: &str) -> Judged {
    each(context, |document| {
        let missing = document.json[member] != Value::Bool(true);
        missing.then(|| format!("`{member}` is not true."))
    })
    .await
}

pub async fn response_types(context: &Context) -> Judged {
    lists(context, "response_types_supported", "code").await
}

pub async fn pkce(context: &Context) -> Judged {
    lists(context, "code_challenge_methods_supported", "S256").await
}

pub async fn plain(context: &Context) -> Judged {
    lacks(context, "code_challenge_methods_supported", "plain").await
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
    says_yes(context, "authorization_response_iss_parameter_supported").await
}

pub async fn client_documents(context: &Context) -> Judged {
    says_yes(context, "client_id_metadata_document_supported").await
}

pub async fn public_clients(context: &Context) -> Judged {
    lists(context, "token_endpoint_auth_methods_supported", "none").await
}

pub async fn alg_none(context: &Context) -> Judged {
    lacks(context, "token_endpoint_auth_signing_alg_values_supported", "none").await
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
