//! Deadlines of the thread that dials.

use std::net::TcpListener;

use flowcast_rtmp::key::StreamKey;

use super::*;
use crate::net::reach::Reach;

/// A thread with one attempt at `address`, which is being connected.
fn connecting(address: SocketAddr, tell: Sender<Result<Reached, Error>>) -> Thread {
    let (mut thread, _) = Thread::new(DialLimits::default()).expect("descriptors");
    let request = Request {
        destination: Destination::with_key(
            &format!("rtmp://{address}/live"),
            StreamKey::new("key".to_owned()),
        )
        .expect("an address"),
        role: ClientRole::Publish,
        roots: TlsRoots::Platform,
        config: ConnectConfig::default(),
        reach: Arc::new(Judge::new(Reach::any())),
        is_again: false,
        via: String::new(),
        enhanced: false,
        login: None,
        cancelled: Arc::default(),
        asked: Arc::default(),
        reply: Reply::new(move |result| drop(tell.send(result))),
    };
    let now = Instant::now();
    thread.attempts.insert(0, Attempt { request, state: State::Resolving, deadline: now });
    thread.resolved(0, &Ok(vec![address]), now);
    thread
}

#[test]
fn a_server_that_answered_while_the_process_stood_still_is_not_late() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (tell, told) = crossbeam_channel::unbounded();
    let mut thread = connecting(listener.local_addr().expect("it is bound"), tell);
    let _server = listener.accept().expect("it is connected to");
    // The deadline has passed, and the poll has not told that the connection is there: a signal came in between.
    let now = Instant::now() + Duration::from_secs(3600);
    thread.expire(now, &mut [0; READ_BUFFER]);
    let is_on = matches!(thread.attempts.get(&0), Some(Attempt { state: State::Rtmp { .. }, .. }));
    assert!(told.is_empty() && is_on, "{:?}", told.try_recv());
}

#[test]
fn a_server_that_does_not_answer_is_late_at_the_deadline() {
    // Room for one who waits, and that one is there: the kernel answers nobody else.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(0).expect("it is bound");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let _waits = std::net::TcpStream::connect(address).expect("there is room");
    let (tell, told) = crossbeam_channel::unbounded();
    let mut thread = connecting(address, tell);
    thread.expire(Instant::now() + Duration::from_secs(3600), &mut [0; READ_BUFFER]);
    let late = |error: &Error| matches!(error, Error::ConnectTimeout { step: ConnectStep::Tcp, .. });
    assert!(told.try_recv().is_ok_and(|result| result.is_err_and(|error| late(&error))));
    assert!(thread.attempts.is_empty());
}
