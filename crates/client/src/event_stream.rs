//! Server-sent events, as far as MCP uses them: the `data` of each event (WHATWG HTML §9.2.6 "Interpreting an event
//! stream"). As that section says, a reader ignores what it does not know or cannot use: this is no place to be strict.
//!
//! It is written by hand because no kept crate reads as that section says. `sse-stream` 0.2.6 ends a stream with an error at
//! what has to be ignored: an unknown field, a line without a colon, a `retry` that is not a number, `id` twice in one event.
//! `eventsource-stream` 0.2.3 sees an event whose last line ends with CR only when more bytes come, though a server may
//! send none and wait; and it reads an unfinished line anew with each chunk, so that the cost of a long line grows with the
//! square of its length.

/// Takes the bytes of a stream as they come.
#[derive(Default)]
pub struct EventStream {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    began: bool,
    after_cr: bool,
}

impl EventStream {
    /// Takes one byte; the data of an event, if it was that event's last.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        // A line ends with CR, LF, or both.
        let second_of_two = self.after_cr && byte == b'\n';
        self.after_cr = byte == b'\r';
        match byte {
            _ if second_of_two => None,
            b'\r' | b'\n' => self.end_of_line(),
            _ => {
                self.line.push(byte);
                None
            }
        }
    }

    fn end_of_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        // A byte order mark may come first of all.
        let bom = if self.began { None } else { line.strip_prefix(b"\xef\xbb\xbf") };
        self.began = true;
        let line = bom.unwrap_or(&line);
        if line.is_empty() {
            return self.data.take();
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let mut stream = EventStream::default();
        text.bytes().filter_map(|byte| stream.push(byte)).map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_and_what_is_ignored() {
        for (text, found) in [
            ("data: a\n\n", &["a"][..]),
            ("data:a\r\n\r\ndata:  b\r\rdata\n\n", &["a", " b", ""]),
            ("data: a\ndata: b\n\n", &["a\nb"]),
            (": comment\nid: 1\nevent: message\nretry: soon\nretry\nfoo: bar\nfoo\ndata: a\n\n", &["a"]),
            ("\u{feff}data: a\n\n", &["a"]),
            ("id: 1\n\n\n", &[]),
            ("data: unfinished\n", &[]),
        ] {
            assert_eq!(events(text), found, "{text:?}");
        }
    }
}
