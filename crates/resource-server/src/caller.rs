//! The caller: the person, and the client that acts for them, for whom a verified token speaks.

use std::{
    any::Any,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use oauth::claims::Claims;

/// The person or program behind a request. Only a verified token makes one, so a handler that takes a `Caller` cannot
/// be reached without a valid token. It derefs to the token's [`Claims`]; a clone is the same caller, and costs
/// nothing.
#[derive(Clone)]
pub struct Caller(Arc<Known>);

struct Known {
    claims: Claims,
    remembered: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Caller {
    pub(crate) fn new(claims: Claims) -> Self {
        Caller(Arc::new(Known { claims, remembered: OnceLock::new() }))
    }

    /// A value that a server computes from the claims for its answers, such as a header's value: computed once for each
    /// verified token, not for each request. It is remembered as long as the token. There is only one value, so a
    /// program uses one type for `T`.
    ///
    /// # Panics
    /// If the caller remembers a value of another type.
    pub fn remember<T: Any + Send + Sync>(&self, make: impl FnOnce(&Claims) -> T) -> &T {
        let value = self.0.remembered.get_or_init(|| Box::new(make(&self.0.claims)));
        value.downcast_ref().expect("a program uses one type")
    }
}

impl Deref for Caller {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0.claims
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("iss", &self.iss).field("sub", &self.sub).finish_non_exhaustive()
    }
}
