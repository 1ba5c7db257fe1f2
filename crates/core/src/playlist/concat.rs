//! ffmpeg's lists for its concat demuxer: `ffconcat version 1.0`, and a `file` directive for each item.
//!
//! In: the bytes of a list. Out: its files, or the line that asks for what a list of whole files cannot do.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Playlist;
use super::m3u::{local_path, on_disk};

/// Whether a list is one of ffmpeg's: it says so, or its first entry is a `file` directive, and no file that `is_there` has that
/// name.
pub(super) fn is_one(list: &[u8], is_there: impl Fn(&[u8]) -> bool) -> bool {
    let entries = list.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = entries.into_iter().find(|line| !line.is_empty() && !line.starts_with(b"#"));
    first.is_some_and(|line| {
        line.strip_prefix(b"ffconcat").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
            || line
                .strip_prefix(b"file")
                .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
                && !is_there(line)
    })
}

/// The files of a list.
///
/// # Errors
///
/// The line that cannot be followed, and why.
pub(super) fn parse(list: &[u8], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut durations = 0u32;
    for (line, number) in list.split(|&byte| byte == b'\n').zip(1u32..) {
        let at_line = |what: String| format!("line {number}: {what}");
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        match word {
            b"ffconcat" | b"file_packet_metadata" | b"file_packet_meta" | b"chapter" => {}
            // The files say it themselves, and they are asked.
            b"duration" => durations += 1,
            b"file" => {
                if files.len() == Playlist::MAX_ITEMS {
                    return Err(format!("more than {} items", Playlist::MAX_ITEMS));
                }
                let name = unquoted(rest.trim_ascii_start())
                    .ok_or_else(|| at_line("a quote is not closed".into()))?;
                if name.is_empty() {
                    return Err(at_line("no file is named".into()));
                }
                // ffmpeg's `file:` goes before relative paths, too.
                let relative = name.strip_prefix(b"file:").filter(|rest| !rest.starts_with(b"/"));
                let is_there = folder.join(OsStr::from_bytes(&name)).exists();
                let path = match relative.filter(|_| !is_there) {
                    Some(rest) => PathBuf::from(OsStr::from_bytes(rest)),
                    None => local_path(&name).map_err(at_line)?,
                };
                files.push(on_disk(folder, path));
            }
            b"inpoint" | b"outpoint" => {
                let word = String::from_utf8_lossy(word);
                return Err(at_line(format!(
                    "{word} is not supported: items are played whole; cut the file, for example with \
                     ffmpeg -ss and -to"
                )));
            }
            b"option" => return Err(at_line("options of demuxers are not supported".into())),
            _ if word.starts_with(b"stream") || word == b"exact_stream_id" => {
                return Err(at_line("tracks cannot be chosen in a list".into()));
            }
            other => {
                let word = String::from_utf8_lossy(other.get(..other.len().min(32)).unwrap_or_default());
                return Err(at_line(format!("{word:?} is no directive of a concat list")));
            }
        }
    }
    if files.is_empty() {
        return Err("names no file".to_owned());
    }
    if durations > 0 {
        log::warn!("a concat list: durations are taken from the files, not from the list");
    }
    Ok(files)
}

/// A word with ffmpeg's quoting taken out: all between two `'` is literal, elsewhere `\` takes the next byte as it is. `None`
/// if a quote is not closed.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut word = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    let mut double = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' if !double => loop {
                match bytes.next()? {
                    b'\'' => break,
                    byte => word.push(byte),
                }
            },
            // ffmpeg takes it as a part of the name; people mean a quote by it, and no name begins with one.
            b'"' if word.is_empty() || double => double = !double,
            b'\\' => word.extend(bytes.next()),
            byte if byte.is_ascii_whitespace() && !double => break,
            byte => word.push(byte),
        }
    }
    (!double).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> Result<Vec<String>, String> {
        assert!(is_one(list.as_bytes(), |_| false), "{list}");
        let files = parse(list.as_bytes(), Path::new("/lists"))?;
        Ok(files.into_iter().map(|file| file.display().to_string()).collect())
    }

    #[test]
    fn lists_of_ffmpeg_are_read() {
        let files = |list| parsed(list).expect("a list that can be read");
        assert_eq!(
            files("ffconcat version 1.0\nfile a.mp4\nduration 5\n\n# no\nfile '/m/b c.mp4'\n"),
            ["/lists/a.mp4", "/m/b c.mp4"]
        );
        assert_eq!(
            files("file 'it'\\''s.mp4'\r\nfile sub/a\\ b.mp4\r\n"),
            ["/lists/it's.mp4", "/lists/sub/a b.mp4"]
        );
        assert_eq!(files("ffconcat version 1.0\nfile_packet_meta a b\nfile 'file:/m/a.mp4'"), ["/m/a.mp4"]);
        assert_eq!(files("# made\nfile \"a b.mp4\""), ["/lists/a b.mp4"]);
    }

    #[test]
    fn what_cannot_be_followed_is_explained() {
        let reason = |list| parsed(list).expect_err("it cannot be followed");
        let inpoint = reason("ffconcat version 1.0\nfile a.mp4\ninpoint 3");
        assert!(inpoint.starts_with("line 3: inpoint is not supported: items are played whole"), "{inpoint}");
        assert!(reason("file 'a.mp4'\noutpoint 00:00:05").starts_with("line 2: outpoint"));
        assert_eq!(reason("file 'a.mp4"), "line 1: a quote is not closed");
        assert_eq!(reason("ffconcat version 1.0\nfile ''"), "line 2: no file is named");
        assert_eq!(reason("ffconcat version 1.0"), "names no file");
        assert_eq!(reason("file 'a'\nfil b"), "line 2: \"fil\" is no directive of a concat list");
        assert_eq!(reason("file 'http://h/a'"), "line 1: only local files can be played, not http:");
        assert_eq!(
            reason("ffconcat version 1.0\nfile a\nstream"),
            "line 3: tracks cannot be chosen in a list"
        );
        assert_eq!(reason("file 'a'\noption safe 0"), "line 2: options of demuxers are not supported");
    }

    #[test]
    fn a_list_of_paths_is_none_of_them() {
        for list in ["#EXTM3U\na.mp4", "file.mp4", "file of mine.mp4", "ffconcat.mp4", ""] {
            assert!(!is_one(list.as_bytes(), |name| name == b"file of mine.mp4"), "{list}");
        }
    }
}
