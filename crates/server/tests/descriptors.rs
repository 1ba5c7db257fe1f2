//! A process without a descriptor left: clients are turned away instead of kept waiting, and those on the air go on. Alone in
//! its process, since the limit is the process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::File;
use std::net::Ipv4Addr;

use flowcast_rtmp::session::ClientRole;
use flowcast_server::RefusalReason;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use support::{Client, Studio, header, picture, wait_until};

#[test]
fn clients_are_turned_away_and_the_stream_goes_on() {
    let studio = Studio::start(|server| server);
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut publisher = studio.on_air("good-key");
    publisher.send(&[header(), picture(0, true, 1, 1000)]);
    let (address, url) = (studio.server.address(), "rtmp://127.0.0.1/live/studio");
    // Made while there are descriptors.
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let sockets: Vec<_> = (0..50).map(|_| socket()).collect();
    let later = socket();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(512), ..limit }).unwrap();
    let mut hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(hoard.len() > 10, "the limit holds");
    // Kept, so that none of them leaves its descriptor to the server.
    let mut turned_away = Vec::with_capacity(sockets.len());
    for socket in sockets {
        socket.connect(&address.into()).unwrap();
        let mut client = Client::new(socket.into(), ClientRole::Play, url);
        client.wait_closed();
        turned_away.push(client);
        publisher.send(&[picture(40, false, 1, 1000)]);
    }
    // Each is counted after it was closed.
    wait_until(|| studio.stats().refused_full == 50);
    let stats = studio.stats();
    assert_eq!((stats.refused(RefusalReason::Resources), stats.refused_full), (50, 50), "{stats:?}");
    let took = studio.stats().bytes_received;
    publisher.send(&[picture(80, false, 1, 1000)]);
    assert!(wait_until(|| studio.stats().bytes_received > took) && studio.has("studio"));
    // One descriptor is enough for a player; it joins a stream that runs.
    hoard.truncate(hoard.len() - 4);
    later.connect(&address.into()).unwrap();
    let mut player = Client::new(later.into(), ClientRole::Play, &format!("rtmp://{address}/live/studio"));
    player.go_live();
    let pictures = player.run_until(|player| player.pictures().len() > 1);
    assert!(matches!(pictures, Ok(true)), "{pictures:?}");
    drop(connect_again(&studio));
}

/// All is as before.
fn connect_again(studio: &Studio) -> Client {
    let mut player = studio.client_from(Ipv4Addr::LOCALHOST, ClientRole::Play, "live", "studio");
    player.go_live();
    player
}
