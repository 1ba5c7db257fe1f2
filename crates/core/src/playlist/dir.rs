//! The media files of a directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Playlist;
use crate::error::{Error, chain};

/// What libav reads and people keep sound and pictures in. Not all of it can be sent by copy: what cannot is left out when
/// its turn comes, and an event says so, where leaving it out here would be silent.
const EXTENSIONS: [&str; 26] = [
    "3g2", "3gp", "aac", "avi", "f4v", "flac", "flv", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov",
    "mp3", "mp4", "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "opus", "ts", "wav", "webm",
];

/// Sorted by the bytes of their names.
pub(super) fn media_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let invalid = |reason: String| Error::Playlist { path: dir.to_owned(), reason };
    let unreadable = |error: io::Error| invalid(format!("the directory cannot be read: {}", chain(&error)));
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // Follows links; one that leads nowhere is no file.
        if is_media(&path) && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            if files.len() == Playlist::MAX_ITEMS {
                return Err(invalid(format!("more than {} media files", Playlist::MAX_ITEMS)));
            }
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(invalid("no media file in it".to_owned()));
    }
    files.sort_unstable();
    Ok(files)
}

fn is_media(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = |extension: &OsStr| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    !hidden && path.extension().is_some_and(known)
}
