//! The attacks. Each takes a number that says how hard, and checks what the server counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flowcast::rtmp::session::ClientRole;
use socket2::SockRef;

use crate::Field;
use crate::server::{EVIL, KEY, NAME, evil_key};
use crate::vectors::before_auth;
use crate::wire::{
    AUDIO, COMMAND, DATA, Random, VIDEO, chunk_size, command, connect, create_stream, handshake, header,
    message, message_in, publish, read_to_close, string, tcp, write_until_closed,
};
use kit::{PATIENCE, Session, tls_stream, wait_for, wait_until};

/// Somebody of the honest pair is a connection, too.
const HONEST: u64 = 2;

/// Waits until nobody but the honest is left, all of whom `before` have been counted.
fn wait_alone(field: &Field) {
    field.server.wait("hostile connections stay", |counters| counters.get("connections") == HONEST);
}

/// Waits until this many more refusals were counted, and nobody but the honest is left.
fn wait_refused(field: &Field, before: u64, more: u64) {
    field.server.wait("refusals are not counted", |counters| counters.refusals() >= before + more);
    wait_alone(field);
}

/// Every vector, `rounds` times.
pub(crate) fn vectors(field: &Field, rounds: usize) {
    for _ in 0..rounds {
        let vectors = before_auth();
        let before = field.server.counters().refusals();
        let mut open: Vec<_> = vectors
            .iter()
            .map(|(_, bytes)| {
                let mut socket = tcp(field.server.address);
                socket.write_all(&handshake()).expect("a handshake is taken");
                write_until_closed(&mut socket, bytes, PATIENCE);
                socket
            })
            .collect();
        let mut garbage = tcp(field.server.address);
        write_until_closed(&mut garbage, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", PATIENCE);
        open.push(garbage);
        field.wait_newcomer();
        // Whoever was not refused for what he said lets the deadline pass.
        for socket in &mut open {
            read_to_close(socket);
        }
        wait_refused(field, before, open.len() as u64);
    }
}

/// `count` connections that say nothing, or each of them a byte now and then: of RTMP, after its handshake, and of TLS.
pub(crate) fn silent(field: &Field, count: usize) {
    hold(field, count, field.server.address, |_| Vec::new(), false);
}

/// See [`silent`].
pub(crate) fn dripping(field: &Field, count: usize) {
    hold(field, count, field.server.address, |_| vec![3], true);
}

/// See [`silent`].
pub(crate) fn silent_after_the_handshake(field: &Field, count: usize) {
    let said = |number| if number % 2 == 0 { handshake() } else { [handshake(), connect()].concat() };
    hold(field, count, field.server.address, said, false);
}

/// See [`silent`].
pub(crate) fn silent_in_tls(field: &Field, count: usize) {
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    hold(field, count, field.server.secure, |number| hello[..number % hello.len()].to_vec(), false);
}

fn hold(field: &Field, count: usize, address: SocketAddr, said: impl Fn(usize) -> Vec<u8>, drip: bool) {
    const BETWEEN: Duration = Duration::from_millis(200);
    let before = field.server.counters();
    let mut open: Vec<_> = (0..count)
        .map(|number| {
            let mut socket = tcp(address);
            write_until_closed(&mut socket, &said(number), PATIENCE);
            socket.set_nonblocking(true).expect("a TCP socket");
            socket
        })
        .collect();
    let mut last = Instant::now();
    let all_closed = wait_until(PATIENCE, || {
        let due = drip && last.elapsed() > BETWEEN;
        last = if due { Instant::now() } else { last };
        open.retain_mut(|socket| {
            let gone = due && socket.write(&[0]).is_err_and(|error| !would_block(&error));
            let closed = match socket.read(&mut [0; 4096]) {
                Ok(count) => count == 0,
                Err(error) => !would_block(&error),
            };
            !gone && !closed
        });
        open.is_empty()
    });
    assert!(all_closed, "{} are still open: {:?}", open.len(), field.server.counters());
    wait_refused(field, before.refusals(), count as u64);
}

fn would_block(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

/// Runs something on a few threads at once, with the numbers up to `count` shared out.
fn spread(count: usize, one: impl Fn(usize) + Sync) {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        for first in 0..THREADS.min(count) {
            let one = &one;
            scope.spawn(move || (first..count).step_by(THREADS).for_each(one));
        }
    });
}

