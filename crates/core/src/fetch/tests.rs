//! Against servers that say what a test wants, on a loopback address.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};

use super::*;
use crate::config::ConnectConfig;
use crate::net::reach::{Judge, Reach};
use crate::net::resolver::Resolver;
use crate::net::tls::TlsRoots;

/// A server that answers each request, by its path, and keeps the connection as long as the client does. Says what was asked.
struct Server {
    port: u16,
    asked: mpsc::Receiver<String>,
    /// Connections so far.
    connections: Arc<std::sync::atomic::AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str, u16) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (send, asked) = mpsc::channel();
        let (answer, connections) = (Arc::new(answer), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let count = connections.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let (answer, send) = (answer.clone(), send.clone());
                std::thread::spawn(move || serve(&socket, port, &*answer, &send));
            }
        });
        Self { port, asked, connections }
    }

    fn url(&self, path: &str) -> Location {
        Location::parse(&format!("http://127.0.0.1:{}{path}", self.port)).expect("a URL")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

fn serve(socket: &TcpStream, port: u16, answer: &dyn Fn(&str, u16) -> Vec<u8>, send: &mpsc::Sender<String>) {
    let mut lines = BufReader::new(socket).lines();
    loop {
        let head: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
        let bytes = answer(path, port);
        let _ = send.send(head.join("\n"));
        if (&*socket).write_all(&bytes).is_err() || !bytes.starts_with(b"HTTP/1.1 ") || path.contains("close")
        {
            let _ = socket.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn client(reach: Reach) -> Client {
    let dial = Dial {
        reach: Arc::new(Judge::new(reach)),
        roots: TlsRoots::default(),
        connect: ConnectConfig::default(),
        resolver: Resolver::default(),
        cancel: Cancel::default(),
    };
    Client::new(dial, Duration::from_secs(10))
}

fn whole(response: Response) -> io::Result<Vec<u8>> {
    let (mut body, mut bytes) = (response.body, Vec::new());
    body.read_to_end(&mut bytes).map(|_| bytes)
}

fn plain(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn bodies_of_each_kind_are_whole_and_one_connection_serves_them() {
    let server = Server::start(|path, _| {
        match path {
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n \r\n00005\r\nworld\r\n0\r\nA: b\r\n\r\n".to_vec(),
        "/continued" => [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), plain("hello world")].concat(),
        "/close" => b"HTTP/1.1 200 OK\r\n\r\nhello world".to_vec(),
        "/none" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ => plain("hello world"),
    }
    });
    let client = client(Reach::any());
    for path in ["/", "/chunked", "/continued", "/?a=b c", "/close"] {
        let response = client.get(&server.url(path), None).expect("it answers");
        assert_eq!(whole(response).expect("it is whole"), b"hello world", "{path}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    let range = Some(Range { from: 6, length: 3 });
    let response = client.get(&server.url("/"), range).expect("it answers");
    assert_eq!(whole(response).expect("it is whole"), b"wor", "a server that knows no ranges");
    let asked = server.asked();
    assert!(asked.iter().any(|head| head.contains("GET /?a=b%20c HTTP/1.1")), "{asked:?}");
    assert!(asked.last().is_some_and(|head| head.contains("Range: bytes=6-8")), "{asked:?}");
    // The one before was closed by the server; the client does not give up for that.
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);
}

#[test]
fn what_is_cut_off_or_no_http_is_an_error() {
    let server = Server::start(|path, _| match path {
        "/close/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_vec(),
        "/close/chunk" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello".to_vec(),
        "/size" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n".to_vec(),
        "/long" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n".to_vec(),
        "/huge" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n".to_vec(),
        "/head" => [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 100_000]].concat(),
        "/zipped" => b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na".to_vec(),
        "/length" => b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na".to_vec(),
        _ => b"220 a server of mail\r\n".to_vec(),
    });
    for path in
        ["/close/short", "/close/chunk", "/size", "/long", "/huge", "/head", "/zipped", "/length", "/mail"]
    {
        let read = client(Reach::any()).get(&server.url(path), None).map(whole);
        assert!(!matches!(read, Ok(Ok(_))), "{path}");
    }
}

#[test]
fn redirects_are_followed_a_few_times_and_the_password_stays_with_its_host() {
    let server = Server::start(|path, port| {
        let to = match path {
            "/relative" => "next".to_owned(),
            "/other" => format!("http://localhost:{port}/next"),
            "/round" => "/round".to_owned(),
            "/file" => "file:///etc/passwd".to_owned(),
            "/next" => return plain("there"),
            _ => return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let client = client(Reach::any());
    let url = |path| {
        Location::parse(&format!("http://us%40er:pass@127.0.0.1:{}{path}", server.port)).expect("a URL")
    };
    for (path, logins) in [("/relative", 2), ("/other", 1)] {
        let response = client.get(&url(path), None).expect("it answers");
        assert_eq!(response.location.target(), "/next");
        assert_eq!(whole(response).expect("it is whole"), b"there");
        let asked = server.asked();
        let login = "Authorization: Basic dXNAZXI6cGFzcw==";
        assert_eq!(asked.iter().filter(|head| head.contains(login)).count(), logins, "{asked:?}");
    }
    let error = |path| client.get(&url(path), None).err().expect("it is refused");
    assert!(matches!(error("/round"), Error::ConnectionLost { .. }));
    assert_eq!(error("/file").code(), "PROTOCOL_REFUSED");
    let missing = error("/missing");
    assert!(matches!(&missing, Error::HttpStatus { status: 404, .. }) && missing.is_retryable(), "{missing}");
    assert_eq!(missing.to_string(), "127.0.0.1: the server answered with status 404");
}

/// None of these is connected to: there is a server at the port, and it hears of nothing.
#[test]
fn what_must_not_be_reached_is_not_connected_to() {
    let server = Server::start(|_, _| plain("secret"));
    let port = server.port;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let client = client(Reach::public());
    for host in hosts {
        let url = Location::parse(&format!("http://{host}:{port}/"))
            .unwrap_or_else(|error| panic!("{host}: {error}"));
        let error = client.get(&url, None).err().unwrap_or_else(|| panic!("{host} was reached"));
        // What is no address for the system's resolver is no name either.
        assert!(matches!(error, Error::AddressRefused { .. } | Error::Dns { .. }), "{host}: {error}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);
    // Only where it is allowed, and then redirects are judged by themselves.
    let server = Server::start(|_, port| {
        format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{port}/\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    let client = self::client(Reach::public().and("127.0.0.1/32".parse().expect("a network")));
    let error = client.get(&server.url("/"), None).err().expect("it leads elsewhere");
    assert!(
        matches!(&error, Error::AddressRefused { address, .. } if address.to_string() == "127.0.0.2"),
        "{error}"
    );
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_a_cancel_ends_every_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let url = Location::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
    let mut patient = client(Reach::any());
    patient.dial.connect.reply = Duration::from_millis(150);
    let error = patient.get(&url, None).err().expect("there is no answer");
    let is_late = |error: &Error| matches!(error, Error::ConnectionLost { source, .. } if source.kind() == io::ErrorKind::TimedOut);
    assert!(is_late(&error), "{error}");
    let client = client(Reach::any());
    let cancel = client.cancel().clone();
    let waiting = std::thread::spawn(move || client.get(&url, None).err().expect("there is no answer"));
    // Two connections wait, and nobody has accepted them.
    let _ = listener.accept().and_then(|_| listener.accept()).expect("both come");
    cancel.cancel();
    let error = waiting.join().expect("it ends");
    assert!(!is_late(&error), "{error}");
}

#[test]
fn letters_and_codes() {
    for (text, expected) in
        [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abc\u{ff}", "YWJjw78=")]
    {
        assert_eq!(base64(text.as_bytes()), expected);
    }
    for (text, expected) in
        [("a%40b", "a@b"), ("%", "%"), ("%4", "%4"), ("%+4", "%+4"), ("%zz%41", "%zzA"), ("é%C3%A9", "éé")]
    {
        assert_eq!(percent_decoded(text), expected.as_bytes(), "{text}");
    }
}
