//! What is not opened, and that it ends in time: playlists under other names, what is no file, what is no media.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Scratch, open, packets, small};
use flowcast_av::{Demuxer, Error, Interrupt, OpenOptions, Protocols};

#[track_caller]
fn refused(path: &Path) -> Error {
    match open(path) {
        Ok(input) => panic!("{} was opened as {}", path.display(), input.media().format),
        Err(error) => error,
    }
}

/// A listener that must see no connection.
struct Trap(TcpListener);

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection over loopback is in the backlog as soon as the other side's connect returns, so this needs no waiting.
    #[track_caller]
    fn assert_untouched(&self) {
        match self.0.accept() {
            Ok((_, peer)) => panic!("a connection from {peer}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}

fn playlist(entry: &str) -> String {
    format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{entry}\n#EXT-X-ENDLIST\n")
}

#[test]
fn a_playlist_named_mp4_reaches_nothing() {
    let scratch = Scratch::new();
    let trap = Trap::new();
    let clip = scratch.clip("clip.ts", &small());
    let entries = [
        format!("http://127.0.0.1:{}/a.ts", trap.port()),
        clip.display().to_string(),
        format!("file:{}", clip.display()),
        "clip.ts".to_owned(),
        format!("crypto+http://127.0.0.1:{}/a.ts", trap.port()),
        format!("concat:{}|{}", clip.display(), clip.display()),
    ];
    for (index, entry) in entries.iter().enumerate() {
        for extension in ["mp4", "m3u8", "ts"] {
            let path = scratch.write(&format!("p{index}.{extension}"), playlist(entry).as_bytes());
            let error = refused(&path);
            // FFmpeg 7 and newer do not take a file for a playlist unless it is named like one.
            let is_refused = match &error {
                Error::UnsupportedFormat { format, .. } => format.starts_with("hls"),
                Error::InvalidData { .. } => extension != "m3u8",
                _ => false,
            };
            assert!(is_refused, "{extension}: {error:?}");
            assert!(!error.is_retryable());
        }
    }
    trap.assert_untouched();
}

#[test]
fn concat_scripts_and_image_patterns_are_refused() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &small());
    let script = format!("ffconcat version 1.0\nfile '{}'\nfile 'clip.mp4'\n", clip.display());
    for name in ["script.mp4", "script.ffconcat", "script.txt"] {
        let error = refused(&scratch.write(name, script.as_bytes()));
        assert!(matches!(&error, Error::UnsupportedFormat { format, .. } if format == "concat"), "{error:?}");
    }
    let dash = "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
        profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><BaseURL>clip.mp4</BaseURL></MPD>\n";
    let sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n";
    // A PNG signature with a header chunk.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde";
    for (name, content) in [("d.mp4", dash.as_bytes()), ("s.mp4", sdp.as_bytes()), ("picture-%03d.png", png)]
    {
        let error = refused(&scratch.write(name, content));
        assert!(matches!(error, Error::UnsupportedFormat { .. } | Error::InvalidData { .. }), "{error:?}");
    }
}

#[test]
fn a_path_is_a_file_name_whatever_it_looks_like() {
    let scratch = Scratch::new();
    let trap = Trap::new();
    let clip = scratch.clip("clip.mp4", &small());
    let shown = clip.display();
    for name in [
        format!("concat:{shown}|{shown}"),
        format!("http://127.0.0.1:{}/a.mp4", trap.port()),
        format!("tcp://127.0.0.1:{}", trap.port()),
        format!("file:{shown}"),
        format!("subfile,,start,0,end,100,,:{shown}"),
        "pipe:0".to_owned(),
    ] {
        let error = refused(Path::new(&name));
        assert!(matches!(error, Error::NotFound { .. }), "{name}: {error:?}");
    }
    trap.assert_untouched();
    // The other way round: such a name of a real file works.
    for name in ["concat:a|b", "pipe:0", "a%03d.mp4", "-i"] {
        let odd = scratch.file(name);
        std::fs::copy(&clip, &odd).unwrap();
        assert!(!packets(&mut open(&odd).unwrap()).is_empty(), "{name}");
    }
    assert!(matches!(refused(Path::new("a\0b.mp4")), Error::InvalidArgument { .. }));
}

#[test]
fn a_file_that_names_another_file_gets_nothing_of_it() {
    // A self-contained format with a reference inside: MOV with an external data reference. libav ignores those unless told
    // otherwise; if it did not, opening would be refused.
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mov", &small());
    let bytes = std::fs::read(&clip).unwrap();
    // dref "url " with flag 1 (self-contained) becomes one without it.
    let at = bytes.windows(8).position(|window| window == b"url \0\0\0\x01").unwrap();
    let mut changed = bytes;
    changed[at + 7] = 0;
    let path = scratch.write("changed.mov", &changed);
    match open(&path) {
        Ok(mut input) => while let Ok(Some(_)) = input.read() {},
        Err(error) => assert!(!error.is_retryable(), "{error:?}"),
    }
}

#[test]
fn what_is_no_media() {
    let scratch = Scratch::new();
    assert!(matches!(refused(&scratch.write("empty.mp4", b"")), Error::Empty { .. }));
    assert!(matches!(refused(&scratch.file("missing.mp4")), Error::NotFound { .. }));
    assert!(matches!(refused(&scratch.file("")), Error::NotAFile { kind: "directory", .. }));
    for (name, content) in
        [("text.mp4", "hello\n".repeat(500)), ("short.mp4", "x".to_owned()), ("text.txt", "a b".repeat(900))]
    {
        let error = refused(&scratch.write(name, content.as_bytes()));
        assert!(
            matches!(error, Error::InvalidData { .. } | Error::UnsupportedFormat { .. }),
            "{name}: {error:?}"
        );
    }
    // The index of this MP4 is at its end, which is cut off.
    let bytes = std::fs::read(scratch.clip("whole.mp4", &small())).unwrap();
    let error = refused(&scratch.write("cut.mp4", &bytes[..bytes.len() / 2]));
    assert!(matches!(error, Error::InvalidData { .. }), "{error:?}");
    assert_eq!(error.code(), "INPUT_INVALID");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_ends_at_once() {
    let scratch = Scratch::new();
    let fifo = scratch.file("fifo.mp4");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let socket = scratch.file("socket.mp4");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let started = Instant::now();
    for (path, kind) in
        [(fifo.as_path(), "FIFO"), (socket.as_path(), "socket"), (Path::new("/dev/zero"), "device")]
    {
        let error = refused(path);
        assert!(matches!(&error, Error::NotAFile { kind: found, .. } if *found == kind), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_sparse_file_of_zeros_ends_in_time() {
    let scratch = Scratch::new();
    let path = scratch.write("zeros.mp4", b"");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100 << 30).unwrap();
    let started = Instant::now();
    let error = refused(&path);
    assert!(matches!(error, Error::InvalidData { .. } | Error::UnsupportedFormat { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn damaged_files_are_survived() {
    let scratch = Scratch::new();
    let source = scratch.clip("source.mp4", &small());
    for extension in ["mp4", "mkv", "ts", "flv"] {
        let path = scratch.file(&format!("good.{extension}"));
        common::remux(&source, &path);
        let good = std::fs::read(&path).unwrap();
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..25 {
            let mut bad = good.clone();
            for _ in 0..8 {
                // xorshift: the same damage in every run.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state % good.len() as u64).unwrap();
                bad[at] ^= u8::try_from(state >> 56).unwrap() | 1;
            }
            let path = scratch.write(&format!("bad.{extension}"), &bad);
            if let Ok(mut input) = open(&path) {
                // Errors within may be read over; a bound, as a damaged place may be met again and again.
                for _ in 0..2000 {
                    if matches!(input.read(), Ok(None)) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn addresses_of_other_schemes_are_refused() {
    let options = OpenOptions::default();
    for url in [
        "file:///etc/passwd",
        "/etc/passwd",
        "concat:a|b",
        "data:text/plain,a",
        "pipe:0",
        "lavfi:testsrc",
        "x",
    ] {
        let error = Demuxer::open_url(url, &options, &Interrupt::new()).unwrap_err();
        assert!(matches!(error, Error::ProtocolRefused { .. }), "{url}: {error:?}");
    }
}

/// Serves one answer to every connection until dropped.
fn serve(answer: Vec<u8>) -> (u16, std::thread::JoinHandle<usize>, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut served = 0;
        for connection in listener.incoming() {
            if stopped.try_recv().is_ok() {
                break;
            }
            let mut connection = connection.unwrap();
            let mut request = [0; 2048];
            let _ = connection.read(&mut request);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            let _ = connection.write_all(head.as_bytes());
            let _ = connection.write_all(&answer);
            served += 1;
        }
        served
    });
    (port, thread, stop)
}

#[test]
fn a_served_playlist_is_only_followed_when_allowed_and_never_to_files() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.ts", &small());
    let (port, thread, stop) = serve(playlist(&format!("file:{}", clip.display())).into_bytes());
    let url = format!("http://127.0.0.1:{port}/live/index.m3u8?token=canary-4711");
    let error = Demuxer::open_url(&url, &OpenOptions::default(), &Interrupt::new()).unwrap_err();
    assert!(
        matches!(&error, Error::UnsupportedFormat { format, .. } if format.starts_with("hls")),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("canary"));
    let options = OpenOptions { protocols: Protocols::Playlists, ..OpenOptions::default() };
    let error = Demuxer::open_url(&url, &options, &Interrupt::new()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    stop.send(()).unwrap();
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert!(thread.join().unwrap() >= 2);
}

#[test]
fn media_over_http_is_read() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.ts", &small());
    let expected = packets(&mut open(&clip).unwrap()).len();
    let (port, thread, stop) = serve(std::fs::read(&clip).unwrap());
    let url = format!("http://127.0.0.1:{port}/clip.ts");
    let mut input = Demuxer::open_url(&url, &OpenOptions::default(), &Interrupt::new()).unwrap();
    assert_eq!(packets(&mut input).len(), expected);
    assert!(matches!(input.rewind(), Err(Error::NotSeekable { .. })));
    drop(input);
    stop.send(()).unwrap();
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    thread.join().unwrap();
}
