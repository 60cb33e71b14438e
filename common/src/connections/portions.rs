//! What was read from a connection and how much of it is handed over: up to the end of one head, or of the body that the
//! handler waits for.

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::turn::Turn;

#[derive(Default)]
pub(super) struct Portions {
    /// What was read and is not for now.
    pub held: BytesMut,
    /// What was handed over ends in a line's end.
    after_newline: bool,
    /// Bytes handed over behind the last head; with whether that was in this round of the dispatcher.
    head: Option<(usize, bool)>,
}

impl Portions {
    /// The whole body of the request under way was handed over.
    pub fn are_whole(&self, turn: &Turn) -> bool {
        turn.under_way.get()
            && matches!((turn.length.get(), self.head), (Some(length), Some((behind, _))) if behind >= length)
    }

    /// Something was handed over in this round of the dispatcher.
    pub fn were_handed(&self) -> bool {
        matches!(self.head, Some((_, true)))
    }

    /// The dispatcher's round ends.
    pub fn end_round(&mut self) {
        self.head = self.head.map(|(behind, _)| (behind, false));
    }

    /// How much of what comes next may be handed over: up to the end of a head, or of the body that is waited for.
    pub fn allowed(&mut self, turn: &Turn, bytes: &[u8]) -> usize {
        let under_way = turn.under_way.get();
        if under_way && let Some(length) = turn.length.get() {
            let behind = self.head.map_or(0, |(behind, _)| behind);
            let count = bytes.len().min(length.saturating_sub(behind));
            self.head = Some((behind + count, true));
            return count;
        }
        // A head ends with an empty line (RFC 9112 §2.1), and so does a body in chunks (§7.1).
        let (mut start, mut end, mut count) = (0, None, bytes.len());
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let empty = (start > 0 || self.after_newline) && matches!(&bytes[start..newline], b"" | b"\r");
            start = newline + 1;
            if !empty {
                continue;
            }
            if under_way {
                count = start;
                break;
            }
            if let Some(end) = end {
                // With one head in it, the rest would be its body, or the beginning of another.
                count = end;
                break;
            }
            end = Some(start);
        }
        let last = bytes[..count].strip_suffix(b"\r").unwrap_or(&bytes[..count]);
        self.after_newline = last.last().map_or(self.after_newline, |last| *last == b'\n');
        if under_way {
            self.head = Some((0, true));
        } else if let Some(end) = end {
            self.head = Some((count - end, true));
        }
        count
    }

    /// Hands over what may be.
    pub fn hand_over(&mut self, turn: &Turn, buf: &mut ReadBuf<'_>) {
        let mut held = std::mem::take(&mut self.held);
        let room = held.len().min(buf.remaining());
        let count = self.allowed(turn, &held[..room]);
        buf.put_slice(&held[..count]);
        held.advance(count);
        if !held.is_empty() {
            self.held = held;
        }
    }
}
