//! What people let clients do: the consent (`consents`), the code (`codes`), and the family of all tokens that follow from
//! it (`families`).

use anyhow::Result;
use oauth::{
    identifiers::{ClientId, RedirectUri, Resource, Subject},
    scope::Scopes,
    secret::Digest,
};
use uuid::Uuid;

use super::Store;
use crate::database::query;

/// How long a code is good for, in seconds (OAuth 2.1 §4.1.2: ten minutes at most).
const CODE_LIFETIME: i64 = 60;
/// How long a person need not consent again, while the client keeps refreshing: thirty days.
pub(crate) const FAMILY_LIFETIME: i64 = 30 * 24 * 3600;
/// How long the server remembers that a person let a client in, in seconds: as long as the client may go on refreshing.
/// This only adds a sentence to the consent page; the person is asked each time.
pub(crate) const CONSENT_LIFETIME: i64 = 30 * 24 * 3600;

/// Whether a client has a person's consent that is still valid.
pub(super) const HAS_FAMILY: &str = "SELECT EXISTS (SELECT 1 FROM families WHERE client_id = $1 AND expires_at > $2)";

/// What a person grants.
pub(crate) struct Grant<'a> {
    pub client_id: &'a ClientId,
    pub user: &'a Subject,
    /// In which the person grants it.
    pub session: &'a Digest,
    pub scope: &'a Scopes,
    pub resource: &'a Resource,
    pub redirect_uri: &'a RedirectUri,
    /// RFC 7636 §4.2, S256.
    pub code_challenge: &'a str,
}

/// A code that was issued.
#[allow(clippy::struct_field_names, reason = "so RFC 7636 calls it")]
pub(crate) struct Code {
    pub family: Uuid,
    pub redirect_uri: RedirectUri,
    pub code_challenge: String,
    pub used: bool,
    /// In seconds since 1970.
    pub expires_at: i64,
}

/// What has become of a code that was to be redeemed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Now,
    /// Somebody else redeemed it.
    Before,
    /// It was withdrawn, with all that would have followed.
    Ended,
}

/// One consent, and all the tokens that follow from it.
pub(crate) struct Family {
    pub id: Uuid,
    pub client_id: ClientId,
    pub user: Subject,
    pub scope: Scopes,
    pub resource: Resource,
    pub revoked: bool,
    /// Of its refresh token, if it has one: the used ones are known by their signature ([`crate::refresh_token`]).
    pub refresh_digest: Option<Digest>,
}

impl Store {
    /// Whether the person has let this client in before.
    pub async fn has_consented(&self, user: &Subject, client_id: &ClientId, resource: &Resource) -> Result<bool> {
        let select = r#"SELECT EXISTS
            (SELECT 1 FROM consents WHERE "user" = $1 AND client_id = $2 AND resource = $3 AND given_at > $4)"#;
        let (found,) = query(select)
            .bind(user.as_str())
            .bind(client_id.as_str())
            .bind(resource.as_str())
            .bind(self.now() - CONSENT_LIFETIME)
            .fetch_one(&self.database)
            .await?;
        Ok(found)
    }

