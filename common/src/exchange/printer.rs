//! The thread that writes exchanges to standard output. It is not waited for: a terminal that takes nothing holds up no
//! request.

use std::{
    fmt::Write as _,
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use clap::builder::styling::{AnsiColor, Style};

use crate::config::in_colour;

/// Exchanges that may wait to be written. Further ones are left out, and counted.
const WAITING: usize = 64;

static PRINTER: OnceLock<Printer> = OnceLock::new();

struct Printer {
    queue: SyncSender<Message>,
    left_out: AtomicUsize,
}

enum Message {
    Exchange {
        lines: Vec<Line>,
        /// Exchanges before this one that are not shown.
        left_out: usize,
    },
    /// To be told when all that came before has been written.
    Flush(SyncSender<()>),
}

/// A line that is shown, by what it is.
pub(super) enum Line {
    Heading(String),
    Request(String),
    Response { failed: bool, text: String },
    Remark(String),
}

/// Shows the exchanges of this process from now on.
///
/// # Errors
/// If there can be no thread.
pub(crate) fn start() -> io::Result<()> {
    let (queue, messages) = sync_channel(WAITING);
    if PRINTER.set(Printer { queue, left_out: AtomicUsize::new(0) }).is_ok() {
        std::thread::Builder::new().name("exchanges".to_owned()).spawn(move || write_all(&messages))?;
    }
    Ok(())
}

/// Whether exchanges are shown.
pub(super) fn is_on() -> bool {
    PRINTER.get().is_some()
}

/// Has an exchange written, if there is room for it in the queue.
pub(super) fn show(lines: impl FnOnce() -> Vec<Line>) {
    let Some(printer) = PRINTER.get() else { return };
    let left_out = printer.left_out.swap(0, Relaxed);
    if printer.queue.try_send(Message::Exchange { lines: lines(), left_out }).is_err() {
        printer.left_out.fetch_add(left_out + 1, Relaxed);
    }
}

/// Waits, not for ever, until what there is to show has been written.
pub(crate) fn flush() {
    if let Some(printer) = PRINTER.get() {
        let (written, wait) = sync_channel(0);
        if printer.queue.try_send(Message::Flush(written)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Ends when nobody reads our output: that is no reason not to serve.
fn write_all(messages: &Receiver<Message>) {
    let colours = in_colour(&io::stdout());
    let mut number = 0;
    for message in messages {
        let (lines, left_out) = match message {
            Message::Exchange { lines, left_out } => (lines, left_out),
            Message::Flush(written) => {
                let _ = written.send(());
                continue;
            }
        };
        let mut text = String::new();
        if left_out > 0 {
            text = format!("({left_out} left out here: they came faster than they could be written.)\n\n");
        }
        number += left_out + 1;
        for line in lines {
            line.write(&mut text, number, colours);
        }
        text.push('\n');
        let mut output = io::stdout().lock();
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

impl Line {
    fn write(&self, to: &mut String, number: usize, colours: bool) {
        let (style, text) = match self {
            Line::Heading(text) => (Style::new().bold(), format!("{number}. {text}")),
            Line::Request(text) => (AnsiColor::Cyan.on_default(), format!("   > {text}")),
            Line::Response { failed: false, text } => (AnsiColor::Green.on_default(), format!("   < {text}")),
            Line::Response { failed: true, text } => (AnsiColor::Yellow.on_default(), format!("   < {text}")),
            Line::Remark(text) => (Style::new().italic(), format!("   {text}")),
        };
        let text = text.trim_end();
        let _ = if colours { writeln!(to, "{style}{text}{style:#}") } else { writeln!(to, "{text}") };
    }
}
