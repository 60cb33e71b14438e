//! The person at a terminal: a browser that opens, or an address to open, and to paste.

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use client::{person::Person, urls::parse_url};
use tokio::sync::mpsc::Sender;
use url::Url;

use crate::secrets::CLIENT_SECRET;

/// The longest line that is pasted, in bytes.
const LONGEST_PASTE: u64 = 8_192;
/// The most lines that are read.
const MOST_PASTES: usize = 100;

pub struct AtTerminal {
    /// Whether to open a browser.
    pub browser: bool,
    /// Whether to read the address that the browser came back to from standard input, even if that is not a terminal.
    pub paste: bool,
}

impl Person for AtTerminal {
    /// Tells the person where to go, and opens the browser if there is one.
    fn show_log_in(&self, address: &Url, pasted: Sender<String>) {
        let may_paste = self.may_paste();
        let opened = self.browser && open_browser(address);
        let hint =
            if opened { "Your browser should show the log-in. If it does not, open:" } else { "To log in, open:" };
        self.tell(&format!("{hint}\n\n  {address}\n"));
        if !opened {
            let how = if may_paste {
                "paste that page's address here"
            } else {
                "with --paste, its address can be given here"
            };
            self.tell(&format!("If the browser runs on another computer, its last page will not load: {how}."));
        }
        if may_paste {
            read_lines(pasted);
        }
    }

    /// To standard error: standard output is for results.
    fn tell(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

impl AtTerminal {
    /// Whether we may read standard input: if the person says so, or if it is a terminal and we are in its foreground.
    /// Otherwise it may be input for another program, or reading it would stop us.
    fn may_paste(&self) -> bool {
        let foreground =
            || rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp());
        self.paste || (std::io::stdin().is_terminal() && foreground())
    }
}

/// A separate thread reads what is pasted, because a read cannot be cancelled. It ends with the program.
fn read_lines(pasted: Sender<String>) {
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = String::new();
        // A line that is longer than any address is read in pieces, none of which is one.
        for _ in 0..MOST_PASTES {
            let read = (&mut input).take(LONGEST_PASTE).read_line(&mut line);
            if !read.is_ok_and(|read| read > 0) || pasted.blocking_send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
}

/// Opens a URL without a shell: the launcher gets it as one argument, which begins with `http`.
fn open_browser(url: &Url) -> bool {
    // The browser does not need the client's secret in our environment.
    let spawn = |mut launcher: Command| {
        launcher.env_remove(CLIENT_SECRET).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        launcher.process_group(0).spawn().is_ok()
    };
    parse_url(url.as_str()).is_ok() && open::commands(url.as_str()).into_iter().any(spawn)
}
