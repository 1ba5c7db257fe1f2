//! What must not be reached through an address that somebody else has given, and is not.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use flowcast::pull::{Pull, Reach};
use flowcast::{Error, Output, RtmpServerExt, Source};
use kit::rig::{engine, quickly};
use kit::{Apart, Need, SilentDns, Web, alone, directory, make, need, ran, role_arguments, text, wait_until};

use super::{Rtsp, clip, mkv, srt_at, stream_of, wait_ended, wait_live, wait_media};

/// Why a stream from this address ends.
fn ended_with(url: &str, reach: &Reach) -> Error {
    let engine = engine(|_| {});
    let events = engine.events();
    let folder = directory();
    let mut policy = quickly();
    policy.tries = Some(1);
    let pull = Pull::url(url).reach(reach.clone()).reconnect(policy).silence(Duration::from_secs(1));
    match engine.stream(Source::pull(pull)).record(folder.path().join("none.flv")).start() {
        Ok(live) => {
            let error = wait_ended(&events).unwrap_or_else(|| panic!("{url} was played"));
            drop(live);
            error
        }
        Err(error) => error,
    }
}

fn is_refusal(error: &Error) -> bool {
    let code = |error: &Error| {
        matches!(
            error.code(),
            "ADDRESS_REFUSED" | "PROTOCOL_REFUSED" | "CONFIG_INVALID" | "URL_INVALID" | "DNS_FAILED"
        )
    };
    match error {
        Error::GaveUp { source, .. } => code(source),
        error => code(error),
    }
}

/// A place where nobody may come.
struct Trap(TcpListener, UdpSocket);