/// Connections that come and go: at once, with a reset, in and after the handshake.
pub(crate) fn storm(field: &Field, count: usize) {
    let before = field.server.counters();
    let came = |counters: &crate::server::Counters| counters.get("accepted") + counters.get("refused_full");
    spread(count, |number| {
        let mut socket = tcp(field.server.address);
        let said = match number % 4 {
            0 | 1 => Vec::new(),
            2 => handshake()[..1000].to_vec(),
            _ => [handshake(), connect()].concat(),
        };
        write_until_closed(&mut socket, &said, PATIENCE);
        if number % 2 == 1 {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        }
    });
    // A few are reset before the kernel has put them into the queue to be accepted.
    let least = came(&before) + (count - count / 100) as u64;
    field.server.wait("not everybody was taken in", |counters| came(counters) >= least);
    wait_alone(field);
}

/// Publishers with keys that nobody has, who send media right behind.
pub(crate) fn wrong_keys(field: &Field, count: usize) {
    let before = field.server.counters();
    let media = message(6, VIDEO, &[0x17; 20_000], 1);
    spread(count, |number| {
        let mut socket = tcp(field.server.address);
        write_until_closed(&mut socket, &publish(&format!("no-key-{number}")), PATIENCE);
        write_until_closed(&mut socket, &media, PATIENCE);
        // It may be closed already.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let answer = read_to_close(&mut socket);
        assert!(!answer.windows(13).any(|window| window == b"Publish.Start"), "let in");
    });
    wait_refused(field, before.refusals(), count as u64);
}

/// Media instead of a publish, as fast as it goes, `count` times 4 MiB.
pub(crate) fn media_before_publish(field: &Field, count: usize) {
    let before = field.server.counters();
    let media = message_in(4096, 6, VIDEO, &vec![0x17; 1 << 20], 1);
    let starts =
        [handshake(), [handshake(), connect()].concat(), [handshake(), connect(), create_stream()].concat()];
    spread(count, |number| {
        let mut socket = tcp(field.server.address);
        write_until_closed(&mut socket, &starts[number % starts.len()], PATIENCE);
        write_until_closed(&mut socket, &chunk_size(4096), PATIENCE);
        for _ in 0..4 {
            write_until_closed(&mut socket, &media, PATIENCE);
        }
        read_to_close(&mut socket);
    });
    wait_refused(field, before.refusals(), count as u64);
}

/// AMF of every bad kind, `count` times each: as a stranger's connect, a player's command and a publisher's metadata.
pub(crate) fn amf(field: &Field, count: usize) {
    let before = field.server.counters();
    let bodies = [
        b"\x03\0\x01a".repeat(10_000),
        b"\x0a\0\0\0\x01".repeat(10_000),
        b"\x0a\xff\xff\xff\xff".to_vec(),
        b"\x08\xff\xff\xff\xff".to_vec(),
        [b"\x0a\xff\xff\xff\xff".to_vec(), vec![5; 50_000]].concat(),
        b"\x0c\xff\xff\xff\xffx".to_vec(),
    ];
    for number in 0..count {
        for body in &bodies {
            let mut stranger = tcp(field.server.address);
            write_until_closed(&mut stranger, &handshake(), PATIENCE);
            let tail = [string("connect"), crate::wire::number(1.0), body.clone()].concat();
            write_until_closed(&mut stranger, &message(3, COMMAND, &tail, 0), PATIENCE);
            read_to_close(&mut stranger);

            let mut player = live(field, ClientRole::Play, NAME);
            write_until_closed(&mut player, &message(3, COMMAND, &tail, 1), PATIENCE);
            wait_closed(&mut player);
        }
        // What a publisher says of its media is not the server's business; it may stay.
        let mut publisher = live(field, ClientRole::Publish, &evil_key(number % EVIL));
        for body in &bodies {
            let metadata = [string("@setDataFrame"), string("onMetaData"), body.clone()].concat();
            write_until_closed(&mut publisher, &message_in(60_000, 4, DATA, &metadata, 1), PATIENCE);
        }
        drop(publisher);
        wait_alone(field);
    }
    wait_refused(field, before.refusals(), 2 * (count * bodies.len()) as u64);
}

/// A publisher or player that was let in; its socket and nothing else.
fn live(field: &Field, role: ClientRole, name: &str) -> TcpStream {
    let mut session = None;
    let let_in = wait_until(PATIENCE, || {
        let mut one = Session::plain(role, field.server.address, &format!("live/{name}"));
        // The last one of this name may be on its way out.
        let live = matches!(one.go_live(), Ok(true));
        session = live.then_some(one);
        live
    });
    assert!(let_in, "{name} is not let in: {:?}", field.server.counters());
    let mut session = session.expect("it was let in");
    session.send().expect("an open connection");
    session.stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero");
    session.stream
}

/// Reads on until the server closes.
fn wait_closed(socket: &mut TcpStream) {
    let closed = wait_until(PATIENCE, || match socket.read(&mut [0; 65_536]) {
        Ok(count) => count == 0,
        Err(error) => !would_block(&error) && error.kind() != std::io::ErrorKind::TimedOut,
    });
    assert!(closed, "the server does not close");
}

