//! The example `relay`: the edge of nginx and, behind that, of another edge, with players of others, all processes of their own.

use std::path::Path;

use kit::rig::Known;
use kit::{
    Need, Nginx, PATIENCE, Peer, decode, directory, example, ffmpeg_play, ffmpeg_publish, need, remux, text,
    wait_until,
};

/// Waits until a file has grown by this much, as a player writes it.
#[track_caller]
fn grows(file: &Path, by: u64, player: &mut Peer) {
    let size = || file.metadata().map_or(0, |data| data.len());
    let wanted = size() + by;
    let grown = wait_until(PATIENCE, || size() >= wanted || !player.is_running());
    assert!(grown && size() >= wanted, "{} bytes\n{}", size(), player.report());
}

#[test]
fn an_edge_of_an_edge_keeps_its_players_while_nginx_is_killed_and_back() {
    let Some(program) = example("relay") else { return };
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let (mut nginx, clip, folder) = (Nginx::start(&["live"]), Known::small(), directory());
    let flv = remux(&clip.file, clip.directory.path(), "clip.flv");
    let mut publisher = ffmpeg_publish(&flv, &nginx.url("live", "show"), 500);
    let origin = nginx.url("live", "{name}");
    let start = |origin: &str| {
        let options = ["--listen", "127.0.0.1:0", "--linger", "0", "--json"];
        let mut relay = Peer::spawn(&program, ["--origin", origin].into_iter().chain(options));
        let url = relay.wait_for_line("listening on ", PATIENCE);
        (relay, url)
    };
    let (mut middle, url) = start(&origin);
    let (mut edge, url) = start(&url);
    let played = folder.path().join("played.flv");
    let mut player = ffmpeg_play(&format!("{url}/show"), &played, None);
    grows(&played, 100_000, &mut player);
    publisher.kill();
    nginx.kill();
    nginx.restart();
    let _publisher = ffmpeg_publish(&flv, &nginx.url("live", "show"), 500);
    grows(&played, 100_000, &mut player);
    player.interrupt(PATIENCE);
    assert!(wait_until(PATIENCE, || edge.errors().contains("was relayed")), "{}", edge.report());
    assert!(wait_until(PATIENCE, || middle.errors().contains("was relayed")), "{}", middle.report());
    for relay in [&mut edge, &mut middle] {
        assert!(relay.interrupt(PATIENCE).success(), "{}", relay.report());
        let output = relay.output();
        let report: serde_json::Value =
            serde_json::from_str(output.lines().last().expect("a report")).expect("one object");
        assert_eq!(
            (report["relays_begun"].as_u64(), report["relays"].as_u64()),
            (Some(1), Some(0)),
            "{output}"
        );
    }
    // What it saw is one stream: its pictures decode, but for those that refer to what was lost.
    assert!(decode(&played).frames.len() > 50, "{}", text(&played));
}
