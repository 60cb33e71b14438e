//! `step11 trace`: shows each exchange, numbered and explained. The library has masked the secrets.

use std::io::Write;

use clap::builder::styling::Style;
use client::{
    escape::{cut, escape, line},
    observer::{Event, Observer},
};

/// How many characters of a body are shown.
const SHOWN: usize = 1_200;

/// Where the trace goes.
pub enum Trace {
    Stdout,
    /// Where standard output has a result that is JSON.
    Stderr,
}

impl Observer for Trace {
    fn observe(&self, event: Event<'_>) {
        let one_line = |text: &str| cut(&line(text), SHOWN);
        match event {
            Event::Request { exchange, why, lines } => {
                self.heading(exchange, why);
                for text in &lines {
                    self.say(&format!("   > {}", one_line(text)));
                }
            }
            Event::Response { lines } => {
                for text in &lines {
                    self.say(&format!("   < {}", one_line(text)));
                }
            }
            Event::Body(body) => {
                if !body.is_empty() {
                    self.say(&format!("   < {}", cut(&escape(&body), SHOWN).replace('\n', "\n   < ")));
                }
                self.say("");
            }
            Event::BrowserLeaves { exchange, why, url } => {
                self.heading(exchange, why);
                self.say(&format!("   > GET {}", line(&url)));
            }
            Event::BrowserReturns { url } => self.say(&format!("   < GET {}", line(&url))),
            Event::Checked(text) | Event::Note(text) => self.say(&format!("   {}\n", one_line(&text))),
        }
    }
}

impl Trace {
    fn heading(&self, exchange: u32, why: &str) {
        let bold = Style::new().bold();
        self.say(&format!("{bold}{exchange}. {why}{bold:#}"));
    }

    /// A closed output is not a failure.
    fn say(&self, text: &str) {
        let _ = match self {
            Trace::Stdout => writeln!(anstream::stdout(), "{text}"),
            Trace::Stderr => writeln!(anstream::stderr(), "{text}"),
        };
    }
}