/// Random bytes after each step of a connection, `count` times.
pub(crate) fn random_bytes(field: &Field, count: usize) {
    let steps = [
        Vec::new(),
        vec![3],
        handshake()[..1537].to_vec(),
        handshake(),
        [handshake(), connect()].concat(),
        [handshake(), connect(), create_stream()].concat(),
        publish("nobody"),
    ];
    spread(count * steps.len(), |number| {
        let mut socket = tcp(field.server.address);
        write_until_closed(&mut socket, &steps[number % steps.len()], PATIENCE);
        let bytes = Random::new(number as u64).bytes(4096);
        socket.set_write_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero");
        write_until_closed(&mut socket, &bytes, PATIENCE);
    });
    spread(count, |number| {
        let bytes = Random::new(number as u64).bytes(100_000);
        let mut player = live(field, ClientRole::Play, NAME);
        write_until_closed(&mut player, &bytes, PATIENCE);
        let mut publisher = live(field, ClientRole::Publish, &evil_key(number % EVIL));
        write_until_closed(&mut publisher, &bytes, PATIENCE);
    });
    wait_alone(field);
}

/// `count` publishers that were let in send at once what `begin` says, and then `repeat` over and over for a while.
fn publishers(field: &Field, count: usize, seconds: f64, begin: &[u8], repeat: &[u8]) -> u64 {
    let sent = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..count {
            let sent = &sent;
            scope.spawn(move || {
                let mut socket = live(field, ClientRole::Publish, &evil_key(number));
                let end = Instant::now() + Duration::from_secs_f64(seconds);
                write_until_closed(&mut socket, begin, Duration::from_secs_f64(seconds));
                while Instant::now() < end && socket.take_error().is_ok_and(|error| error.is_none()) {
                    let count = write_until_closed(&mut socket, repeat, end - Instant::now());
                    sent.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
                    if count == 0 {
                        break;
                    }
                }
            });
        }
    });
    wait_alone(field);
    sent.into_inner()
}

/// Messages of 16 MiB begun on sixty chunk streams and never finished, by `count` publishers.
pub(crate) fn giants(field: &Field, count: usize) {
    let before = field.server.counters();
    let mut bytes = chunk_size(60_000);
    for csid in 4..64_u8 {
        bytes.extend(header(csid, (16 << 20) - 1, VIDEO, 1));
        bytes.resize(bytes.len() + 60_000, 0x27);
    }
    let more: Vec<u8> =
        (4..64_u8).flat_map(|csid| [vec![0xc0 | csid], vec![0x27; 60_000]].concat()).collect();
    publishers(field, count, 5.0, &bytes, &more);
    wait_refused(field, before.refusals(), count as u64);
}

/// Whole pictures of 15 MiB, as fast as they go.
pub(crate) fn giant_pictures(field: &Field, count: usize) {
    let picture = [&[0x17, 1][..], &vec![1; 15 << 20]].concat();
    publishers(field, count, 3.0, &chunk_size(60_000), &message_in(60_000, 6, VIDEO, &picture, 1));
}

/// Codec configurations and metadata of 15 MiB, which would be kept for players.
pub(crate) fn giant_headers(field: &Field, count: usize) {
    let before = field.server.counters();
    let metadata = [string("onMetaData"), b"\x08\0\0\0\0".to_vec()].concat();
    let kept: [(u8, &[u8]); 3] = [(VIDEO, &[0x17, 0]), (AUDIO, &[0xaf, 0]), (DATA, &metadata)];
    for (kind, first) in kept {
        let header = message_in(60_000, 6, kind, &[first, &vec![1; 15 << 20]].concat(), 1);
        publishers(field, count, 3.0, &chunk_size(60_000), &header);
    }
    wait_refused(field, before.refusals(), 3 * count as u64);
}

/// Pictures in chunks of one byte, as fast as they go.
pub(crate) fn chunks_of_one_byte(field: &Field, count: usize) {
    let picture = message_in(1, 6, VIDEO, &[0x27; 100_000], 1);
    publishers(field, count, 3.0, &chunk_size(1), &picture);
}

/// Sounds of one byte, two on the wire, as fast as they go.
pub(crate) fn tiny_tags(field: &Field, count: usize) {
    let begin = [header(4, 1, AUDIO, 1), vec![0xaf]].concat();
    publishers(field, count, 3.0, &begin, &[0xc4, 0xaf].repeat(100_000));
}

