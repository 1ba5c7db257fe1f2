//! Connections that are replaced as planned, recorded by nginx.

use std::time::Duration;

use flowcast::output::Rotation;
use flowcast::rtmp::flv::TagKind;
use flowcast::stats::Cutover;
use flowcast::{EventKind, Events, Output, OutputId, Source, StreamRef};
use kit::rig::{Known, both_ways, outputs, read_flv, wait_event};
use kit::scripted::Seen;
use kit::{Need, Nginx, PATIENCE, need, wait_until};

/// The shortest that can be asked for; it is due half a second earlier at most.
const AFTER: Duration = Duration::from_secs(10);

fn rotated(events: &Events, output: OutputId) -> Cutover {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::OutputRotated { output: it, cutover } if *it == output => Some(*cutover),
        _ => None,
    })
}

/// Bytes sent by all outputs.
fn sent(live: &StreamRef) -> u64 {
    live.stats().outputs.iter().map(|output| output.bytes_sent).sum()
}

fn hashes(tags: &[Seen], kind: TagKind) -> Vec<u64> {
    tags.iter().filter(|tag| tag.kind == kind && !tag.header).map(|tag| tag.hash).collect()
}

/// Answers each publisher with a name of its own, so that nginx takes the second while the first is there.
fn names_for_publishers() -> (u16, impl Drop) {
    struct Names(std::sync::Arc<tiny_http::Server>, Option<std::thread::JoinHandle<()>>);

    impl Drop for Names {
        fn drop(&mut self) {
            self.0.unblock();
            if let Some(thread) = self.1.take() {
                let _ = thread.join();
            }
        }
    }

    let server = std::sync::Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a free port"));
    let port = server.server_addr().to_ip().expect("an address of the network").port();
    let answers = server.clone();
    let thread = std::thread::spawn(move || {
        for (number, request) in (1..).zip(answers.incoming_requests()) {
            let name = format!("visit{number}");
            let location = tiny_http::Header::from_bytes("Location", name).expect("plain text");
            let _ = request.respond(tiny_http::Response::empty(302).with_header(location));
        }
    });
    (port, Names(server, Some(thread)))
}

#[test]
fn what_nginx_records_of_two_connections_is_the_stream_with_no_tag_doubled_or_lost() {
    if !need(&[Need::Nginx]) {
        return;
    }
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let (port, _names) = names_for_publishers();
        let nginx = Nginx::relay("live", format!("on_publish http://127.0.0.1:{port}/publish;"));
        let file = directory.join("all.flv");
        let push = Output::rtmp(nginx.url("live", "").trim_end_matches('/'), "a-key");
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(push.rotate_after(AFTER))
            .record(&file)
            .start()
            .expect("it starts");
        let (events, output) = (live.events(), outputs(&live)[0]);
        assert_eq!(rotated(&events, output), Cutover::AtKeyframe, "{mode}");
        let first = nginx.recording("live", "visit1");
        let until = sent(&live) + 200_000;
        assert!(wait_until(PATIENCE, || sent(&live) > until), "{mode}: nothing more is sent");
        let stats = live.stop(PATIENCE).expect("it runs well");
        let push = stats.outputs.iter().find(|it| it.id == output).expect("it is among the figures");
        assert_eq!(
            (push.rotations, push.reconnects, push.drops, push.failures),
            (1, 0, 0, 0),
            "{mode}: {stats}"
        );
        let second = nginx.recording("live", "visit2");
        let (first, second, recorded) = (read_flv(&first), read_flv(&second), read_flv(&file));
        let pictures = clip.assert_gapless(&first) + clip.assert_gapless(&second);
        for kind in [TagKind::Video, TagKind::Audio] {
            let sent = [hashes(&first, kind), hashes(&second, kind)].concat();
            let recorded = hashes(&recorded, kind);
            let begin = recorded.iter().position(|hash| *hash == sent[0]).expect("it was recorded");
            let there = recorded.get(begin..begin + sent.len()).unwrap_or(&recorded[begin..]);
            assert!(sent == there, "{mode}: {kind:?} is doubled or lost");
        }
        println!("  {mode}: {pictures} pictures in two recordings, none doubled or lost");
    });
}

#[test]
fn nginx_which_takes_one_publisher_of_a_name_gets_the_second_after_a_break() {
    if !need(&[Need::Nginx]) {
        return;
    }
    let clip = Known::small();
    let engine = kit::rig::engine(|_| {});
    let nginx = Nginx::start(&["live"]);
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", nginx.address), "key").rotate(Rotation::after(AFTER)))
        .start()
        .expect("it starts");
    let (events, output) = (live.events(), outputs(&live)[0]);
    assert_eq!(rotated(&events, output), Cutover::AfterBreak);
    let until = sent(&live) + 200_000;
    assert!(wait_until(PATIENCE, || sent(&live) > until), "nothing more is sent");
    let stats = live.stop(PATIENCE).expect("it runs well");
    assert_eq!((stats.outputs[0].rotations, stats.outputs[0].reconnects), (1, 1), "{stats}");
    // nginx makes a file for who is refused, too, and writes nothing to it.
    let holds_something = |file: &std::path::PathBuf| file.metadata().is_ok_and(|facts| facts.len() > 0);
    let files = || {
        let files = nginx.recordings("live", "key").into_iter();
        files.filter(holds_something).collect::<Vec<_>>()
    };
    assert!(wait_until(PATIENCE, || files().len() == 2), "{:?}", files());
    for file in files() {
        assert!(kit::wait_closed(&file, PATIENCE), "nginx still writes");
        clip.assert_gapless(&read_flv(&file));
    }
}