    /// Stores the whole grant or nothing. The code is valid from now on. Says whether the person is still logged in.
    pub async fn add_grant(&self, code: &Digest, grant: &Grant<'_>) -> Result<bool> {
        let (family, at) = (Uuid::new_v4().to_string(), self.now());
        let add = self.database.transaction(None, async |all| {
            // It changes nothing but waits for whoever ends what is the person's (store/users.rs).
            let person = query("UPDATE users SET disabled = FALSE WHERE sub = $1 AND NOT disabled");
            if person.bind(grant.user.as_str()).execute(&mut *all).await? == 0 {
                return Ok(false);
            }
            let session = query("SELECT EXISTS (SELECT 1 FROM sessions WHERE digest = $1 AND expires_at > $2)");
            let (lasts,): (bool,) = session.bind(grant.session.as_str()).bind(at).fetch_one(&mut *all).await?;
            if !lasts {
                return Ok(false);
            }
            query("UPDATE clients SET used_at = $1 WHERE id = $2")
                .bind(at)
                .bind(grant.client_id.as_str())
                .execute(&mut *all)
                .await?;
            query(
                r#"INSERT INTO families (id, client_id, "user", scope, resource, expires_at)
                VALUES ($1, $2, $3, $4, $5, $6)"#,
            )
            .bind(&family)
            .bind(grant.client_id.as_str())
            .bind(grant.user.as_str())
            .bind(grant.scope.as_str())
            .bind(grant.resource.as_str())
            .bind(at + FAMILY_LIFETIME)
            .execute(&mut *all)
            .await?;
            query(
                "INSERT INTO codes (digest, family, redirect_uri, code_challenge, expires_at)
                VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(code.as_str())
            .bind(&family)
            .bind(grant.redirect_uri.as_str())
            .bind(grant.code_challenge)
            .bind(at + CODE_LIFETIME)
            .execute(&mut *all)
            .await?;
            query(
                r#"INSERT INTO consents ("user", client_id, resource, scope, given_at) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT ("user", client_id, resource) DO UPDATE SET scope = $4, given_at = $5"#,
            )
            .bind(grant.user.as_str())
            .bind(grant.client_id.as_str())
            .bind(grant.resource.as_str())
            .bind(grant.scope.as_str())
            .bind(at)
            .execute(&mut *all)
            .await?;
            Ok(true)
        });
        Ok(add.await?)
    }

    /// A code, used or not, expired or not.
    pub async fn code(&self, code: &Digest) -> Result<Option<Code>> {
        let select = "SELECT family, redirect_uri, code_challenge, used, expires_at FROM codes WHERE digest = $1";
        let row: Option<(String, String, String, bool, i64)> =
            query(select).bind(code.as_str()).fetch_optional(&self.database).await?;
        let Some((family, redirect_uri, code_challenge, used, expires_at)) = row else { return Ok(None) };
        let (family, redirect_uri) = (family.parse()?, RedirectUri::new(redirect_uri));
        Ok(Some(Code { family, redirect_uri, code_challenge, used, expires_at }))
    }

    /// Redeems a code and gives its family its first refresh token: both or neither, so that a crash in between does
    /// not cost the person a log-in. The code is remembered as used for as long as its family lasts.
    pub async fn take_code(&self, code: &Digest, family: Uuid, refresh: Option<&Digest>) -> Result<Taken> {
        let take = "UPDATE codes SET used = TRUE, expires_at = (SELECT expires_at FROM families WHERE id = family)
             WHERE digest = $1 AND NOT used";
        let redemption = self.database.transaction(None, async |redemption| {
            if query(take).bind(code.as_str()).execute(&mut *redemption).await? == 0 {
                let still = query("SELECT EXISTS (SELECT 1 FROM codes WHERE digest = $1)").bind(code.as_str());
                let (still,): (bool,) = still.fetch_one(redemption).await?;
                return Ok(if still { Taken::Before } else { Taken::Ended });
            }
            // It changes the row also without a refresh token, and so waits for whoever ends the family.
            let give = query("UPDATE families SET refresh_digest = $1 WHERE id = $2 AND NOT revoked");
            let given = give.bind(refresh.map(Digest::as_str)).bind(family.to_string()).execute(redemption).await?;
            Ok(if given > 0 { Taken::Now } else { Taken::Ended })
        });
        Ok(redemption.await?)
    }

    /// A family, until it expires.
    pub async fn family(&self, id: Uuid) -> Result<Option<Family>> {
        let select = r#"SELECT client_id, "user", scope, resource, revoked, refresh_digest FROM families
             WHERE id = $1 AND expires_at > $2"#;
        let row: Option<(String, String, String, String, bool, Option<String>)> =
            query(select).bind(id.to_string()).bind(self.now()).fetch_optional(&self.database).await?;
        let Some((client_id, user, scope, resource, revoked, refresh_digest)) = row else { return Ok(None) };
        Ok(Some(Family {
            id,
            client_id: ClientId::new(client_id),
            user: Subject::new(user),
            scope: Scopes::parse(&scope).map_err(anyhow::Error::msg)?,
            resource: Resource::new(resource),
            revoked,
            refresh_digest: refresh_digest.map(Digest::kept),
        }))
    }

    /// Whether this client has a person's consent that is still valid.
    pub async fn has_family(&self, client_id: &str) -> Result<bool> {
        let (found,) = query(HAS_FAMILY).bind(client_id).bind(self.now()).fetch_one(&self.database).await?;
        Ok(found)
    }

    /// Replaces the current refresh token. Of several requests that come at once with the same token, only one
    /// succeeds; returns whether this one did.
    pub async fn rotate(&self, family: Uuid, old: &Digest, new: &Digest) -> Result<bool> {
        let rotate = "UPDATE families SET refresh_digest = $1 WHERE id = $2 AND refresh_digest = $3 AND NOT revoked";
        let rotated = query(rotate).bind(new.as_str()).bind(family.to_string()).bind(old.as_str());
        Ok(rotated.execute(&self.database).await? > 0)
    }

    /// Ends a family.
    pub async fn revoke_family(&self, id: Uuid) -> Result<()> {
        query("UPDATE families SET revoked = TRUE WHERE id = $1").bind(id.to_string()).execute(&self.database).await?;
        Ok(())
    }

    /// Ends a family, if it is this client's: says whether it was.
    pub async fn revoke_family_of(&self, client_id: &ClientId, id: Uuid) -> Result<bool> {
        let revoke = "UPDATE families SET revoked = TRUE WHERE client_id = $1 AND id = $2";
        let revoked = query(revoke).bind(client_id.as_str()).bind(id.to_string()).execute(&self.database).await?;
        Ok(revoked > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::Proof, tests::location};

    fn grant<'a>(of: &'a (ClientId, Subject, Scopes, Resource, RedirectUri), session: &'a Digest) -> Grant<'a> {
        let (client_id, user, scope, resource, redirect_uri) = of;
        Grant { client_id, user, session, scope, resource, redirect_uri, code_challenge: "x" }
    }

    #[actix_web::test]
    async fn nothing_is_granted_in_a_session_that_has_ended_nor_redeemed_once_it_was_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        let user = Subject::new("user_alice");
        store.add_person(&user, "alice", "a hash", "user").await.unwrap();
        let of = (
            ClientId::new("client"),
            user.clone(),
            Scopes::parse("mcp:read").unwrap(),
            Resource::new("http://localhost/mcp"),
            RedirectUri::new("http://localhost/callback"),
        );
        let (session, proof) = (Digest::of("session"), Proof { sub: &user, hash: "a hash" });
        let add = async |code: &str| store.add_grant(&Digest::of(code), &grant(&of, &session)).await.unwrap();
        assert!(!add("none").await, "there is no session yet");
        assert!(store.begin_session(&proof, None, &session, store.now() + 60).await.unwrap());
        for code in ["one", "two", "three"] {
            assert!(add(code).await);
        }
        let family = async |code: &str| store.code(&Digest::of(code)).await.unwrap().unwrap().family;
        let refresh = Digest::of("refresh");
        let take = async |code: &str, family| store.take_code(&Digest::of(code), family, Some(&refresh)).await.unwrap();
        let (one, two) = (family("one").await, family("two").await);
        assert_eq!((take("one", one).await, take("one", one).await), (Taken::Now, Taken::Before));
        assert_eq!(store.family(one).await.unwrap().unwrap().refresh_digest.as_ref(), Some(&refresh));
        // Of two who have the same refresh token, one replaces it.
        let (next, other) = (Digest::of("next"), Digest::of("other"));
        assert!(store.rotate(one, &refresh, &next).await.unwrap());
        assert!(!store.rotate(one, &refresh, &other).await.unwrap());
        assert_eq!(store.family(one).await.unwrap().unwrap().refresh_digest.as_ref(), Some(&next));
        store.revoke_family(two).await.unwrap();
        assert_eq!(take("two", two).await, Taken::Ended);
        assert_eq!(store.family(two).await.unwrap().unwrap().refresh_digest, None);
        assert_eq!(take("deleted", two).await, Taken::Ended);

        store.end_session(&session).await.unwrap();
        assert!(!add("four").await, "it has ended");
        assert!(store.begin_session(&proof, None, &session, store.now()).await.unwrap());
        assert!(!add("five").await, "it has expired");
    }
}
