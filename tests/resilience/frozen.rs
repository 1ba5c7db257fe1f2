//! A process that stands still for longer than its peers may be silent: what they sent meanwhile counts when it runs again.

use std::io::Read;
use std::time::Duration;

use flowcast::server::ServerOptions;
use flowcast::{Config, Engine, Output, RtmpServerExt, Source};

use crate::stop_within;
use kit::rig::{Known, engine};
use kit::{PATIENCE, Peer, alone, ffmpeg_play, need, ran, role_arguments, wait_until};

/// How long a peer of the server may be silent, or a publisher send no media.
const SILENT: Duration = Duration::from_secs(2);

#[test]
fn a_server_that_was_frozen_keeps_its_publishers_and_players() {
    const TEST: &str = "frozen::a_server_that_was_frozen_keeps_its_publishers_and_players";
    is_frozen("frozen-server", TEST, |options| {
        options.ping = SILENT / 5;
        options.ping_timeout = SILENT;
    });
}

#[test]
fn a_server_that_was_frozen_has_not_waited_for_media() {
    const TEST: &str = "frozen::a_server_that_was_frozen_has_not_waited_for_media";
    is_frozen("frozen-progress", TEST, |options| options.no_progress = SILENT);
}

/// A server with these options stands still for longer than it waits for its peers.
fn is_frozen(role: &str, test: &str, options: fn(&mut ServerOptions)) {
    if alone(role) {
        return serve(options);
    }
    if !need(&[kit::Need::Ffmpeg]) {
        return;
    }
    let (program, arguments) = role_arguments(role, test);
    let mut server = Peer::spawn(&program, &arguments);
    let address = server.wait_for_line("listening on ", PATIENCE);
    let clip = Known::small();
    let pushing = engine(|_| {});
    let events = pushing.events();
    let url = format!("rtmp://{address}/live");
    let live = pushing.stream(Source::file(&clip.file).looped()).to(Output::rtmp(&url, "good-key")).start();
    let live = live.expect("it starts");
    assert!(wait_until(PATIENCE, || live.stats().bytes_sent > 0), "{}", live.stats());
    let played = clip.beside("played.flv");
    let player = ffmpeg_play(&format!("{url}/studio"), &played, None);
    server.wait_for_line("a player", PATIENCE);
    for _ in 0..3 {
        server.freeze();
        // Nothing of the server's can be waited for while it stands still: media time of the stream goes on.
        let from = live.stats().media_time;
        let still = 3 * i64::try_from(SILENT.as_millis()).expect("short") / 2;
        assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() >= from.as_millis() + still));
        server.thaw();
        let sent = live.stats().bytes_sent;
        assert!(wait_until(PATIENCE, || live.stats().bytes_sent > sent + 100_000), "{}", live.stats());
    }
    server.hang_up();
    let said = server.wait_for_line("timeouts ", PATIENCE);
    let told = || events.try_iter().map(|event| format!("{event}\n")).collect::<String>();
    assert_eq!(live.stats().reconnects, 0, "{}\n{}{}", live.stats(), told(), server.report());
    assert_eq!(said, "0, publishers 1, players 1", "{}", server.report());
    drop(player);
    server.wait_success(PATIENCE);
    ran(server.output());
    stop_within(live, Duration::from_secs(3));
}

/// The server, until its standard input ends.
fn serve(options: fn(&mut ServerOptions)) {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    engine.keys().add("studio", "good-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").options(options).start().expect("a free port");
    let events = server.events();
    println!("\nlistening on {}", server.address());
    assert!(wait_until(PATIENCE, || server.stats().players == 1));
    println!("a player");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let stats = server.stats();
    // For who looks why it failed.
    events.try_iter().for_each(|event| println!("{event}"));
    println!("timeouts {}, publishers {}, players {}", stats.timeouts, stats.publishers, stats.players);
    server.stop(PATIENCE);
}
