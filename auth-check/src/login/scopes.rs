//! Tokens for fewer scopes than the first log-in asks for. Each takes the browser.

use std::collections::BTreeSet;

use super::outcome::{Granted, Narrow};
use crate::{access::first_scopes, context::Context, model::Unmet};

/// The most log-ins that are for fewer scopes.
const MAX_NARROW: usize = 6;

fn same(one: &str, other: &str) -> bool {
    let all = |text| first_scopes(text).into_iter().collect::<BTreeSet<_>>();
    all(one) == all(other)
}

impl Context {
    /// A token with exactly these scopes, of which there is at least one: the first log-in's, or that of one more.
    ///
    /// # Errors
    /// If the authorization server gives none.
    pub async fn logged_in_with(&self, scopes: &str) -> Result<String, Unmet> {
        let first = self.granted().await?;
        if first.scope.is_some_and(|granted| same(&granted, scopes)) {
            return self.good_token().await;
        }
        let mut narrow = self.login()?.narrow.lock().await;
        narrow.retain(|known| !known.granted.as_ref().is_ok_and(Granted::is_over));
        if let Some(known) = narrow.iter().find(|known| same(&known.scopes, scopes)) {
            return known.token();
        }
        if narrow.len() == MAX_NARROW {
            return Err(Unmet(format!("more than {MAX_NARROW} log-ins for fewer scopes")));
        }
        let granted = self.granted_for(scopes).await.and_then(|granted| {
            // An answer without `scope` grants what was asked for (RFC 6749 §5.1).
            let alone = granted.scope.as_ref().is_none_or(|granted| same(granted, scopes));
            let more = || Unmet(format!("an authorization server that gives a token for {scopes:?} and no more"));
            if alone { Ok(granted) } else { Err(more()) }
        });
        let known = Narrow { scopes: scopes.to_owned(), granted };
        let token = known.token();
        narrow.push(known);
        token
    }
}
