//! HTTP/1.1, as far as a bare client needs it: one request in flight per connection, replies with a length. It serves
//! Holdfast's own API and etcd's JSON gateway.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Malformed, Message, Protocol, VALUE, VALUE_BYTES, line, reply, write_key};

/// What is asked over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// One write to Holdfast.
    HoldfastPut,
    /// One linearizable read from Holdfast.
    HoldfastGet,
    /// So many writes to Holdfast in one transaction.
    HoldfastTxn(u64),
    /// One message to Holdfast's message log, with this write concern as JSON has it.
    HoldfastAppend(&'static str),
    /// One write to etcd's JSON gateway.
    EtcdPut,
    /// So many writes to etcd's JSON gateway in one transaction.
    EtcdTxn(u64),
}

/// Messages that were made in this process.
static APPENDED: AtomicU64 = AtomicU64::new(0);

/// [`VALUE`] in Base64: 85 groups of three equal letters and one of the rest.
const VALUE_BASE64: &str = const {
    assert!(VALUE_BYTES == 256 && VALUE[0] == b'v');
    "dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dg=="
};

impl Protocol for Http {
    fn request(&self, _client: u64, _tag: u64, keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        match self {
            Http::HoldfastPut => {
                out.extend_from_slice(b"PUT /v1/kv/");
                write_key(keys(), out);
                out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 256\r\n\r\n");
                out.extend_from_slice(&VALUE);
            }
            Http::HoldfastGet => {
                out.extend_from_slice(b"GET /v1/kv/");
                write_key(keys(), out);
                out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n\r\n");
            }
            Http::HoldfastTxn(puts) => {
                let mut body = Vec::with_capacity(*puts as usize * (VALUE_BYTES + 64));
                body.extend_from_slice(b"{\"success\":[");
                for put in 0..*puts {
                    let begin: &[u8] =
                        if put == 0 { b"{\"put\":{\"key\":\"" } else { b",{\"put\":{\"key\":\"" };
                    body.extend_from_slice(begin);
                    write_key(keys(), &mut body);
                    body.extend_from_slice(b"\",\"value\":\"");
                    body.extend_from_slice(&VALUE);
                    body.extend_from_slice(b"\"}}");
                }
                body.extend_from_slice(b"]}");
                post("/v1/txn", &body, out);
            }
            Http::HoldfastAppend(concern) => {
                // The log takes the same message once, so that each has a number.
                let number = APPENDED.fetch_add(1, Ordering::Relaxed);
                let mut body = format!("{{\"w\":{concern},\"message\":\"{number:016x}").into_bytes();
                body.extend_from_slice(&VALUE[16..]);
                body.extend_from_slice(b"\"}");
                post("/messages", &body, out);
            }
            Http::EtcdPut => post("/v3/kv/put", etcd_put(keys()).as_bytes(), out),
            Http::EtcdTxn(puts) => {
                let puts: Vec<String> =
                    (0..*puts).map(|_| format!("{{\"requestPut\":{}}}", etcd_put(keys()))).collect();
                post("/v3/kv/txn", format!("{{\"success\":[{}]}}", puts.join(",")).as_bytes(), out);
            }
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        let Some(response) = response(bytes)? else { return Ok(None) };
        // A read of a key that was never written is an answer, too.
        let ok = if matches!(self, Http::HoldfastAppend(_)) { 201 } else { 200 };
        let done = response.status == ok || (*self == Http::HoldfastGet && response.status == 404);
        Ok(reply(response.head + response.body, done))
    }

    fn units(&self) -> u64 {
        if let Http::HoldfastTxn(puts) | Http::EtcdTxn(puts) = self { *puts } else { 1 }
    }
}

/// The gateway wants Base64: sixteen digits of a number and six zeros make a key that is as long as the others'.
fn etcd_put(key: u64) -> String {
    format!("{{\"key\":\"{key:016}AAAAAA==\",\"value\":\"{VALUE_BASE64}\"}}")
}

/// A whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Bytes of the head, with the empty line.
    pub(crate) head: usize,
    /// Bytes of the body.
    pub(crate) body: usize,
}

