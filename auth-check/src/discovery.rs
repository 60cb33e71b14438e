//! The metadata documents of the server under test, found as a client finds them.

use oauth::well_known;
use url::Url;

use crate::{
    context::Context,
    documents::{Document, KeySets, Place, Server, Servers},
    message::{Exchange, Request},
    model::{Revision, Unmet},
};

/// The most authorization servers whose metadata is read.
const MAX_SERVERS: usize = 5;
/// The most redirects to one document.
const MAX_REDIRECTS: usize = 3;

impl Context {
    /// Fetches a document. Redirects are followed within the origin.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn document(&self, url: &Url) -> Result<Result<Document, Exchange>, Unmet> {
        let mut exchange = self.ask(Request::get(url)).await?;
        for _ in 0..MAX_REDIRECTS {
            let redirects = (300..400).contains(&exchange.came.status);
            let own = |next: &Url| next.origin() == exchange.sent.url.origin();
            match exchange.location().filter(|next| redirects && own(next)) {
                Some(next) => exchange = self.ask(Request::get(&next)).await?,
                None => break,
            }
        }
        let json = exchange.json().filter(|json| json.is_object() && exchange.came.status == 200);
        Ok(match json {
            Some(json) => Ok(Document { exchange, json }),
            None => Err(exchange),
        })
    }

    /// All places where the resource's document may be: the challenge's first.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn places(&self) -> Result<&Vec<Place>, Unmet> {
        let all = self.places.get_or_init(async || {
            let named = self.anonymous().await?.came.challenge("resource_metadata");
            let named = named.and_then(|url| Url::parse(&url).ok()).filter(|url| self.http.allows(url).is_ok());
            let mut places = Vec::new();
            for url in named.iter().cloned().chain(well_known::of_resource(&self.target)) {
                if places.iter().any(|place: &Place| place.url == url) {
                    continue;
                }
                let answer = self.document(&url).await?;
                places.push(Place { challenged: named.as_ref() == Some(&url), url, answer });
            }
            Ok(places)
        });
        all.await.as_ref().map_err(Clone::clone)
    }

    /// The resource's document: the first that is found.
    ///
    /// # Errors
    /// If there is none.
    pub async fn resource(&self) -> Result<&Document, Unmet> {
        let found = self.places().await?.iter().find_map(|place| place.answer.as_ref().ok());
        found.ok_or_else(|| Unmet("a document about the resource".to_owned()))
    }

    /// The authorization servers that the resource names, but for the one that runs here; in 2025-03-26 the server itself.
    ///
    /// # Errors
    /// If there is none, or it may not be asked.
    pub async fn servers(&self) -> Result<&Servers, Unmet> {
        let all = self.servers.get_or_init(async || {
            let issuers: Vec<String> = if self.revision == Revision::R2025_03_26 {
                vec![self.target.origin().ascii_serialization()]
            } else {
                let own = |issuer: &&str| issuer.trim_end_matches('/') == self.attacker.server.url();
                let listed = self.resource().await?.texts("authorization_servers");
                listed.into_iter().filter(|one| !own(one)).map(str::to_owned).collect()
            };
            if issuers.is_empty() {
                return Err(Unmet("an authorization server other than the mock issuer".to_owned()));
            }
            let mut servers = Vec::new();
            for issuer in issuers.into_iter().take(MAX_SERVERS) {
                let Ok(url) = Url::parse(&issuer) else { continue };
                servers.push(Server { documents: self.server_documents(&url).await?, issuer });
            }
            Ok(servers)
        });
        all.await.as_ref().map_err(Clone::clone)
    }

    async fn server_documents(&self, issuer: &Url) -> Result<Result<Vec<Document>, Exchange>, Unmet> {
        let (mut documents, mut refusal) = (Vec::new(), None);
        for place in well_known::of_issuer(issuer) {
            match self.document(&place).await? {
                Ok(document) => documents.push(document),
                Err(exchange) => refusal = refusal.or(Some(exchange)),
            }
        }
        Ok(match refusal {
            Some(exchange) if documents.is_empty() => Err(exchange),
            _ => Ok(documents),
        })
    }

    /// The first document of each authorization server that has one.
    ///
    /// # Errors
    /// If no server can be asked.
    pub async fn server_metadata(&self) -> Result<Vec<(&Server, &Document)>, Unmet> {
        let servers = self.servers().await?.iter();
        let first = servers.filter_map(|server| Some((server, server.documents.as_ref().ok()?.first()?)));
        Ok(first.collect())
    }

    /// The key sets of all authorization servers that name one.
    ///
    /// # Errors
    /// If there is none, or no answer.
    pub async fn key_sets(&self) -> Result<&KeySets, Unmet> {
        let all = self.key_sets.get_or_init(async || {
            let mut sets = Vec::new();
            for (_, document) in self.server_metadata().await? {
                let url = document.url("jwks_uri");
                let Some(url) = url else { continue };
                sets.push(self.document(&url).await?);
            }
            if sets.is_empty() { Err(Unmet("a jwks_uri".to_owned())) } else { Ok(sets) }
        });
        all.await.as_ref().map_err(Clone::clone)
    }
}
