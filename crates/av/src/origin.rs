//! What may be opened: local files by path, addresses by scheme, and which container formats libav may read in them.
//!
//! libav picks the demuxer by content, so a playlist under the name of a video would make it open what the playlist names.
//! Three walls stand against that: only self-contained formats are accepted; the bytes of a local file come from a Rust
//! reader, and libav's hook for opening anything else refuses; and libav's own protocol list is empty.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use crate::{Error, Protocols};

/// Containers and raw streams that hold everything themselves: libav's names.
const SELF_CONTAINED: [&str; 40] = [
    "aac",
    "ac3",
    "aiff",
    "amr",
    "ape",
    "asf",
    "au",
    "av1",
    "avi",
    "caf",
    "dts",
    "dv",
    "eac3",
    "flac",
    "flv",
    "gxf",
    "h264",
    "hevc",
    "ivf",
    "kux",
    "live_flv",
    "m4v",
    "matroska",
    "mov",
    "mp3",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "mxf",
    "nut",
    "obu",
    "ogg",
    "rm",
    "tta",
    "vc1",
    "w64",
    "wav",
    "webm",
    "wv",
    "yuv4mpegpipe",
];

/// Formats that name further addresses.
const PLAYLISTS: [&str; 2] = ["hls", "dash"];

/// Schemes of live inputs, the protocols of libav that each needs, and the ones its playlists need.
const SCHEMES: [(&str, &str, Option<&str>); 12] = [
    ("rtmp", "rtmp,tcp", None),
    ("rtmps", "rtmps,tls,tcp", None),
    ("http", "http,tcp", Some("http,https,tls,tcp,crypto")),
    ("https", "https,http,tls,tcp", Some("http,https,tls,tcp,crypto")),
    ("rtsp", "rtsp,tcp", None),
    ("rtsps", "rtsp,tcp,tls", None),
    ("rtp", "rtp,udp", None),
    ("udp", "udp", None),
    ("tcp", "tcp", None),
    ("tls", "tls,tcp", None),
    ("srt", "srt,udp", None),
    ("rist", "rist,udp", None),
];

/// What an address may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// libav's protocols, comma separated.
    pub(crate) protocols: &'static str,
    pub(crate) playlists: bool,
    /// The scheme is a format of its own that opens its connections itself.
    pub(crate) is_format: bool,
}

/// What the scheme of an address allows; `None` if it is not opened.
pub(crate) fn access(url: &str, protocols: Protocols) -> Option<Access> {
    let (scheme, _) = url.split_once("://")?;
    let (name, plain, playlist) = SCHEMES.into_iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name))?;
    let playlist = playlist.filter(|_| protocols == Protocols::Playlists);
    Some(Access {
        protocols: playlist.unwrap_or(plain),
        playlists: playlist.is_some(),
        is_format: matches!(name, "rtsp" | "rtsps"),
    })
}

/// The formats libav may read, comma separated.
pub(crate) fn formats(playlists: bool) -> String {
    let mut list = SELF_CONTAINED.to_vec();
    if playlists {
        list.extend(PLAYLISTS);
    }
    list.push("rtsp");
    list.join(",")
}

/// Whether a format, by libav's names for it, may be read.
pub(crate) fn is_accepted(format: &str, playlists: bool) -> bool {
    format.split(',').any(|name| {
        SELF_CONTAINED.contains(&name) || name == "rtsp" || playlists && PLAYLISTS.contains(&name)
    })
}

/// Opens a local file for reading, if it is one. Also gives its length in bytes.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), Error> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        ErrorKind::InvalidInput => Error::InvalidArgument { message: "the path holds a NUL byte".to_owned() },
        _ => Error::Io { path: path.to_owned(), operation: "open", source: source.into() },
    };
    // Looked at before it is opened: opening a FIFO waits for its writer, and nothing can interrupt that.
    let refuse = |metadata: &fs::Metadata| match kind_of(metadata) {
        Some(kind) => Err(Error::NotAFile { path: path.to_owned(), kind }),
        None => Ok(()),
    };
    refuse(&fs::metadata(path).map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    refuse(&metadata)?;
    if metadata.len() == 0 {
        return Err(Error::Empty { input: path.display().to_string() });
    }
    Ok((file, metadata.len()))
}

/// What a path names, if it is no regular file.
fn kind_of(metadata: &fs::Metadata) -> Option<&'static str> {
    if metadata.is_file() {
        return None;
    }
    if metadata.is_dir() {
        return Some("directory");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        for (is, name) in
            [(kind.is_fifo(), "FIFO"), (kind.is_socket(), "socket"), (kind.is_char_device(), "device")]
        {
            if is {
                return Some(name);
            }
        }
    }
    Some("device")
}

/// What libav is told the file is called: the extension helps where the content is ambiguous. Never opened.
pub(crate) fn hint(path: &Path) -> CString {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    CString::new(format!("file:{name}")).unwrap_or_else(|_| c"file:".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        let plain = |url| access(url, Protocols::Itself).map(|access| access.protocols);
        assert_eq!(plain("rtmp://h/a/k"), Some("rtmp,tcp"));
        assert_eq!(plain("HTTP://h/a"), Some("http,tcp"));
        for refused in [
            "file:///etc/passwd",
            "concat:a|b",
            "/etc/passwd",
            "subfile,,start,0,end,0,,:a",
            "data:,a",
            "pipe:0",
        ] {
            assert_eq!(plain(refused), None, "{refused}");
        }
        assert!(access("http://h/a", Protocols::Playlists).is_some_and(|access| access.playlists));
        assert!(access("rtmp://h/a", Protocols::Playlists).is_some_and(|access| !access.playlists));
    }

    #[test]
    fn formats_that_name_other_files_are_not_accepted() {
        for refused in
            ["hls", "applehttp", "concat", "dash", "image2", "jpeg_pipe", "sdp", "lavfi", "imf", "tty", "srt"]
        {
            assert!(!is_accepted(refused, false), "{refused}");
        }
        assert!(is_accepted("mov,mp4,m4a,3gp,3g2,mj2", false));
        assert!(is_accepted("hls", true));
    }
}