impl Trap {
    fn new() -> Self {
        Self::at("0.0.0.0:0".parse().expect("an address"))
    }

    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("it can be");
        let address = listener.local_addr().expect("it is bound");
        let socket = UdpSocket::bind(address).expect("a free port");
        socket.set_nonblocking(true).expect("it can be");
        Self(listener, socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    #[track_caller]
    fn assert_unvisited(&self, why: &str) {
        assert!(self.0.accept().is_err(), "{why}: it was connected to");
        assert!(self.1.recv_from(&mut [0; 2048]).is_err(), "{why}: something was sent to it");
    }
}

/// Forty addresses and more, and none is reached: by every scheme, in every form.
#[test]
fn addresses_that_must_not_be_reached_are_not() {
    let trap = Trap::new();
    let port = trap.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let by_host = hosts
        .iter()
        .flat_map(|host| ["http", "rtsp", "srt"].map(|scheme| format!("{scheme}://{host}:{port}/a.m3u8")));
    let others = [
        "file:///etc/passwd",
        "/etc/passwd",
        "concat:/etc/passwd|/etc/passwd",
        "data:text/plain,a",
        "crypto:/etc/passwd",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "unix:/run/docker.sock",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/a.ts",
        "tcp://127.0.0.1:80",
        "udp://127.0.0.1:80",
        "rtp://127.0.0.1:80",
        "async:file:/etc/passwd",
        "cache:http://127.0.0.1/",
        "http://user@127.0.0.1\\@example.com/",
        "tee:a",
        "lavfi:testsrc",
        "srt://0.0.0.0:{}?mode=listener",
        "srt://127.0.0.1:{}?localaddr=0.0.0.0",
    ];
    let others = others.iter().map(|url| url.replace("{}", &port.to_string()));
    let urls: Vec<String> = by_host.chain(others).collect();
    assert!(urls.len() >= 40);
    for url in urls {
        let error = ended_with(&url, &Reach::public());
        assert!(is_refusal(&error), "{url}: {error:?}");
        trap.assert_unvisited(&url);
    }
}

/// A server that may be reached leads on: by redirects, playlists, segments, maps, keys.
#[test]
fn what_a_server_leads_to_is_judged_by_itself() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let folder = directory();
    make(folder.path(), "a.ts", "-f lavfi -i testsrc2=size=64x36:rate=25 -t 2 -c:v libx264");
    let server = Web::start(folder.path());
    let trap = Trap::new();
    let reach = Reach::public().and("127.0.0.1/32".parse().expect("a network"));
    let segment = "#EXTINF:2,\na.ts\n";
    let places = [
        format!("http://127.0.0.2:{}/a", trap.port()),
        format!("//127.0.0.2:{}/a", trap.port()),
        format!("http://127.2:{}/a", trap.port()),
        format!("http://[::ffff:127.0.0.2]:{}/a", trap.port()),
        format!("http://[::1]:{}/a", trap.port()),
        format!("rtsp://127.0.0.1:{}/a", trap.port()),
        "file:///etc/passwd".to_owned(),
        "data:application/octet-stream;base64,R0FCQw==".to_owned(),
        format!("crypto+http://127.0.0.2:{}/a", trap.port()),
        "concat:a.ts|a.ts".to_owned(),
    ];
    for place in &places {
        let lists = [
            ("/variant.m3u8", format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{place}\n")),
            (
                "/sound.m3u8",
                format!(
                    "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",URI=\"{place}\"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"s\"\nfine.m3u8\n"
                ),
            ),
            ("/fine.m3u8", format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{segment}#EXT-X-ENDLIST\n")),
            (
                "/segment.m3u8",
                format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{place}\n#EXT-X-ENDLIST\n"),
            ),
            (
                "/map.m3u8",
                format!(
                    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"{place}\"\n{segment}#EXT-X-ENDLIST\n"
                ),
            ),
            (
                "/key.m3u8",
                format!(
                    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI=\"{place}\"\n{segment}#EXT-X-ENDLIST\n"
                ),
            ),
            (
                "/redirected.m3u8",
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nredirect\n#EXT-X-ENDLIST\n".to_owned(),
            ),
        ];
        for (path, text) in &lists {
            server.text(path, text);
        }
        server.redirect("/redirect", place);
        let paths = lists.iter().map(|(path, _)| *path).filter(|path| *path != "/fine.m3u8");
        for path in paths.chain(["/redirect"]) {
            let error = ended_with(&server.url(path), &reach);
            assert!(is_refusal(&error), "{path} to {place}: {error:?}");
            trap.assert_unvisited(&format!("{path} to {place}"));
        }
    }
    // The same reach, and a place that is allowed.
    assert!(server.asked().iter().any(|path| path == "/fine.m3u8"));
}

/// A server of RTSP redirects: to where it may not, in the ways libav understands, of which some are not those of the standard.
#[test]
fn redirects_of_rtsp_are_judged_too() {
    use std::io::{Read, Write};
    use std::sync::{Arc, Mutex};

    let trap = Trap::new();
    let reach = Reach::public().and("127.0.0.1/32".parse().expect("a network"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let to = format!("rtsp://127.0.0.2:{}/show", trap.port());
    let answer = Arc::new(Mutex::new(String::new()));
    let says = answer.clone();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let says = says.lock().expect("nobody fails").clone();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(count @ 1..) = socket.read(&mut request) {
                    let request = String::from_utf8_lossy(&request[..count]).into_owned();
                    let number = request.lines().find_map(|line| line.strip_prefix("CSeq:")).unwrap_or("1");
                    let _ = socket.write_all(says.replace("{n}", number.trim()).as_bytes());
                }
            });
        }
    });
    let rest = format!(" Moved\r\nCSeq: {{n}}\r\nLocation: {to}\r\n\r\n");
    let fine = "RTSP/1.0 200 OK\r\nCSeq: {n}\r\nPublic: DESCRIBE\r\n";
    for (text, is_seen) in [
        (format!("RTSP/1.0 302{rest}"), true),
        (format!("RTSP/1.0  302{rest}"), true),
        (format!("RTSP/1.0\t302{rest}"), true),
        (format!(" RTSP/1.0 302{rest}"), true),
        (format!("{fine}\n\r\nRTSP/1.0 302{rest}"), true),
        (format!("{}\n\r\r\nRTSP/1.0 302{rest}", fine.trim_end()), true),
        (format!("{fine}Content-Length: 4294967296\r\n\r\nRTSP/1.0 302{rest}"), false),
        (format!("{fine}Content-Length: 100\r\nContent-Length: 0\r\n\r\nRTSP/1.0 302{rest}"), false),
        (format!("{fine}\r\n$\0\0\x04RTSPRTSP/1.0 302{rest}"), true),
    ] {
        answer.lock().expect("nobody fails").clone_from(&text);
        let error = ended_with(&format!("rtsp://{address}/show"), &reach);
        trap.assert_unvisited(&text);
        let is_refused =
            matches!(&error, Error::AddressRefused { address, .. } if address.to_string() == "127.0.0.2");
        assert_eq!(is_refused, is_seen, "{text:?}: {error:?}");
    }
}

