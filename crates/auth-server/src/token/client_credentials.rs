//! `client_credentials`: a client of the operator's file acts for itself.

use oauth::{claims::SCOPES, identifiers::Subject, scope::Scopes};

use super::{
    access_token::{self, About, Granted},
    parameters::asked_scope,
};
use crate::{client::Client, failure::Failure, params::Params, state::State};

/// `client_credentials` (OAuth 2.1 §4.2): a client of the operator's file, on its own behalf.
pub(super) fn grant(state: &State, client: &Client, form: &Params) -> Result<Granted, Failure> {
    if client.auth_method() == "none" || client.roles.is_empty() || !client.may_use("client_credentials") {
        return Err(Failure::bad("unauthorized_client", "This client may not act on its own behalf."));
    }
    let resource = state
        .resource(form.get("resource"))
        .ok_or_else(|| Failure::bad("invalid_target", "resource must be a server that tokens are issued for."))?;
    let allowed = client.metadata.scope.clone().unwrap_or_else(|| SCOPES.join(" "));
    let allowed = Scopes::parse(&allowed).map_err(anyhow::Error::msg)?;
    let scope = asked_scope(form, &allowed, "This client may not have these scopes.")?;
    let subject = Subject::new(client.id.as_str());
    let about = About { subject: &subject, username: None, roles: &client.roles };
    access_token::sign(state, client, &about, &scope, resource, None)
}
