//! M3U lists: one path a line. There is no standard; this is what players write and people type.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Playlist;
use crate::error::{Error, chain};

/// Most bytes of a list.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The files that a list names, in its order.
pub(super) fn read(list: &Path) -> Result<Vec<PathBuf>, Error> {
    let invalid = |reason: String| Error::Playlist { path: list.to_owned(), reason };
    let bytes = contents(list).map_err(|error| invalid(format!("cannot be read: {}", chain(&error))))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(invalid(format!("larger than {MAX_BYTES} bytes")));
    }
    parse(&bytes, list.parent().unwrap_or(Path::new(""))).map_err(invalid)
}

/// At most one byte more than is allowed.
fn contents(list: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a FIFO waits for its writer.
    if !fs::metadata(list)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    File::open(list)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(list: &[u8], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = list.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(list);
    let mut files = Vec::new();
    let lines = list.split(|&byte| byte == b'\n').zip(1u32..);
    for (line, number) in lines {
        let at_line = |what: &str| format!("line {number}: {what}");
        if line.contains(&0) {
            return Err(at_line("a NUL byte; is the list UTF-16?"));
        }
        // A carriage return ends a line of old lists by itself, and goes with the line feed in others.
        for entry in line.split(|&byte| byte == b'\r').map(<[u8]>::trim_ascii) {
            if entry.starts_with(b"#EXT-X-") {
                return Err(at_line("an HLS playlist, not a list of files"));
            }
            if entry.is_empty() || entry.starts_with(b"#") {
                continue;
            }
            if files.len() == Playlist::MAX_ITEMS {
                return Err(format!("more than {} items", Playlist::MAX_ITEMS));
            }
            files.push(folder.join(local_path(entry).map_err(|what| at_line(&what))?));
        }
    }
    if files.is_empty() {
        return Err("names no file".to_owned());
    }
    Ok(files)
}

fn local_path(entry: &[u8]) -> Result<PathBuf, String> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let Some((scheme, rest)) = scheme(entry) else { return Ok(path(entry)) };
    if !scheme.eq_ignore_ascii_case("file") {
        // Without the address: it may carry a key.
        return Err(format!("only local files can be played, not {scheme}:"));
    }
    let absolute = match rest.strip_prefix(b"//") {
        // RFC 8089: the host is empty or this one.
        Some(rest) => {
            let host = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
            if !host.is_empty() && !host.eq_ignore_ascii_case(b"localhost") {
                return Err("only local files can be played, not those of another host".to_owned());
            }
            &rest[host.len()..]
        }
        None => rest,
    };
    let decoded = percent_decoded(absolute).ok_or("a malformed percent-encoding")?;
    if !decoded.starts_with(b"/") {
        return Err("a file: address needs an absolute path".to_owned());
    }
    Ok(path(&decoded))
}

/// The scheme of an address and what follows its colon. A path with a colon in it is none: only `file:` goes without `//`.
fn scheme(entry: &[u8]) -> Option<(&str, &[u8])> {
    let colon = entry.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = (std::str::from_utf8(&entry[..colon]).ok()?, &entry[colon + 1..]);
    let first = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let named = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let address = rest.starts_with(b"//") || scheme.eq_ignore_ascii_case("file") && rest.starts_with(b"/");
    (first && named && address).then_some((scheme, rest))
}

/// `None` for a `%` without two hexadecimal digits, or one that stands for NUL.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok().filter(|&byte| byte != 0)?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &[u8]) -> Result<Vec<PathBuf>, String> {
        parse(list, Path::new("/lists"))
    }

    #[track_caller]
    fn assert_paths(list: &[u8], expected: &[&[u8]]) {
        let expected: Vec<_> = expected.iter().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes))).collect();
        assert_eq!(parsed(list), Ok(expected));
    }

    #[test]
    fn lists_of_all_kinds() {
        assert_paths(b"a.mp4\nb.mp4", &[b"/lists/a.mp4", b"/lists/b.mp4"]);
        assert_paths(b"\xEF\xBB\xBF#EXTM3U\r\n#EXTINF:12,A - B\r\na.mp4\r\n\r\n", &[b"/lists/a.mp4"]);
        assert_paths(b"a.mp4\rb.mp4\r", &[b"/lists/a.mp4", b"/lists/b.mp4"]);
        assert_paths(b"  a b.mp4 \t\n # not played\n", &[b"/lists/a b.mp4"]);
        assert_paths(
            b"sub/a.mp4\n../b.mp4\n/abs/c.mp4",
            &[b"/lists/sub/a.mp4", b"/lists/../b.mp4", b"/abs/c.mp4"],
        );
        assert_paths(b"caf\xE9.mp3", &[b"/lists/caf\xE9.mp3"]);
        assert_paths("café.mp3".as_bytes(), &["/lists/café.mp3".as_bytes()]);
        assert_paths(
            b"100%25.mp3\n12:30 news.mp4\nx:/y.mp4",
            &[b"/lists/100%25.mp3", b"/lists/12:30 news.mp4", b"/lists/x:/y.mp4"],
        );
        assert_paths(
            b"file:///m/a%20b%C3%A9%e9.mp3\nFILE://localhost/m/c.mp3\nfile:/m/d#1.mp3",
            &[b"/m/a b\xC3\xA9\xE9.mp3", b"/m/c.mp3", b"/m/d#1.mp3"],
        );
    }

    #[test]
    fn what_is_no_list_of_local_files_is_refused_with_its_line() {
        let table: [(&[u8], &str); 12] = [
            (b"", "names no file"),
            (b"#EXTM3U\n\n", "names no file"),
            (b"a.mp4\nhttp://u:key@h/a.mp4", "line 2: only local files can be played, not http:"),
            (b"https://h/a", "line 1: only local files can be played, not https:"),
            (b"rtmp://h/app/key", "line 1: only local files can be played, not rtmp:"),
            (b"file://server/a.mp4", "line 1: only local files can be played, not those of another host"),
            (b"file:///a%2", "line 1: a malformed percent-encoding"),
            (b"file:///a%+1", "line 1: a malformed percent-encoding"),
            (b"file:///a%00", "line 1: a malformed percent-encoding"),
            (b"file://", "line 1: a file: address needs an absolute path"),
            (b"\xFF\xFEa\0.\0m\0", "line 1: a NUL byte; is the list UTF-16?"),
            (b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "line 2: an HLS playlist, not a list of files"),
        ];
        for (list, reason) in table {
            assert_eq!(parsed(list), Err(reason.to_owned()), "{}", list.escape_ascii());
        }
    }

    #[test]
    fn a_list_of_too_many_items_is_refused() {
        let mut list = b"a\n".repeat(Playlist::MAX_ITEMS);
        assert_eq!(parsed(&list).map(|files| files.len()), Ok(Playlist::MAX_ITEMS));
        list.extend(b"a");
        assert_eq!(parsed(&list), Err("more than 100000 items".to_owned()));
    }
}
