//! What the endpoints share.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use oauth::{
    identifiers::{ClientId, Issuer, Resource},
    redirect_uri::AppSchemes,
};

use crate::{
    cimd::{self, Fetcher},
    client::Client,
    keys::Keys,
    refresh_token::RefreshTokens,
    resource,
    store::Store,
    users::Users,
};

/// What the endpoints share.
pub(crate) struct State {
    pub issuer: Issuer,
    /// The path of its URL, without a slash at the end.
    pub path: String,
    /// What tokens are issued for.
    pub resources: Vec<Resource>,
    pub keys: Keys,
    pub store: Store,
    pub users: Users,
    /// Those in the operator's file.
    pub listed: HashMap<ClientId, Client>,
    pub schemes: AppSchemes,
    pub fetcher: Fetcher,
    pub form_key: hmac::Key,
    pub refresh_tokens: RefreshTokens,
}

/// Why a client is not known.
#[derive(Debug)]
pub(crate) enum ClientProblem {
    Document(cimd::Problem),
    Internal(anyhow::Error),
}

impl State {
    /// The path of a page of ours for browsers, which know it below the issuer.
    pub fn at(&self, page: &str) -> String {
        format!("{}{page}", self.path)
    }

    /// The client of this id, wherever it is known from: the operator's file, its own document, or its registration.
    ///
    /// # Errors
    /// If its document cannot be had, or the database not be read.
    pub async fn client(&self, id: &str) -> Result<Option<Client>, ClientProblem> {
        let id = ClientId::new(id);
        if let Some(client) = self.listed.get(&id) {
            return Ok(Some(client.clone()));
        }
        let self_hosted = cimd::is_client_id_url(id.as_str()).is_some();
        let (metadata, secret_digest) = if self_hosted {
            (self.fetcher.fetch(id.as_str()).await.map_err(ClientProblem::Document)?, None)
        } else {
            match self.store.registered(id.as_str()).await.map_err(ClientProblem::Internal)? {
                Some(registered) => (registered.metadata, registered.secret_digest),
                None => return Ok(None),
            }
        };
        Ok(Some(Client { id, metadata, secret_digest, roles: Vec::new(), self_hosted, listed: false }))
    }

    /// The resource that a client means. It may be left out where we know only one (RFC 8707 §2).
    pub fn resource(&self, asked: Option<&str>) -> Option<&Resource> {
        match (asked, &self.resources[..]) {
            (Some(asked), all) => all.iter().find(|known| resource::is_same(known.as_str(), asked)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}
