//! The bytes of an answer (RFC 9112).

use anyhow::{Result, bail, ensure};

use crate::message::Reply;

/// The most bytes of an answer that are read.
pub(crate) const MAX_ANSWER: usize = 1 << 20;
/// The most interim answers (1xx) in front of one.
const MAX_INTERIM: usize = 8;

/// Reads an answer, once it is there; of one that has ended, or of which no more is wanted, what there is.
///
/// # Errors
/// If it is not HTTP, or has no end of its headers.
pub fn reply(mut bytes: &[u8], method: &str, ended: bool) -> Result<Option<Reply>> {
    for _ in 0..=MAX_INTERIM {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(bytes)? else {
            ensure!(
                bytes.len() <= MAX_ANSWER,
                "auth-check stopped reading after {MAX_ANSWER} bytes without an end of its headers"
            );
            ensure!(!ended, "the connection was closed without an answer");
            return Ok(None);
        };
        bytes = &bytes[head..];
        if !matches!(response.code, Some(100..200)) {
            return with_body(&response, bytes, method, ended);
        }
    }
    bail!("more than {MAX_INTERIM} interim answers came in front of it")
}

/// The answer that has this head, if its body is there too.
fn with_body(response: &httparse::Response<'_, '_>, rest: &[u8], method: &str, ended: bool) -> Result<Option<Reply>> {
    let status = response.code.unwrap_or_default();
    let headers = response.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
    let mut answer = Reply { status, headers, body: Vec::new() };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(Some(answer));
    }
    let chunked =
        answer.header("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    let body = if chunked {
        dechunked(rest)?
    } else if let Some(length) = answer.header("content-length") {
        let Ok(length) = length.trim().parse::<usize>() else { bail!("its Content-Length is not a number") };
        (rest[..rest.len().min(length)].to_vec(), rest.len() >= length)
    } else {
        (rest.to_vec(), false)
    };
    answer.body = body.0;
    // A stream need not end: its first event is what was asked for.
    let stream = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let event = stream && answer.event().is_some();
    Ok((body.1 || ended || event).then_some(answer))
}

/// The data of complete chunks, and whether the last is there (RFC 9112 §7.1).
fn dechunked(mut rest: &[u8]) -> Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((_, 0))) => return Ok((body, true)),
            Ok(httparse::Status::Complete((start, size))) => {
                let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
                let Some(data) = end.and_then(|end| rest.get(start..end)) else { return Ok((body, false)) };
                body.extend_from_slice(data);
                rest = rest.get(start + data.len() + 2..).unwrap_or_default();
            }
            Ok(httparse::Status::Partial) => return Ok((body, false)),
            Err(_) => bail!("its chunks are malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_says_or_with_the_connection() {
        let read = |text: &str, ended| reply(text.as_bytes(), "POST", ended).unwrap().map(|it| (it.status, it.body));
        let full = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(read(full, false), Some((200, b"ab".to_vec())));
        assert_eq!(read(&full[..full.len() - 1], false), None);
        assert_eq!(read(&full[..full.len() - 1], true), Some((200, b"a".to_vec())));
        let chunked = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        assert_eq!(read(chunked, false), Some((401, b"abc".to_vec())));
        assert_eq!(read(&chunked[..chunked.len() - 8], false), None);
        let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\ndata: {\"a\":1}\n\n";
        assert!(read(stream, false).is_some() && read(&stream[..stream.len() - 2], false).is_none());
        let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(MAX_ANSWER);
        let why = reply(endless.as_bytes(), "GET", true).unwrap_err().to_string();
        assert!(why.contains("stopped reading after 1048576 bytes"), "{why}");
        assert!(reply(b"", "GET", true).is_err() && reply(b"SSH-2.0\r\n", "GET", false).is_err());
    }
    #[test]
    fn interim_answers_do_not_go_on_for_ever() {
        let many = |number| "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(number) + "HTTP/1.1 204 X\r\n\r\n";
        let read = |number| reply(many(number).as_bytes(), "GET", false);
        assert!(read(8).unwrap().is_some_and(|it| it.status == 204));
        assert!(read(9).is_err() && read(40_000).is_err());
    }
}
