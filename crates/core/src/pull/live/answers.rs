//! Reads what an RTSP server says, and says it again in one form.
//!
//! In: the bytes of the server. Out: the bytes libav reads. libav is lenient: it takes any white space before a status, the last of several
//! lengths, and an empty line wherever one may be. Whoever judges the answers must read them the same way, so it does not get to see the
//! server's own. Each answer is read here, judged, and written anew with the fields libav knows. No threads, no clock.

use std::io;

/// Bytes of an answer's head at most.
const LONGEST_HEAD: usize = 64 << 10;
/// Bytes of an answer's body at most.
const LONGEST_BODY: u64 = 1 << 20;
/// Packets of fewer bytes are left out: libav drops them without reading them, and takes what is in them for an answer.
const SHORTEST_PACKET: u16 = 8;
/// The fields libav looks at. All others are left out, and so is `Location`.
const FIELDS: [&str; 16] = [
    "Authentication-Info",
    "com.ses.streamID",
    "Content-Base",
    "Content-Type",
    "CSeq",
    "Notice",
    "Public",
    "Range",
    "RealChallenge1",
    "RTP-Info",
    "Server",
    "Session",
    "Transport",
    "WWW-Authenticate",
    "x-Accept-Dynamic-Rate",
    "X-Notice",
];

/// What was seen of the server's answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Where the server wants the client to go.
    pub(super) moved_to: Option<String>,
    /// The status of its last answer.
    pub(super) status: Option<u16>,
}

/// Follows what a server says (RFC 2326): answers, requests of its own, and between them packets of media.
#[derive(Debug, Default)]
pub(super) struct Answers {
    heard: Heard,
    /// The beginning of a packet, as far as it is there.
    packet: Vec<u8>,
    /// The line that is being read.
    line: Vec<u8>,
    /// The lines that are there of a head.
    lines: Vec<String>,
    /// Bytes of them.
    length: usize,
    /// Bytes that go by as they are: media, or the body of an answer.
    pass: u64,
    /// Bytes of a packet that is left out.
    skip: u64,
}

impl Answers {
    /// What was seen so far.
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Takes bytes of the server; adds what libav may read of them to `out`.
    ///
    /// # Errors
    ///
    /// The server redirects, or does not speak RTSP.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let (passed, rest) = split(bytes, &mut self.pass);
            out.extend_from_slice(passed);
            let (_, rest) = split(rest, &mut self.skip);
            let Some((first, behind)) = rest.split_first() else { return Ok(()) };
            self.take(*first, out)?;
            bytes = behind;
        }
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.packet.is_empty() || byte == b'$' && self.line.is_empty() {
            return self.packet(byte, out);
        }
        match byte {
            b'\r' => {}
            b'\n' if self.line.is_empty() && self.lines.is_empty() => {}
            b'\n' if self.line.is_empty() => self.head(out)?,
            b'\n' => {
                self.lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned());
            }
            b'\t' | b' '..=b'~' | 0x80.. => {
                self.length += 1;
                if self.length > LONGEST_HEAD {
                    return Err(odd("an answer's head is too long"));
                }
                self.line.push(byte);
            }
            _ => return Err(odd("an answer has control characters")),
        }
        Ok(())
    }

    fn packet(&mut self, byte: u8, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.lines.is_empty() {
            return Err(odd("a packet stands within an answer"));
        }
        self.packet.push(byte);
        if let [_, _, high, low] = self.packet[..] {
            let length = u16::from_be_bytes([high, low]);
            if length < SHORTEST_PACKET {
                self.skip = u64::from(length);
            } else {
                self.pass = u64::from(length);
                out.extend_from_slice(&self.packet);
            }
            self.packet.clear();
        }
        Ok(())
    }

    /// Judges a head that is complete, and writes it.
    fn head(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.length = 0;
        let lines = std::mem::take(&mut self.lines);
        let (first, fields) = lines.split_first().ok_or_else(|| odd("an answer without a line"))?;
        let fields: Vec<(&str, &str)> = fields
            .iter()
            // One that goes on with the line before is none libav reads.
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let is_named = |name: &'static str| move |field: &&(&str, &str)| field.0.eq_ignore_ascii_case(name);
        let words: Vec<&str> = first.split_ascii_whitespace().collect();
        let begin = match words[..] {
            [version, status, ..] if version.starts_with("RTSP/") => {
                let code = status.parse::<u16>().ok().filter(|code| (100..600).contains(code));
                let code =
                    code.filter(|_| status.len() == 3).ok_or_else(|| odd("an answer has no status"))?;
                self.heard.status = Some(code);
                if (300..400).contains(&code) {
                    let to = fields.iter().rfind(is_named("location"));
                    self.heard.moved_to = Some(to.map(|(_, to)| (*to).to_owned()).unwrap_or_default());
                    return Err(io::Error::other("the server redirects"));
                }
                format!("RTSP/1.0 {code} {}", words.get(2..).unwrap_or_default().join(" "))
            }
            [method, target, version] if version.starts_with("RTSP/") && is_method(method) => {
                if method == "REDIRECT" {
                    self.heard.moved_to =
                        fields.iter().rfind(is_named("location")).map(|(_, to)| (*to).to_owned());
                    return Err(io::Error::other("the server redirects"));
                }
                format!("{method} {target} RTSP/1.0")
            }
            _ => return Err(odd("the server does not speak RTSP")),
        };
        let mut lengths = fields.iter().filter(is_named("content-length")).map(|(_, length)| *length);
        let length = lengths.next().unwrap_or("0");
        if lengths.any(|other| other != length) {
            return Err(odd("an answer has two lengths"));
        }
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse::<u64>().ok().filter(|length| is_number && *length <= LONGEST_BODY);
        self.pass = length.ok_or_else(|| odd("the length of an answer's body is none, or above 1 MiB"))?;
        let mut line = |text: &str| {
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        line(begin.trim_end());
        for known in FIELDS {
            for (_, value) in fields.iter().filter(is_named(known)) {
                line(&format!("{known}: {value}"));
            }
        }
        if self.pass > 0 {
            line(&format!("Content-Length: {}", self.pass));
        }
        line("");
        Ok(())
    }
}

