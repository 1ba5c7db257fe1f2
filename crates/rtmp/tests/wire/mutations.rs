//! A million mutated inputs: no panic, no hang, memory within the limits.

use std::time::Instant;

use flowcast_rtmp::chunk::ChunkReader;
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::session::{
    ClientConfig, ClientRole, ClientSession, Reject, ServerConfig, ServerEvent, ServerSession,
};
use flowcast_rtmp::url::Destination;

use crate::util::{Pair, XorShift, audio, short_stream, video};

/// Inputs per target, together a million. Sessions from their start cost the most.
const READER: usize = 700_000;
const PUBLISHING: usize = 100_000;
const SERVER: usize = 100_000;
const CLIENT: usize = 100_000;

/// Bytes of an input that is mutated: a window into a recorded session.
const WINDOW: usize = 800;

/// Bytes that `input` bytes may make a reader hold: twice as much, and a little per chunk stream.
fn room(input: usize) -> usize {
    2 * input + 64 * 256
}

/// What a publisher sends, and what a player gets, after the handshake.
fn recordings() -> (Vec<u8>, Vec<u8>) {
    let (commands, media, player) = record();
    ([commands, media].concat(), player)
}

/// A publisher's commands and media, and what a player gets.
fn record() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut publisher = Pair::go_live(ClientRole::Publish, 100_000);
    let mut player = Pair::go_live(ClientRole::Play, 100_000);
    for tag in short_stream() {
        publisher.client.send_tag(&tag);
        player.server.send_tag(&tag);
    }
    for hours in 4..6 {
        for tag in [video(hours * 3_600_000, true, 300), audio(hours * 3_600_000, 30)] {
            publisher.client.send_tag(&tag);
            player.server.send_tag(&tag);
        }
    }
    let commands = publisher.to_server.split_off(3073);
    publisher.to_server.clear();
    publisher.drive().unwrap();
    player.drive().unwrap();
    (commands, publisher.to_server, player.to_client.split_off(3073))
}

/// A window of `source` with a few bytes changed, lost, doubled or moved.
fn mutate(source: &[u8], start: usize, random: &mut XorShift, out: &mut Vec<u8>) {
    out.clear();
    let end = source.len().min(start + WINDOW);
    out.extend_from_slice(&source[start..end]);
    for _ in 0..=random.below(4) {
        if out.is_empty() {
            return;
        }
        let at = random.below(out.len());
        match random.below(7) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = random.next() as u8,
            2 => out[at] = [0, 1, 0x7F, 0x80, 0xFF, 0xC3, 0x42][random.below(7)],
            3 => {
                out.remove(at);
            }
            4 => out.insert(at, random.next() as u8),
            5 => out.truncate(at),
            _ => {
                let from = random.below(source.len());
                let length = random.below(40).min(source.len() - from).min(out.len() - at);
                out[at..at + length].copy_from_slice(&source[from..from + length]);
            }
        }
    }
}

/// Starts of windows: mostly the beginning, where the commands are.
fn start(source: &[u8], random: &mut XorShift) -> usize {
    if random.below(4) == 0 { random.below(source.len()) } else { random.below(3) * 100 }
}

#[test]
fn chunk_reader() {
    let limits = Limits { message_bytes: 100_000, assembly_bytes: 200_000, ..Limits::publisher() };
    let (publisher, player) = recordings();
    let (mut random, mut input) = (XorShift::new(1), Vec::new());
    let mut whole = 0_usize;
    for round in 0..READER {
        let source = if round % 2 == 0 { &publisher } else { &player };
        let at = start(source, &mut random);
        mutate(source, at, &mut random, &mut input);
        let mut reader = ChunkReader::new(&limits);
        let mut rest = input.as_slice();
        while let Ok(Some(_)) = reader.pull(&mut rest) {
            whole += 1;
        }
        assert!(reader.assembly_bytes() <= room(input.len()));
        assert!(reader.offset() <= input.len() as u64);
    }
    assert!(whole > READER, "mutations let some messages through: {whole}");
}

fn server_before_publish() -> ServerSession {
    let now = Instant::now();
    let mut session = ServerSession::new(ServerConfig::default(), None, [0; 1528], now);
    session.handle_input(now, &crate::util::client_handshake()).unwrap();
    session.wire().clear();
    session
}

#[test]
fn server_session_from_its_start() {
    let (publisher, player) = recordings();
    let now = Instant::now();
    let (mut random, mut input) = (XorShift::new(2), Vec::new());
    let mut asked = 0_usize;
    for round in 0..SERVER {
        let source = if round % 8 == 0 { &player } else { &publisher };
        // Any cut of the recording's start, so that commands come whole and broken.
        mutate(source, 0, &mut random, &mut input);
        let mut session = server_before_publish();
        let mut ok = session.handle_input(now, &input).is_ok();
        while let Some(event) = session.poll_event() {
            match event {
                ServerEvent::Publish(_) if round % 3 == 0 => session.reject(Reject::BadName, now),
                ServerEvent::Publish(_) => session.accept_publish(now),
                ServerEvent::Play(_) => session.accept_play(now),
                _ => continue,
            }
            asked += 1;
        }
        ok &= session.handle_input(now, &input[input.len() / 2..]).is_ok();
        assert!(ok || session.is_finished());
        assert!(session.buffered_bytes() <= (64 << 10) + WINDOW);
        assert!(session.wire().len() < 70 << 10);
    }
    assert!(asked > SERVER / 100, "mutations let some publishes through: {asked}");
}

#[test]
fn server_session_while_publishing() {
    let (_, media, _) = record();
    let now = Instant::now();
    let (mut random, mut input) = (XorShift::new(3), Vec::new());
    let mut tags = 0_usize;
    let mut session = crate::util::Server::publishing().session;
    for round in 0..PUBLISHING {
        let at = if random.below(4) == 0 { random.below(media.len()) } else { 0 };
        mutate(&media, at, &mut random, &mut input);
        // A session lives through some inputs, until one ends it or it may be deaf: inside a message that a mutation
        // made very long.
        if session.handle_input(now, &input).is_err() || session.is_finished() || round % 20 == 0 {
            session = crate::util::Server::publishing().session;
        }
        while let Some(event) = session.poll_event() {
            tags += usize::from(matches!(event, ServerEvent::Tag(_)));
        }
        session.wire().clear();
        assert!(session.buffered_bytes() <= Limits::publisher().assembly_bytes);
    }
    assert!(tags > PUBLISHING / 2, "mutations let some tags through: {tags}");
}

#[test]
fn client_session() {
    let (_, player) = recordings();
    let now = Instant::now();
    let destination = Destination::parse("rtmp://host/live/key").unwrap();
    let (mut random, mut input) = (XorShift::new(4), Vec::new());
    let (mut live, mut ended) = (0_usize, 0_usize);
    for round in 0..CLIENT {
        let role = if round % 2 == 0 { ClientRole::Play } else { ClientRole::Publish };
        let mut session = ClientSession::new(role, &destination, ClientConfig::default(), [0; 1528], now);
        session.handle_input(now, &crate::util::client_handshake()).unwrap();
        mutate(&player, 0, &mut random, &mut input);
        let result = session.handle_input(now, &input);
        while session.poll_event().is_some() {}
        assert!(result.is_ok() || session.is_finished());
        assert!(session.buffered_bytes() <= room(input.len()));
        assert!(session.wire().len() < 70 << 10);
        live += usize::from(session.is_live());
        ended += usize::from(result.is_err());
    }
    assert!(live > 1000 && ended > 1000, "live {live}, ended {ended}");
}
