//! Where a program begins.

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

    /// Keeps tokens and registrations there. A token of the settings is kept nowhere.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Client { store, ..self }
    }

    /// Lets somebody see each exchange and each comparison.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        Client { observer: Some(observer), ..self }
    }

    /// Collects there what must not be shown: for a program that prints what servers say.
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

    /// The same, as if nobody were logged in. What is kept stays, until there is something to replace it.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn log_in(self) -> Result<Session> {
        let mut flow = self.flow().await?;
        flow.start_over();
        let mut session = Session::connect(flow).await?;
        if session.grant().is_none() {
            // Some servers let everybody begin, and ask later.
            session.tools().await?;
        }
        Ok(session)
    }

    /// Withdraws the tokens at the authorization server (RFC 7009), and forgets all that is kept, in any case.
    ///
    /// # Errors
    /// If what is kept cannot be removed. Whether the tokens are withdrawn is the value: if not, they stay good until they
    /// expire.
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
