//! The part of a person's account that tokens need.

use oauth::{claims::SCOPES, identifiers::Subject};

use crate::store::Person;

/// The part of a person's account that tokens need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The id by which tokens and data refer to the person. It never changes, and is never given to somebody else.
    pub sub: Subject,
    /// What they type, and see.
    pub name: String,
    /// Of `admin`, `user` and `guest`.
    pub roles: Vec<String>,
}

impl From<Person> for Account {
    fn from(Person { sub, name, roles, .. }: Person) -> Self {
        Account { sub, name, roles: roles.split_whitespace().map(str::to_owned).collect() }
    }
}

impl Account {
    /// The scopes that the person can let a client use: a role is the ceiling of what they may do
    /// themselves.
    pub fn grantable(&self) -> Vec<&'static str> {
        let has = |role| self.roles.iter().any(|name| name == role);
        let all = has("admin") || has("user");
        SCOPES
            .into_iter()
            .filter(|scope| all || (has("guest") && matches!(*scope, "mcp:read" | "mcp:prompts")))
            .collect()
    }
}
