//! Whether what a server stands on can be used, such as its databases: for `/health`, which probes ask again and again,
//! and which anybody may ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use tokio::{sync::Mutex, time::timeout};

/// How long an answer counts. However often `/health` is asked, nothing is checked more often.
const AGE: Duration = Duration::from_secs(1);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

type Check = Box<dyn Fn() -> LocalBoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What must work for the server to work.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    /// Adds something that must work, with its name for the log.
    #[must_use]
    pub fn with<F>(mut self, what: &'static str, check: F) -> Self
    where
        F: AsyncFn() -> anyhow::Result<()> + Send + Sync + 'static,
    {
        let check = Arc::new(check);
        let check: Check = Box::new(move || {
            let check = Arc::clone(&check);
            Box::pin(async move { check().await })
        });
        self.checks.push((what, check));
        self
    }

    /// Whether everything works, as of a second ago at most. Why not is in the log, and not for everybody.
    pub async fn is_ready(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((when, ready)) = *last
            && when.elapsed() < AGE
        {
            return ready;
        }
        let mut ready = true;
        for (what, check) in &self.checks {
            let outcome = timeout(TIMEOUT, check()).await;
            if let Err(error) = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {TIMEOUT:?}"))) {
                tracing::error!("not ready: {what}: {error:#}");
                ready = false;
            }
        }
        *last = Some((Instant::now(), ready));
        ready
    }
}
