//! The person who logs in, and what shows it to them: a browser, a terminal, a window of the program.

use std::io::Write;

use tokio::sync::mpsc;
use url::Url;

/// How the library reaches the person.
pub trait Person: Send + Sync {
    /// Shows the log-in: opens this address, or prints it. The answer arrives at a port of this computer. If the
    /// browser is on another computer, its last page does not load; the person can copy that page's address, and the
    /// program sends it to `pasted`. Must not block.
    fn show_log_in(&self, address: &Url, pasted: mpsc::Sender<String>);

    /// Something to know meanwhile, in one line.
    fn tell(&self, text: &str);
}

/// A person who reads standard error, and opens the address there in a browser of this computer.
pub struct Printed;

impl Person for Printed {
    fn show_log_in(&self, address: &Url, _pasted: mpsc::Sender<String>) {
        self.tell(&format!("To log in, open:\n\n  {address}\n"));
    }

    /// A closed standard error is not a failure.
    fn tell(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
