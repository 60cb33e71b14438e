//! What an operator does with people. All of it is in the database, so every replica knows it with the next request.

use anyhow::{Result, bail, ensure};
use oauth::identifiers::Subject;
use serde::Serialize;

use super::Users;
use crate::{clock, store};

const ROLES: [&str; 3] = ["admin", "user", "guest"];

/// A person, as a list shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// What they type, and see.
    pub name: String,
    /// The id by which tokens and data refer to them.
    pub sub: String,
    /// Of `admin`, `user` and `guest`.
    pub roles: Vec<String>,
    /// Whether they are kept from logging in.
    pub disabled: bool,
    /// When they last logged in (RFC 3339), if that is known.
    pub last_log_in: Option<String>,
}

impl From<store::Person> for Person {
    fn from(person: store::Person) -> Self {
        Person {
            name: person.name,
            sub: person.sub.as_str().to_owned(),
            roles: person.roles.split_whitespace().map(str::to_owned).collect(),
            disabled: person.disabled,
            last_log_in: person.last_log_in.map(clock::date),
        }
    }
}

/// What a person lets a client do at one resource, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// The person's name.
    pub user: String,
    /// The client's `client_id`.
    pub client_id: String,
    /// The name that it gave itself, if it has registered itself. Nobody has checked it.
    pub client_name: Option<String>,
    /// The MCP server.
    pub resource: String,
    /// All that some token of the client may be good for.
    pub scopes: Vec<&'static str>,
    /// When the person last let it in (RFC 3339).
    pub given_at: String,
}

impl Users {
    /// Everybody, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self) -> Result<Vec<Person>> {
        Ok(self.store.people().await?.into_iter().map(Person::from).collect())
    }

    /// Lets one more person log in.
    ///
    /// # Errors
    /// If the name is taken, one of the three cannot be used, or the database cannot be written.
    pub async fn add(&self, name: &str, roles: &str, password: &str) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('-'),
            "a name has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and does not begin with '-'"
        );
        let roles = checked(roles)?;
        let hash = self.hash(password).await?;
        // Not made from the name: somebody else may have had that name before.
        let sub = Subject::new(format!("user_{}", uuid::Uuid::new_v4()));
        let added = self.store.add_person(&sub, name, &hash, &roles).await?;
        ensure!(added, "there is already an account named {name}");
        tracing::info!(event = "user_added", user = sub.as_str(), roles, "one more person can log in");
        Ok(())
    }

    /// Changes a password, and ends everything that began with the old one: anybody who knew it is logged out, and the
    /// clients they let in can no longer refresh.
    ///
    /// # Errors
    /// If nobody has the name, the password cannot be used, or the database cannot be written.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<()> {
        let hash = self.hash(password).await?;
        let sub = known(name, self.store.change_password(name, &hash).await?)?;
        tracing::info!(
            event = "password_changed",
            user = sub.as_str(),
            "all sessions, browsers and tokens of before have ended"
        );
        Ok(())
    }

    /// Ends a person's sessions, codes and refresh families, and refuses their log-ins as if the password were wrong.
    ///
    /// # Errors
    /// If nobody has the name, or the database cannot be written.
    pub async fn disable(&self, name: &str) -> Result<()> {
        let sub = known(name, self.store.set_disabled(name, true).await?)?;
        tracing::info!(event = "user_disabled", user = sub.as_str(), "all sessions and tokens have ended");
        Ok(())
    }

    /// Lets a person who was disabled log in again. What has ended stays so.
    ///
    /// # Errors
    /// If nobody has the name, or the database cannot be written.
    pub async fn enable(&self, name: &str) -> Result<()> {
        let sub = known(name, self.store.set_disabled(name, false).await?)?;
        tracing::info!(event = "user_enabled", user = sub.as_str(), "the person can log in");
        Ok(())
    }

    /// Deletes a person, and their sessions, known browsers, codes, refresh families and consents. Nobody gets the `sub`
    /// again. What MCP servers keep, such as notes, stays there.
    ///
    /// # Errors
    /// If nobody has the name, or nobody else is there, or the database cannot be written.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let removed = self.store.remove_person(name).await?;
        if removed.is_none() && self.store.person_named(name).await?.is_some() {
            bail!("{name} is the only person: add another one first");
        }
        let sub = known(name, removed)?;
        tracing::info!(event = "user_removed", user = sub.as_str(), "with everything that is theirs here");
        Ok(())
    }

    /// Gives a person these roles, with spaces between them, in place of those of before. Tokens have them from the next
    /// log-in or refresh on; an access token that was issued keeps the old ones for as long as it is good.
    ///
    /// # Errors
    /// If nobody has the name, there is no such role, or the database cannot be written.
    pub async fn set_roles(&self, name: &str, roles: &str) -> Result<()> {
        let roles = checked(roles)?;
        let sub = known(name, self.store.set_roles(name, &roles).await?)?;
        tracing::info!(
            event = "roles_changed",
            user = sub.as_str(),
            roles,
            "tokens have them from the next refresh on"
        );
        Ok(())
    }

    /// What people let clients do: everybody, or the person of this name. Of each person, the newest 1,000.
    ///
    /// # Errors
    /// If nobody has the name, or the database cannot be read.
    pub async fn consents(&self, name: Option<&str>) -> Result<Vec<Consent>> {
        let people = match name {
            Some(name) => vec![self.named(name).await?],
            None => self.store.people().await?,
        };
        let mut all = Vec::new();
        for person in people {
            all.extend(self.store.consents(&person.sub).await?.into_iter().map(|consent| Consent {
                user: person.name.clone(),
                client_id: consent.client_id,
                client_name: consent.client_name,
                resource: consent.resource,
                scopes: consent.scopes,
                given_at: clock::date(consent.given_at),
            }));
        }
        Ok(all)
    }

    /// Ends what a person lets a client do, with the client's codes and refresh families of this person.
    ///
    /// # Errors
    /// If nobody has the name, the person has not let the client in, or the database cannot be written.
    pub async fn withdraw(&self, name: &str, client_id: &str) -> Result<()> {
        let person = self.named(name).await?;
        let ended = self.store.withdraw(&person.sub, client_id).await?;
        ensure!(ended, "{name} has let in no client {client_id:?}");
        let user = person.sub.as_str();
        tracing::info!(event = "consent_withdrawn", user, client = client_id, "codes and refresh tokens have ended");
        Ok(())
    }

    async fn named(&self, name: &str) -> Result<store::Person> {
        let Some((person, _)) = self.store.person_named(name).await? else {
            bail!("there is no account named {name:?}");
        };
        Ok(person)
    }
}

/// Whose `name` it is.
fn known(name: &str, sub: Option<Subject>) -> Result<Subject> {
    let Some(sub) = sub else { bail!("there is no account named {name:?}") };
    Ok(sub)
}

/// Roles that there are, with one space between them.
fn checked(roles: &str) -> Result<String> {
    let roles: Vec<_> = roles.split_whitespace().collect();
    ensure!(
        !roles.is_empty() && roles.iter().all(|role| ROLES.contains(role)),
        "the roles are one or more of {}, with spaces between them",
        ROLES.join(", ")
    );
    Ok(roles.join(" "))
}
