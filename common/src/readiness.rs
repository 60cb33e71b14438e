//! Whether a server's dependencies, such as its databases, can be used: for `/health`, which probes call again and
//! again and anybody may call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::{LocalBoxFuture, join_all};
use tokio::{sync::Mutex, time::timeout};

/// How long an answer is reused. However often `/health` is called, nothing is checked more often than this.
const AGE: Duration = Duration::from_secs(1);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

type Check = Box<dyn Fn() -> LocalBoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// The dependencies that must work for the server to work.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    last: Mutex<Option<(Instant, bool)>>,
    stopping: Arc<AtomicBool>,
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

    /// Once this is true, the server is not ready any more, whatever was found before.
    #[must_use]
    pub fn unless(self, stopping: Arc<AtomicBool>) -> Self {
        Readiness { stopping, ..self }
    }

    /// Whether everything works, as of at most a second ago. The reason for a failure is in the log only, since anybody
    /// may ask.
    pub async fn is_ready(&self) -> bool {
        if self.stopping.load(Relaxed) {
            return false;
        }
        let mut last = self.last.lock().await;
        if let Some((when, ready)) = *last
            && when.elapsed() < AGE
        {
            return ready;
        }
        let checks = self.checks.iter().map(async |(what, check)| {
            let outcome = timeout(TIMEOUT, check()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {TIMEOUT:?}")));
            outcome.inspect_err(|error| tracing::error!("not ready: {what}: {error:#}")).is_ok()
        });
        let ready = join_all(checks).await.into_iter().all(|ready| ready);
        *last = Some((Instant::now(), ready));
        ready
    }
}
