//! Who guesses, and what it costs them and nobody else.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use flowcast_core::{KeyRules, Play};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::RefusalReason;

use crate::support::{Client, Studio, connect};

#[test]
fn an_answer_to_a_wrong_key_takes_its_time_and_no_thread() {
    let studio =
        Studio::start(|server| server.options(|options| options.failures.max_delay = Duration::from_secs(1)));
    studio.engine.keys().add("studio", "good-key").unwrap();
    let guessers: Vec<_> = (0..4)
        .map(|_| {
            let guesser = studio.publisher("wrong-key");
            let began = Instant::now();
            std::thread::spawn(move || (guesser.refusal(), began.elapsed()))
        })
        .collect();
    // Meanwhile others come and go.
    studio.on_air("good-key");
    let mut took: Vec<_> = guessers
        .into_iter()
        .map(|guesser| {
            let (code, took) = guesser.join().unwrap();
            assert_eq!(code, "NetStream.Publish.BadName");
            took
        })
        .collect();
    took.sort();
    let least = [250, 500, 1000, 1000].map(Duration::from_millis);
    assert!(took.iter().zip(least).all(|(took, least)| *took >= least), "{took:?}");
}

#[test]
fn who_fails_too_often_is_turned_away_and_others_are_not() {
    let studio = Studio::start(|server| {
        server.options(|options| {
            options.failures.ban_after = 3;
            options.failures.first_delay = Duration::ZERO;
        })
    });
    studio
        .engine
        .keys()
        .add_with("studio", "good-key", KeyRules::new().play(Play::Token("ticket".into())))
        .unwrap();
    let bad = Ipv4Addr::new(127, 0, 0, 9);
    let mut on_air = studio.client_from(bad, ClientRole::Publish, "live", "good-key");
    on_air.go_live();
    let from = |role, name| studio.client_from(bad, role, "live", name);
    // What is no guess does not count.
    for _ in 0..5 {
        assert_eq!(from(ClientRole::Play, "nobody").refusal(), "NetStream.Play.StreamNotFound");
        assert_eq!(from(ClientRole::Publish, "good-key").refusal(), "NetStream.Publish.BadName");
        assert_eq!(from(ClientRole::Play, "studio").refusal(), "NetStream.Play.Failed");
    }
    from(ClientRole::Publish, "wrong-key").refusal();
    from(ClientRole::Play, "studio?token=wrong").refusal();
    from(ClientRole::Publish, "wrong-key").refusal();
    // Three: not even the right key is heard.
    from(ClientRole::Publish, "good-key").wait_closed();
    from(ClientRole::Play, "studio?token=ticket").wait_closed();
    let stats = studio.stats();
    assert_eq!((stats.refused(RefusalReason::Banned), stats.refused_full), (2, 2), "{stats:?}");
    assert!(matches!(on_air.turn(), Ok(true)) && studio.has("studio"), "who is on the air stays");
    studio.player("studio?token=ticket").go_live();
}

#[test]
fn programs_on_the_same_machine_can_be_spared() {
    let studio = Studio::start(|server| {
        server.options(|options| {
            options.failures.ban_after = 1;
            options.failures.spare_loopback = true;
            // Who waits is not told in the time of this test.
            options.failures.first_delay = Duration::from_secs(60);
            options.failures.max_delay = Duration::from_secs(60);
        })
    });
    for _ in 0..3 {
        studio.publisher("wrong-key").refusal();
    }
    assert_eq!(studio.stats().refused(RefusalReason::Key), 3);
}

#[test]
fn who_waits_for_a_no_and_hangs_up_is_forgotten_but_its_failure_is_not() {
    let studio = Studio::start(|server| {
        server.options(|options| {
            options.failures.ban_after = 2;
            options.failures.first_delay = Duration::from_secs(60);
            options.failures.max_delay = Duration::from_secs(60);
        })
    });
    for count in 1..=2 {
        let mut guesser = studio.publisher("wrong-key");
        let wish = guesser.wish();
        std::io::Write::write_all(&mut guesser.socket, &wish).unwrap();
        assert!(crate::support::wait_until(|| studio.stats().refused(RefusalReason::Key) == count));
    }
    assert!(crate::support::wait_until(|| studio.stats().connections == 0), "{:?}", studio.stats());
    let socket = connect(Ipv4Addr::LOCALHOST, studio.server.address()).unwrap();
    Client::new(socket, ClientRole::Play, "rtmp://127.0.0.1/live/x").wait_closed();
}