/// An address of the internet, which the loopback interface has in the network of the test.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const REBINDING: &str = "pull_live::reach::the_place_that_was_judged_is_the_place_that_is_dialled";

/// A name server that gives an address that may be reached for the first question, and one that must not be reached for all others.
#[test]
fn the_place_that_was_judged_is_the_place_that_is_dialled() {
    if alone("rebound") {
        return play_from_names_that_change();
    }
    if alone("rebinding") {
        return answer_once_and_then_otherwise();
    }
    if need(&[Need::Apart(Apart::Network), Need::SilentDns, Need::Ffmpeg, Need::RtspServer]) {
        print!("{}", Apart::Network.run("rebinding", REBINDING, Duration::from_secs(180)));
    }
}

fn answer_once_and_then_otherwise() {
    let added = Command::new("ip").args(["address", "add", &format!("{PUBLIC}/32"), "dev", "lo"]).status();
    assert!(added.is_ok_and(|status| status.success()));
    let dns = SilentDns::start();
    let (program, arguments) = role_arguments("rebound", REBINDING);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = dns.spawn(&program, &arguments);
    let (mut asked, deadline) = (HashSet::new(), Instant::now() + Duration::from_secs(150));
    wait_until(deadline - Instant::now(), || {
        dns.answer_with(|name| if asked.insert(name.to_owned()) { PUBLIC } else { Ipv4Addr::LOCALHOST });
        !child.is_running()
    });
    child.wait_success(Duration::from_secs(1));
    println!("asked for {asked:?}");
    assert!(asked.len() >= 4, "{asked:?}");
    ran(child.output());
}

fn play_from_names_that_change() {
    let folder = directory();
    let clip = clip(folder.path(), 20);
    make(folder.path(), "a.ts", &format!("-i {} -c copy", text(&clip)));
    let free = || TcpListener::bind((PUBLIC, 0)).and_then(|socket| socket.local_addr()).expect("a free port");
    let trap_beside = |address: SocketAddr| Trap::at((Ipv4Addr::LOCALHOST, address.port()).into());
    let web = Web::start_at(free(), folder.path());
    lead_home(&web);
    let rtsp = Rtsp::at(free(), &mkv(&clip), None);
    let srt_place = free();
    let _srt = srt_at(&clip, srt_place, 200_000);
    let origin = engine(|_| {});
    let server = origin.rtmp_server(format!("{PUBLIC}:0").as_str()).start().expect("a free port");
    let show = origin.stream(Source::file(&clip).looped()).to(Output::publish("show")).start();
    let _show = show.expect("it starts");
    for (url, address) in [
        ("http://body.example.com:{}/a.ts", web.address()),
        ("rtsp://camera.example.com:{}/show", rtsp.address),
        ("srt://sender.example.com:{}?latency=200000", srt_place),
        ("rtmp://origin.example.com:{}/live/show", server.address()),
    ] {
        let trap = trap_beside(address);
        let url = url.replace("{}", &address.port().to_string());
        let engine = engine(|_| {});
        let events = engine.events();
        let pull = Pull::url(&url).reach(Reach::public()).reconnect(quickly());
        let live = stream_of(&engine, pull, &folder.path().join("recorded.flv"));
        wait_live(&events);
        wait_media(&live, Duration::from_millis(500));
        live.stop(Duration::from_secs(5)).expect("it runs well");
        trap.assert_unvisited(&url);
        // Asked again, the name leads where nobody may come.
        let error = ended_with(&url, &Reach::public());
        assert!(is_refusal(&error), "{url}: {error:?}");
        trap.assert_unvisited(&url);
    }
}

/// Without a setting, a server on the internet that leads to this machine gets no further, and one on this machine does.
fn lead_home(web: &Web) {
    for path in ["/home", "/home.m3u8"] {
        let trap = Trap::at((Ipv4Addr::LOCALHOST, 0).into());
        let place = format!("http://127.0.0.1:{}/a.ts", trap.port());
        web.redirect("/home", &place);
        let list = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{place}\n#EXT-X-ENDLIST\n");
        web.text("/home.m3u8", &list);
        let error = ended_with(&web.url(path), &Reach::default());
        assert!(is_refusal(&error), "{path}: {error:?}");
        trap.assert_unvisited(path);
        let error = ended_with(&web.url(path), &Reach::any());
        assert!(!is_refusal(&error) && trap.0.accept().is_ok(), "{path}: {error:?}");
    }
}
