//! What people let clients do, to be shown and withdrawn.

use anyhow::Result;
use oauth::{claims::SCOPES, client_metadata::ClientMetadata, identifiers::Subject};

use super::{
    Store,
    grants::{CONSENT_LIFETIME, FAMILY_LIFETIME},
};
use crate::database::query;

/// How many rows are read for one person, the newest first.
const MOST: i64 = 1000;

/// What a person lets a client do at one resource.
pub(crate) struct Consent {
    pub client_id: String,
    /// The name that the client gave itself at its registration.
    pub client_name: Option<String>,
    pub resource: String,
    /// All that some token of the client may be good for.
    pub scopes: Vec<&'static str>,
    /// The last time, in seconds since 1970.
    pub given_at: i64,
}

impl Store {
    /// What a person lets clients do, the newest first. A consent is remembered without its scopes of before, which a refresh
    /// family may still have: so both count.
    pub async fn consents(&self, user: &Subject) -> Result<Vec<Consent>> {
        let select = r#"SELECT client_id, resource, scope, max(at) AS last, (SELECT metadata FROM clients WHERE id = client_id)
            FROM (SELECT client_id, resource, scope, given_at AS at FROM consents WHERE "user" = $1 AND given_at > $2
                UNION ALL SELECT client_id, resource, scope, expires_at - $3 FROM families
                WHERE "user" = $1 AND NOT revoked AND expires_at > $4) AS allowed
            GROUP BY client_id, resource, scope ORDER BY last DESC, client_id, resource, scope LIMIT $5"#;
        let rows: Vec<(String, String, String, i64, Option<String>)> = query(select)
            .bind(user.as_str())
            .bind(self.now() - CONSENT_LIFETIME)
            .bind(FAMILY_LIFETIME)
            .bind(self.now())
            .bind(MOST)
            .fetch_all(&self.database)
            .await?;
        let mut consents: Vec<Consent> = Vec::new();
        for (client_id, resource, scope, given_at, metadata) in rows {
            let has = |known: &&&str| scope.split(' ').any(|one| one == **known);
            let scopes: Vec<_> = SCOPES.iter().filter(has).copied().collect();
            let same = |known: &&mut Consent| known.client_id == client_id && known.resource == resource;
            if let Some(known) = consents.iter_mut().find(same) {
                known.scopes = SCOPES.into_iter().filter(|s| known.scopes.contains(s) || scopes.contains(s)).collect();
                continue;
            }
            let metadata: Option<ClientMetadata> = metadata.as_deref().map(serde_json::from_str).transpose()?;
            let client_name = metadata.and_then(|metadata| metadata.client_name);
            consents.push(Consent { client_id, client_name, resource, scopes, given_at });
        }
        Ok(consents)
    }

    /// Ends what a person lets a client do: the consent, and the families that came from it. Says whether there was any.
    pub async fn withdraw(&self, user: &Subject, client_id: &str) -> Result<bool> {
        let withdrawal = self.database.transaction(None, async |all| {
            let mut ended = 0;
            for statement in [
                r#"DELETE FROM consents WHERE "user" = $1 AND client_id = $2"#,
                r#"UPDATE families SET revoked = TRUE WHERE "user" = $1 AND client_id = $2 AND NOT revoked"#,
            ] {
                ended += query(statement).bind(user.as_str()).bind(client_id).execute(&mut *all).await?;
            }
            Ok(ended > 0)
        });
        Ok(withdrawal.await?)
    }
}