/// Takes as many bytes as are due.
fn split<'a>(bytes: &'a [u8], due: &mut u64) -> (&'a [u8], &'a [u8]) {
    let count = usize::try_from(*due).unwrap_or(usize::MAX).min(bytes.len());
    *due -= count as u64;
    bytes.split_at(count)
}

fn is_method(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libav gets of these bytes, whether all of them passed, and what was seen; cut at every place.
    fn said(bytes: &[u8]) -> (String, bool, Heard) {
        let mut all = Vec::new();
        for cut in 0..=bytes.len() {
            let (mut answers, mut out) = (Answers::default(), Vec::new());
            let (first, rest) = bytes.split_at(cut);
            let passed = answers.feed(first, &mut out).and_then(|()| answers.feed(rest, &mut out)).is_ok();
            all.push((String::from_utf8_lossy(&out).into_owned(), passed, answers.heard));
        }
        let first = all.swap_remove(0);
        for other in all {
            assert_eq!(other, first);
        }
        first
    }

    #[test]
    fn answers_and_media_pass_and_redirects_do_not() {
        let body = b"RTSP/1.0 302 Moved\r\nLocation: rtsp://evil/\r\n\r\n";
        let describe = format!("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n", body.len());
        // What looks like a redirect in a body, or in media, is none.
        let media = [b"$\x00", &u16::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat();
        let not_found: &[u8] = b"RTSP/1.0 404 Not Found\r\n\r\n";
        let fine = [describe.as_bytes(), body, &media, b"\r\n", not_found, &media].concat();
        let (out, passed, heard) = said(&fine);
        assert!(passed && heard.moved_to.is_none());
        assert_eq!(heard.status, Some(404));
        let expected = [describe.as_bytes(), body, &media, not_found, &media].concat();
        assert_eq!(out, String::from_utf8_lossy(&expected));
        let (out, passed, heard) = said(&[&fine, &body[..], b"more"].concat());
        assert!(!passed);
        assert_eq!(out, String::from_utf8_lossy(&expected));
        assert_eq!(heard.moved_to.as_deref(), Some("rtsp://evil/"));
        let (out, passed, heard) = said(b"REDIRECT * RTSP/1.0\nlocation: rtsp://evil/\n\n");
        assert!(out.is_empty() && !passed && heard.moved_to.is_some());
        assert!(!said(b"RTSP/1.0 301 Moved\r\n\r\n").1);
    }

    /// What libav reads as a redirect, though it is not written like one.
    #[test]
    fn redirects_are_known_however_they_are_written() {
        let rest = " Moved\r\nLocation: rtsp://evil/\r\n\r\n";
        let fine = "RTSP/1.0 200 OK\r\nCSeq: 1\r\n";
        for text in [
            format!("RTSP/1.0  302{rest}"),
            format!("RTSP/1.0\t302{rest}"),
            format!(" RTSP/1.0 302{rest}"),
            format!("\t\r\r RTSP/9 \t 302\t{rest}"),
            format!("R\rTSP/1.0 3\r02{rest}"),
            format!("\r\n\n\rRTSP/1.0 302{rest}"),
            format!("{fine}\n\r\nRTSP/1.0 302{rest}"),
            format!("{}\n\r\r\nRTSP/1.0 302{rest}", fine.trim_end()),
            format!("{fine}Content-Length: 0\r\n\nRTSP/1.0 302{rest}"),
            format!("{fine}\r\n$\0\0\x04RTSPRTSP/1.0 302{rest}"),
        ] {
            let (out, passed, heard) = said(text.as_bytes());
            assert!(!passed && !out.contains("302") && !out.contains("evil"), "{text:?}: {out}");
            assert_eq!(heard.moved_to.as_deref(), Some("rtsp://evil/"), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_passed_on() {
        let fine = "RTSP/1.0 200 OK\r\nCSeq: 1\r\n";
        let long = "x".repeat(LONGEST_HEAD);
        for text in [
            format!("{fine}Content-Length: 4294967296\r\n\r\n"),
            format!("{fine}Content-Length: 100\r\ncontent-length : 0\r\n\r\n"),
            format!("{fine}Content-Length: -1\r\n\r\n"),
            format!("{fine}Content-Length: +1\r\n\r\n"),
            format!("{fine}Content-Length:\r\n\r\n"),
            format!("{fine}Content-Length: 1 2\r\n\r\n"),
            format!("{fine}$\0\0\x08aaaaaaaa\r\n\r\n"),
            format!("{fine}\r$\0\0\x08aaaaaaaa\r\n\r\n"),
            format!("{fine}Session: 1\0\r\n\r\n"),
            "RTSP/1.0 200\x0b302 OK\r\n\r\n".to_owned(),
            "RTSP/1.0 0302 Moved\r\n\r\n".to_owned(),
            "RTSP/1.0 +32 Moved\r\n\r\n".to_owned(),
            "RTSP/1.0 302x Moved\r\n\r\n".to_owned(),
            "RTSP/1.0 Moved\r\n\r\n".to_owned(),
            "RTSP/1.0\r\n\r\n".to_owned(),
            "HTTP/1.1 302 Found\r\n\r\n".to_owned(),
            "rtsp/1.0 302 Moved\r\n\r\n".to_owned(),
            "OPTIONS\r\n\r\n".to_owned(),
        ] {
            let (out, passed, _) = said(text.as_bytes());
            assert!(!passed && out.is_empty(), "{text:?}: {out}");
        }
        let mut out = Vec::new();
        assert!(Answers::default().feed(long.as_bytes(), &mut out).is_ok());
        assert!(Answers::default().feed(format!("{long}x").as_bytes(), &mut out).is_err());
    }

    /// Only what libav knows, in one form, and never where else to go.
    #[test]
    fn heads_are_written_anew() {
        let text = "RTSP/1.0 \t 401  Not  allowed \ncseq:2\n folded\nlocation: rtsp://evil/\nX-Other: 1\nno field\n\
                    WWW-Authenticate: Digest realm=\"ä\"\nWWW-AUTHENTICATE: Basic\ncontent-length: 3\nContent-Length: 3\n\nabc\
                    GET_PARAMETER rtsp://h/a RTSP/1.0\nCSeq: 3\n\n";
        let (out, passed, heard) = said(text.as_bytes());
        let expected = "RTSP/1.0 401 Not allowed\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm=\"ä\"\r\nWWW-Authenticate: Basic\r\n\
                        Content-Length: 3\r\n\r\nabcGET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\n\r\n";
        assert!(passed);
        assert_eq!(out, expected);
        assert_eq!(heard, Heard { moved_to: None, status: Some(401) });
    }
}