/// `count` players that talk without end instead of listening; half of them read.
pub(crate) fn talking_players(field: &Field, count: usize) {
    let pause = |on: bool| {
        let body =
            [string("pause"), crate::wire::number(0.0), vec![5, 1, u8::from(on)], crate::wire::number(0.0)];
        message(8, COMMAND, &body.concat(), 1)
    };
    let talks = [
        message(2, 4, b"\0\x07\0\0\0\x01", 0).repeat(2000),
        command("unheard", 0.0, &["x"], 1).repeat(1000),
        command("_checkbw", 9.0, &[], 0).repeat(1000),
        [pause(true), pause(false)].concat().repeat(500),
    ];
    std::thread::scope(|scope| {
        for number in 0..count {
            let talk = &talks[number / 2 % talks.len()];
            scope.spawn(move || {
                let mut socket = live(field, ClientRole::Play, NAME);
                let end = Instant::now() + Duration::from_secs(3);
                let mut ear = socket.try_clone().expect("a descriptor");
                let reads = number % 2 == 0;
                let listener = std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    while reads && Instant::now() < end && !matches!(ear.read(&mut buffer), Ok(0)) {}
                });
                while Instant::now() < end && write_until_closed(&mut socket, talk, end - Instant::now()) > 0
                {
                }
                // Lets the listener see an end, whoever closes.
                let _ = socket.shutdown(std::net::Shutdown::Both);
                listener.join().expect("the listener");
            });
        }
    });
    wait_alone(field);
}

/// Handshakes of TLS without end, garbage instead of them, and RTMP.
pub(crate) fn tls_storm(field: &Field, count: usize) {
    let before = field.server.counters();
    spread(count, |number| match number % 4 {
        0 | 1 => drop(tls_stream(field.server.secure, field.server.authority.pem())),
        2 => drop(write_until_closed(&mut tcp(field.server.secure), &handshake(), PATIENCE)),
        _ => drop(write_until_closed(
            &mut tcp(field.server.secure),
            &Random::new(number as u64).bytes(4096),
            PATIENCE,
        )),
    });
    field.server.wait("TLS errors are not counted", |counters| {
        counters.get("tls_errors") >= before.get("tls_errors") + (count / 2) as u64
    });
    wait_alone(field);
}

/// Players that send records of one byte, and ask for new keys, as fast as it goes.
pub(crate) fn tls_records(field: &Field, count: usize) {
    std::thread::scope(|scope| {
        for number in 0..count {
            scope.spawn(move || {
                let url = format!("rtmps://{}/live/{NAME}", field.server.secure);
                // On a busy machine the server's deadline may be over before a handshake is.
                let stream = wait_for(PATIENCE, || {
                    let stream = tls_stream(field.server.secure, field.server.authority.pem()).ok()?;
                    let mut session = Session::new(ClientRole::Play, stream, &url);
                    matches!(session.go_live(), Ok(true)).then_some(session.stream)
                });
                let mut stream = stream.expect("it is let in");
                let end = Instant::now() + Duration::from_secs(3);
                let ping = message(2, 4, b"\0\x07\0\0\0\x01", 0);
                let mut open = true;
                while open && Instant::now() < end {
                    if number % 2 == 0 {
                        open = ping.iter().all(|byte| {
                            stream.conn.writer().write_all(&[*byte]).is_ok()
                                && stream.conn.write_tls(&mut stream.sock).is_ok()
                        });
                    } else {
                        open = stream.conn.refresh_traffic_keys().is_ok()
                            && stream.conn.write_tls(&mut stream.sock).is_ok();
                    }
                }
            });
        }
    });
    wait_alone(field);
}

/// More connections than there are descriptors.
pub(crate) fn descriptors(field: &Field, count: usize) {
    let before = field.server.counters();
    let open: Vec<_> = (0..count).map(|_| tcp(field.server.address)).collect();
    field.honest.wait_played(60);
    drop(open);
    field.server.wait("not everybody was taken in", |counters| {
        counters.get("accepted") + counters.refusals()
            >= before.get("accepted") + before.refusals() + count as u64
    });
    wait_alone(field);
}

/// Others cannot end the honest stream: a second publisher, and a player that deletes streams.
pub(crate) fn usurpers(field: &Field, count: usize) {
    let before = field.server.counters();
    for _ in 0..count {
        let mut second = Session::plain(ClientRole::Publish, field.server.address, &format!("live/{KEY}"));
        assert!(!matches!(second.go_live(), Ok(true)), "a second publisher is let in");
        for name in ["deleteStream", "closeStream", "FCUnpublish", "releaseStream"] {
            let mut player = live(field, ClientRole::Play, NAME);
            let body = [string(name), crate::wire::number(5.0), vec![5], crate::wire::number(1.0)].concat();
            write_until_closed(&mut player, &message(3, COMMAND, &body, 0), PATIENCE);
            write_until_closed(&mut player, &command(name, 6.0, &[KEY], 1), PATIENCE);
        }
    }
    wait_refused(field, before.refusals(), count as u64);
}
