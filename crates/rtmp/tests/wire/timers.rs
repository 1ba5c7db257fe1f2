//! Deadlines and pings on a virtual clock.

use std::time::{Duration, Instant};

use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::error::{Deadline, Error};
use flowcast_rtmp::message::{Control, UserControl};
use flowcast_rtmp::session::{ClientRole, ServerConfig, ServerSession};

use crate::util::{Client, Pair, Server, client_handshake, command, connect, message, publish_commands};

const SECOND: Duration = Duration::from_secs(1);

fn timed_out(result: Result<(), Error>) -> Deadline {
    match result {
        Err(Error::Timeout { waiting_for, .. }) => waiting_for,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_handshake_has_one_deadline_however_it_drips() {
    let start = Instant::now();
    let mut session = ServerSession::new(ServerConfig::default(), None, [0; 1528], start);
    for (index, byte) in client_handshake().iter().take(49).enumerate() {
        let now = start + SECOND / 10 * index as u32;
        session.handle_input(now, &[*byte]).unwrap();
        session.handle_timeout(now).unwrap();
        assert_eq!(session.next_timeout(), Some(start + 5 * SECOND));
    }
    assert_eq!(timed_out(session.handle_timeout(start + 5 * SECOND)), Deadline::Handshake);
    assert!(session.is_finished());
    assert_eq!(session.next_timeout(), None);
}

#[test]
fn a_publish_or_play_has_to_be_said_in_time() {
    let mut server = Server::new();
    let start = server.now;
    server.pass(9 * SECOND);
    server.input(&connect()).unwrap();
    server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
    assert_eq!(server.session.next_timeout(), Some(start + 10 * SECOND));
    server.pass(SECOND);
    assert_eq!(timed_out(server.session.handle_timeout(server.now)), Deadline::Command);
}

#[test]
fn the_decision_may_take_its_time() {
    let mut server = Server::new();
    server.input(&publish_commands("key")).unwrap();
    assert_eq!(server.session.next_timeout(), None);
    server.pass(3600 * SECOND);
    server.session.handle_timeout(server.now).unwrap();
    server.session.accept_publish(server.now);
    assert_eq!(server.session.next_timeout(), Some(server.now + 30 * SECOND));
}

#[test]
fn silent_peers_are_pinged_and_given_up() {
    for mut server in [Server::publishing(), Server::playing()] {
        let start = server.now;
        server.pass(30 * SECOND);
        server.session.handle_timeout(server.now).unwrap();
        let sent = server.sent();
        let ping = Control::parse(sent[0].type_id, &sent[0].payload);
        assert_eq!((sent.len(), ping), (1, Some(Control::User(UserControl::PingRequest(30_000)))));
        assert_eq!(server.session.next_timeout(), Some(start + 60 * SECOND));
        // An answer starts it all over.
        server.pass(20 * SECOND);
        server.input(&message(2, 4, &[0, 7, 0, 0, 0x75, 0x30], 0, 128)).unwrap();
        assert_eq!(server.session.next_timeout(), Some(server.now + 30 * SECOND));
        server.pass(30 * SECOND);
        server.session.handle_timeout(server.now).unwrap();
        server.session.handle_timeout(server.now).unwrap();
        assert_eq!(server.sent().len(), 1);
        server.pass(30 * SECOND);
        assert_eq!(timed_out(server.session.handle_timeout(server.now)), Deadline::Ping);
    }
}

#[test]
fn a_ping_that_is_late_leaves_time_for_its_answer() {
    for mut server in [Server::publishing(), Server::playing()] {
        // The process stood still: nobody could hear the peer, and nobody pinged it.
        server.pass(300 * SECOND);
        server.session.handle_timeout(server.now).unwrap();
        assert_eq!(server.sent().len(), 1);
        assert_eq!(server.session.next_timeout(), Some(server.now + 30 * SECOND));
        server.pass(29 * SECOND);
        server.session.handle_timeout(server.now).unwrap();
        server.pass(SECOND);
        assert_eq!(timed_out(server.session.handle_timeout(server.now)), Deadline::Ping);
    }
}

#[test]
fn sessions_of_ours_answer_pings() {
    let mut pair = Pair::go_live(ClientRole::Play, 1000);
    for _ in 0..100 {
        pair.now = pair.server.next_timeout().unwrap();
        pair.server.handle_timeout(pair.now).unwrap();
        pair.drive().unwrap();
    }
    assert!(pair.server.is_live() && pair.client.is_live());
}

#[test]
fn a_client_waits_for_each_answer() {
    let mut client = Client::new(ClientRole::Publish);
    assert_eq!(client.session.next_timeout(), Some(client.now + 10 * SECOND));
    client.now += 9 * SECOND;
    client.session.handle_timeout(client.now).unwrap();
    client.input(&command("_result", 1.0, vec![Value::Null], 0)).unwrap();
    assert_eq!(client.session.next_timeout(), Some(client.now + 10 * SECOND));
    client.now += 9 * SECOND;
    client.input(&command("_result", 4.0, vec![Value::from(1.0)], 0)).unwrap();
    client.now += 10 * SECOND;
    assert_eq!(timed_out(client.session.handle_timeout(client.now)), Deadline::PublishReply);
    assert!(client.session.is_finished());
}

#[test]
fn a_client_names_what_is_missing() {
    let mut pair = Pair::new(ClientRole::Play, 1000);
    pair.now += 5 * SECOND;
    assert_eq!(timed_out(pair.client.handle_timeout(pair.now)), Deadline::Handshake);
    let mut client = Client::new(ClientRole::Play);
    client.now += 10 * SECOND;
    assert_eq!(timed_out(client.session.handle_timeout(client.now)), Deadline::ConnectReply);
    let mut client = Client::new(ClientRole::Play);
    client.input(&command("_result", 1.0, vec![Value::Null], 0)).unwrap();
    client.now += 10 * SECOND;
    assert_eq!(timed_out(client.session.handle_timeout(client.now)), Deadline::CreateStreamReply);
}
