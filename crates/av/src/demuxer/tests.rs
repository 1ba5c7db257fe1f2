//! What only the inside of a demuxer shows.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use super::*;
use crate::probe::{self, Request};
use crate::redact::Secrets;
use crate::sys::Io;

/// The second wall behind the list of formats: even where a playlist is let through, libav's hook for opening what it names
/// refuses. Tested by itself, as the first wall hides it.
#[test]
fn what_a_playlist_names_is_refused_by_the_hook() {
    sys::check_versions().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (entry, protocol) in [
        (format!("http://127.0.0.1:{port}/a.ts"), "http"),
        ("file:/etc/hostname.ts".to_owned(), "file"),
        ("/etc/hostname.ts".to_owned(), "file"),
    ] {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{entry}\n#EXT-X-ENDLIST\n");
        let options = OpenOptions::default();
        let guard = guarded(&options, &Interrupt::new());
        let context = Context {
            shown: "list".to_owned(),
            name: c"file:list.m3u8".to_owned(),
            path: None,
            size: None,
            guard: Arc::clone(&guard),
            _secrets: Secrets::default(),
        };
        let mut limits = probe::limits(&options, None);
        limits.formats.push_str(",hls");
        let io = Io::from_source(Box::new(Cursor::new(text)), &guard).unwrap();
        let opening = probe::recognise(io, context.name.clone(), &guard, &limits, true, &context).unwrap();
        let error =
            probe::open(Request { opening, limits, options: &options, size: None }, &context).unwrap_err();
        assert!(
            matches!(&error, Error::ProtocolRefused { protocol: found, .. } if found == protocol),
            "{entry}: {error:?}"
        );
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn an_mp4_is_sought_and_not_opened_again() {
    for b_frames in [0, 2] {
        let name = format!("flowcast-av-seek-{}-{b_frames}.mp4", std::process::id());
        let path = std::env::temp_dir().join(name);
        let spec = crate::SampleSpec { b_frames, width: 64, height: 64, ..crate::SampleSpec::default() };
        crate::sample_clip(&path, &spec).unwrap();
        let mut input = Demuxer::open(&path, &OpenOptions::default(), &Interrupt::new()).unwrap();
        while input.read().unwrap().is_some() {}
        let sought = input.seek_back().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(sought, "{b_frames} B-frames");
    }
}
