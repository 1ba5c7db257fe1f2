//! M3U lists: one path a line. There is no standard; this is what players write and people type.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Playlist, concat};
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
    let folder = list.parent().unwrap_or(Path::new(""));
    let text = in_bytes(&bytes).map_err(|what| invalid(what.to_owned()))?;
    let is_there = |name: &[u8]| folder.join(OsStr::from_bytes(name)).exists();
    if concat::is_one(&text, is_there) { concat::parse(&text, folder) } else { parse(&text, folder) }
        .map_err(invalid)
}

/// The list without its byte order mark; one in UTF-16 as UTF-8.
fn in_bytes(list: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    type Unit = fn([u8; 2]) -> u16;
    let (units, unit): (&[u8], Unit) = match list {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Ok(Cow::Borrowed(rest)),
        [0xFF, 0xFE, rest @ ..] => (rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => (rest, u16::from_be_bytes),
        // Without a mark, the zeros of the first letter tell.
        [first, 0, ..] if *first != 0 => (list, u16::from_le_bytes),
        [0, first, ..] if *first != 0 => (list, u16::from_be_bytes),
        _ => return Ok(Cow::Borrowed(list)),
    };
    let (units, rest) = units.as_chunks();
    if !rest.is_empty() {
        return Err("cut off: UTF-16 of an odd number of bytes");
    }
    let text: Result<String, _> = char::decode_utf16(units.iter().map(|&bytes| unit(bytes))).collect();
    text.map(|text| Cow::Owned(text.into_bytes())).map_err(|_| "UTF-16 that is malformed")
}

/// The file that an entry of a list means: the path as it is if there is one, else what it means where the list was written.
pub(super) fn on_disk(folder: &Path, path: PathBuf) -> PathBuf {
    let plain = folder.join(&path);
    let bytes = path.as_os_str().as_bytes();
    let is_elsewhere = |byte: &u8| matches!(byte, b'\\' | b'%') || !byte.is_ascii();
    let is_foreign = drive_or_server(bytes).is_some();
    if !is_foreign && !bytes.iter().any(is_elsewhere) || plain.exists() {
        return plain;
    }
    let slashed: Vec<u8> = bytes.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
    let mut guesses = Vec::new();
    for spelled in spellings(&slashed) {
        match drive_or_server(&spelled) {
            None => guesses.push(folder.join(OsStr::from_bytes(&spelled))),
            Some(rest) => {
                let mut rest = Some(rest);
                while let Some(end) = rest.filter(|_| guesses.len() < MOST_GUESSES) {
                    guesses.push(folder.join(OsStr::from_bytes(end)));
                    rest = end.iter().position(|&byte| byte == b'/').and_then(|at| end.get(at + 1..));
                }
            }
        }
    }
    let fallback = if bytes.contains(&b'/') { plain } else { folder.join(OsStr::from_bytes(&slashed)) };
    guesses.into_iter().find(|guess| guess.exists()).unwrap_or(fallback)
}

/// Most files that are looked for in the place of one.
const MOST_GUESSES: usize = 64;

/// A path, and what it may be in other encodings.
fn spellings(path: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![path.to_vec()];
    spellings.extend(percent_decoded(path).filter(|decoded| decoded != path));
    for spelled in spellings.clone() {
        match std::str::from_utf8(&spelled) {
            // Latin-1's bytes are the numbers of its letters.
            Err(_) => {
                spellings.push(spelled.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes())
            }
            Ok(text) if !text.is_ascii() => {
                let bytes: Option<Vec<u8>> =
                    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
                spellings.extend(bytes);
            }
            Ok(_) => {}
        }
    }
    spellings
}

/// What follows the drive letter (`C:/`) or the server (`//name/`) of a path of another system.
fn drive_or_server(path: &[u8]) -> Option<&[u8]> {
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    match path {
        [letter, b':', slash, rest @ ..] if letter.is_ascii_alphabetic() && is_slash(slash) => Some(rest),
        [first, second, rest @ ..] if is_slash(first) && is_slash(second) => {
            rest.get(rest.iter().position(is_slash)? + 1..)
        }
        _ => None,
    }
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
    let mut files = Vec::new();
    let lines = list.split(|&byte| byte == b'\n').zip(1u32..);
    for (line, number) in lines {
        let at_line = |what: &str| format!("line {number}: {what}");
        if line.contains(&0) {
            return Err(at_line("a NUL byte"));
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
            files.push(on_disk(folder, local_path(entry).map_err(|what| at_line(&what))?));
        }
    }
    if files.is_empty() {
        return Err("names no file".to_owned());
    }
    Ok(files)
}

/// The path of an entry, which may be a `file:` address.
pub(super) fn local_path(entry: &[u8]) -> Result<PathBuf, String> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let Some((scheme, rest)) = scheme(entry) else { return Ok(path(entry)) };
    if !scheme.eq_ignore_ascii_case("file") {
        // Without the address: it may carry a key.
        return Err(format!("only local files can be played, not {scheme}:"));
    }
    let rest: Vec<u8> = rest.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
    let rest = rest.as_slice();
    // `file://C:/` is wrong, and written nevertheless.
    let is_drive = |bytes: &[u8]| matches!(bytes, [b'A'..=b'Z' | b'a'..=b'z', b':', b'/', ..]);
    let drive = [b"///".as_slice(), b"//", b"/"]
        .iter()
        .find_map(|slashes| rest.strip_prefix(*slashes).filter(|path| is_drive(path)));
    if let Some(drive) = drive {
        return Ok(path(&percent_decoded(drive).ok_or("a malformed percent-encoding")?));
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
    let is_rooted = rest.first().is_some_and(|byte| matches!(byte, b'/' | b'\\'));
    let address = rest.starts_with(b"//") || scheme.eq_ignore_ascii_case("file") && is_rooted;
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
        parse(&in_bytes(list)?, Path::new("/lists"))
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
        let table: [(&[u8], &str); 14] = [
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
            (b"a.mp4\nb\0.mp4", "line 2: a NUL byte"),
            (b"\xFF\xFEa\0.\0m", "cut off: UTF-16 of an odd number of bytes"),
            (b"\xFF\xFE\x00\xD8a\0", "UTF-16 that is malformed"),
            (b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "line 2: an HLS playlist, not a list of files"),
        ];
        for (list, reason) in table {
            assert_eq!(parsed(list), Err(reason.to_owned()), "{}", list.escape_ascii());
        }
    }

    #[test]
    fn lists_of_other_systems_name_files_of_this_one() {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let there = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        fs::create_dir_all(there(b"Music/sub")).expect("there is room");
        let files: [&[u8]; 6] = [
            b"Music/a.mp3",
            "Music/sub/caf\u{e9}.mp3".as_bytes(),
            b"Music/sub/na\xEFve.mp3",
            b"a b.mp3",
            b"back\\slash.mp3",
            b"100%25.mp3",
        ];
        for file in files {
            fs::write(there(file), "x").expect("there is room");
        }
        let utf16 = |text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]| {
            let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
            units.flat_map(bytes).collect::<Vec<u8>>()
        };
        let table: [(&[u8], &[u8]); 15] = [
            (b"Music\\a.mp3\r\n", files[0]),
            (b".\\Music\\a.mp3", b"./Music/a.mp3"),
            (b"Music\\sub\\caf\xE9.mp3\r\n", files[1]),
            ("Music/sub/na\u{ef}ve.mp3".as_bytes(), files[2]),
            (b"Music/sub/caf%C3%A9.mp3", files[1]),
            (b"C:\\Users\\me\\Music\\a.mp3", files[0]),
            (b"D:/a%20b.mp3", files[3]),
            (b"\\\\server\\share\\Music\\sub\\caf\xE9.mp3", files[1]),
            (b"file:///C:/Users/me/a%20b.mp3", files[3]),
            (b"file://C:\\Users\\me\\Music\\a.mp3", files[0]),
            (b"back\\slash.mp3", files[4]),
            (b"100%25.mp3", files[5]),
            (&utf16("Music\\sub\\caf\u{e9}.mp3\r\n", true, u16::to_le_bytes), files[1]),
            (&utf16("Music\\sub\\caf\u{e9}.mp3\r\n", true, u16::to_be_bytes), files[1]),
            (&utf16("#EXTM3U\r\na b.mp3", false, u16::to_le_bytes), files[3]),
        ];
        for (list, file) in table {
            let file = there(file);
            let path = folder.path().join("list.m3u");
            fs::write(&path, list).expect("there is room");
            assert_eq!(read(&path).expect("a list"), [file], "{}", list.escape_ascii());
        }
        // What is not there yet keeps its name, in the way of this system.
        assert_eq!(on_disk(Path::new("/l"), PathBuf::from("new\\b.mp3")), Path::new("/l/new/b.mp3"));
    }

    #[test]
    fn a_concat_list_is_read_where_an_m3u_list_is() {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let path = folder.path().join("list.txt");
        fs::write(&path, "ffconcat version 1.0\r\nfile 'a b.mp4'\r\nduration 3\r\n").expect("there is room");
        assert_eq!(read(&path).expect("a list"), [folder.path().join("a b.mp4")]);
        fs::write(&path, "file a.mp4\nfile b.mp4\n").expect("there is room");
        assert_eq!(read(&path).expect("a list").len(), 2);
        fs::write(&path, "file a.mp4\noutpoint 3\n").expect("there is room");
        let error = read(&path).expect_err("items are played whole").to_string();
        assert!(error.contains("line 2: outpoint is not supported"), "{error}");
        fs::write(folder.path().join("file a.mp4"), "x").expect("there is room");
        fs::write(&path, "file a.mp4\n").expect("there is room");
        assert_eq!(read(&path).expect("a list"), [folder.path().join("file a.mp4")]);
    }

    #[test]
    fn a_list_of_too_many_items_is_refused() {
        let mut list = b"a\n".repeat(Playlist::MAX_ITEMS);
        assert_eq!(parsed(&list).map(|files| files.len()), Ok(Playlist::MAX_ITEMS));
        list.extend(b"a");
        assert_eq!(parsed(&list), Err("more than 100000 items".to_owned()));
    }
}
