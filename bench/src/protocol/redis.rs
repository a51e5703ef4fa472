//! Redis' protocol: `SET`, and `WAIT 1 0` sent with it, so that the answer means that a replica has it too. That is no
//! consensus: a failover may still lose it.

use super::{KEY_BYTES, Malformed, Message, Protocol, VALUE, line, reply, write_key};

/// So many `SET` and one `WAIT` for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetAndWait {
    /// How many keys are set at once.
    pub(crate) sets: u64,
}

const WAIT: &[u8] = b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n";

impl Protocol for SetAndWait {
    fn request(&self, _client: u64, _tag: u64, keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        const { assert!(KEY_BYTES == 16 && VALUE.len() == 256) };
        for _ in 0..self.sets {
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
            write_key(keys(), out);
            out.extend_from_slice(b"\r\n$256\r\n");
            out.extend_from_slice(&VALUE);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(WAIT);
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        let (mut at, mut done) = (0, true);
        for _ in 0..self.sets {
            let Some((end, next)) = line(&bytes[at..]) else { return Ok(None) };
            match &bytes[at..at + end] {
                b"+OK" => {}
                [b'-', ..] => done = false,
                _ => return Err(Malformed::new("no answer to SET", &bytes[at..])),
            }
            at += next;
        }
        let Some((end, next)) = line(&bytes[at..]) else { return Ok(None) };
        match &bytes[at..at + end] {
            [b':', replicas @ ..] => done &= replicas != b"0",
            [b'-', ..] => done = false,
            _ => return Err(Malformed::new("no answer to WAIT", &bytes[at..])),
        }
        Ok(reply(at + next, done))
    }

    fn units(&self) -> u64 {
        self.sets
    }
}

/// A command that is answered with one string, such as `INFO`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask(pub(crate) &'static [&'static str]);

impl Protocol for Ask {
    fn request(&self, _client: u64, _tag: u64, _keys: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", self.0.len()).as_bytes());
        for word in self.0 {
            out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        let Some((end, next)) = line(bytes) else { return Ok(None) };
        let [kind, text @ ..] = &bytes[..end] else { return Err(Malformed::new("an empty line", bytes)) };
        let length = std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        match (kind, length) {
            (b'$', Some(length)) if bytes.len() < next + length + 2 => Ok(None),
            (b'$', Some(length)) => Ok(reply(next + length + 2, true)),
            (b'+' | b':', _) => Ok(reply(next, true)),
            (b'-', _) => Ok(reply(next, false)),
            _ => Err(Malformed::new("not one string", bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn a_write_is_done_only_if_a_replica_has_it() {
        let reply = |done| What::Reply { done, tag: None };
        let one = SetAndWait { sets: 1 };
        check(&one, "+OK\r\n:2\r\n", reply(true));
        check(&one, "+OK\r\n:0\r\n", reply(false));
        check(&one, "-READONLY You can't\r\n:0\r\n", reply(false));
        check(&SetAndWait { sets: 2 }, "+OK\r\n-OOM no\r\n:1\r\n", reply(false));
        assert!(one.read(b"HTTP/1.1 200\r\n").is_err());
    }

    #[test]
    fn an_answer_may_be_a_string_of_any_length() {
        let ask = Ask(&["INFO", "replication"]);
        check(&ask, "$7\r\na\r\nb\r\nc\r\n", What::Reply { done: true, tag: None });
        check(&ask, "-LOADING Redis\r\n", What::Reply { done: false, tag: None });
        let mut out = Vec::new();
        ask.request(0, 0, &mut || 0, &mut out);
        assert_eq!(out, b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n");
    }

    #[test]
    fn sets_come_before_the_wait() {
        let mut out = Vec::new();
        SetAndWait { sets: 2 }.request(0, 0, &mut || 1, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.matches("SET\r\n$16\r\nbench-0000000001\r\n$256\r\nv").count(), 2, "{text}");
        assert!(text.ends_with("WAIT\r\n$1\r\n1\r\n$1\r\n0\r\n"), "{text}");
    }
}
