//! Why a resource server does not start.

/// The configuration cannot be used: a sentence for the person who wrote it. No secret is in it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(#[from] anyhow::Error);
