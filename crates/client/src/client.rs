//! The library's starting point.

use std::sync::Arc;

use crate::{
    failure::Result,
    flow::Flow,
    http::Http,
    mcp::Session,
    observer::Observer,
    revocation::revoke,
    secrets::Secrets,
    settings::Settings,
    store::{Memory, Store},
};

/// A client of one MCP server.
pub struct Client {
    settings: Settings,
    store: Arc<dyn Store>,
    observer: Option<Arc<dyn Observer>>,
    secrets: Arc<Secrets>,
}

impl Client {
    /// A client that keeps its tokens in memory.
    ///
    /// # Errors
    /// If the settings do not fit together.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Client { settings, store: Arc::new(Memory::default()), observer: None, secrets: Arc::default() })
    }

    /// Keeps tokens and registrations in this store. A token from the settings is never stored.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Client { store, ..self }
    }

    /// Shows each exchange and each comparison to an observer.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        Client { observer: Some(observer), ..self }
    }

    /// Collects the secrets that must not be shown, for a program that prints what servers say.
    #[must_use]
    pub fn secrets(self, secrets: Arc<Secrets>) -> Self {
        Client { secrets, ..self }
    }

    /// Connects to the MCP server. If that needs a token, this gets one; the person may have to log in.
    ///
    /// # Errors
    /// If there is no server, no authorization, or no version of MCP that both speak.
    pub async fn connect(self) -> Result<Session> {
        Session::connect(self.flow().await?).await
    }

    /// The same, but ignores stored tokens. They stay until new ones replace them.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn log_in(self) -> Result<Session> {
        let mut flow = self.flow().await?;
        flow.start_over();
        let mut session = Session::connect(flow).await?;
        if session.grant().is_none() {
            // Some servers let everybody begin, and ask for a token later.
            session.tools().await?;
        }
        Ok(session)
    }

    /// Withdraws the tokens at the authorization server (RFC 7009), and deletes everything that is stored, in any case.
    ///
    /// # Errors
    /// If something stored cannot be removed. The value says whether the tokens were withdrawn; if not, they stay good
    /// until they expire.
    pub async fn log_out(self) -> Result<Result<()>> {
        let store = self.store.clone();
        let held = store.lock().await?;
        let withdrawn = self.revoke(&*store).await;
        held.remove()?;
        Ok(withdrawn)
    }

    async fn revoke(self, store: &dyn Store) -> Result<()> {
        let credentials = store.load()?;
        credentials.hide(&self.secrets);
        let Some(grant) = &credentials.grant else { return Ok(()) };
        let http = Http::new(self.settings, self.observer, self.secrets).await?;
        revoke(&http, grant).await
    }

    async fn flow(self) -> Result<Flow> {
        let http = Http::new(self.settings, self.observer, self.secrets).await?;
        Flow::new(http, self.store)
    }
}