/// The response at the beginning of `bytes`, if it is whole.
///
/// # Errors
///
/// If it is none, or has no length.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<Response>, Malformed> {
    let (mut at, mut status, mut length, mut chunked) = (0, None, None, false);
    while let Some((end, next)) = line(&bytes[at..]) {
        let text = &bytes[at..at + end];
        at += next;
        if text.is_empty() {
            let status = status.ok_or_else(|| Malformed::new("a response without a status", bytes))?;
            let bodiless = status == 204 || status == 304;
            let body = match length {
                Some(length) => length,
                None if bodiless => 0,
                None if chunked => match chunks(&bytes[at..])? {
                    Some(length) => length,
                    None => return Ok(None),
                },
                None => return Err(Malformed::new("a response without a length", bytes)),
            };
            let whole = bytes.len() >= at + body;
            return Ok(whole.then_some(Response { status, head: at, body }));
        }
        if status.is_none() {
            let code = text.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?));
            let code = code.ok_or_else(|| Malformed::new("not HTTP", bytes))?;
            status = u16::try_from(code).ok();
        } else if text.len() > 15 && text[..15].eq_ignore_ascii_case(b"content-length:") {
            length = number(text[15..].trim_ascii());
        } else if text.eq_ignore_ascii_case(b"transfer-encoding: chunked") {
            chunked = true;
        }
    }
    Ok(None)
}

/// How long a body in chunks is, with everything that stands around them; `None` if it is not whole.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    while let Some((end, next)) = line(&bytes[at..]) {
        let size = std::str::from_utf8(&bytes[at..at + end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| Malformed::new("a chunk without a size", &bytes[at..]))?;
        at += next + size + 2;
        if at > bytes.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Append a POST with this body.
pub(crate) fn post(path: &str, body: &[u8], out: &mut Vec<u8>) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    out.write_all(head.as_bytes()).expect("memory takes it");
    out.extend_from_slice(body);
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::super::tests::check;
    use super::*;

    fn written(http: Http) -> String {
        let mut out = Vec::new();
        let mut key = 6;
        http.request(
            0,
            0,
            &mut || {
                key += 1;
                key
            },
            &mut out,
        );
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn replies_end_where_they_say() {
        let done = What::Reply { done: true, tag: None };
        let failed = What::Reply { done: false, tag: None };
        check(&Http::HoldfastPut, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nabcde", done);
        check(&Http::EtcdPut, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", done);
        check(&Http::HoldfastPut, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", failed);
        check(&Http::HoldfastPut, "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", failed);
        check(&Http::HoldfastGet, "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", done);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
        check(&Http::EtcdTxn(1), chunked, done);
        assert!(Http::HoldfastPut.read(b"+OK\r\n").is_err());
        assert!(Http::HoldfastPut.read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn every_message_is_another_one() {
        let body = |text: String| {
            let (_, body) = text.split_once("\r\n\r\n").expect("a body");
            let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
            (json["message"].as_str().expect("a text").to_owned(), json["w"].clone())
        };
        let (one, w) = body(written(Http::HoldfastAppend("1")));
        let (other, majority) = body(written(Http::HoldfastAppend("\"majority\"")));
        assert_ne!(one, other);
        assert_eq!((one.len(), w, majority), (VALUE_BYTES, 1.into(), "majority".into()));
        let reply = |status| format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}");
        check(&Http::HoldfastAppend("1"), &reply(201), What::Reply { done: true, tag: None });
        check(&Http::HoldfastAppend("1"), &reply(202), What::Reply { done: false, tag: None });
    }

    #[test]
    fn requests_carry_what_they_say() {
        let put = written(Http::HoldfastPut);
        assert!(put.starts_with("PUT /v1/kv/bench-0000000007 HTTP/1.1\r\n"), "{put}");
        assert_eq!(put.split("\r\n\r\n").nth(1).map(str::len), Some(VALUE_BYTES));
        for http in [Http::HoldfastTxn(3), Http::EtcdTxn(3), Http::EtcdPut] {
            let text = written(http);
            let (head, body) = text.split_once("\r\n\r\n").expect("a body");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
            match http {
                Http::EtcdPut => assert_eq!(json["value"], VALUE_BASE64),
                Http::EtcdTxn(_) => {
                    assert_eq!(json["success"][2]["requestPut"]["key"], "0000000000000009AAAAAA==");
                }
                _ => assert_eq!(json["success"][2]["put"]["key"], "bench-0000000009"),
            }
        }
        assert_eq!(VALUE_BASE64.len(), VALUE_BYTES.div_ceil(3) * 4);
        assert_eq!((Http::HoldfastTxn(3).units(), Http::HoldfastPut.units()), (3, 1));
    }
}
