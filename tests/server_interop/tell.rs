//! What the server tells of all this: events, figures of players, metrics. And that no secret is in any of it.

use super::*;
use flowcast::server::{Departure, PlayerStats, RefusalReason, ServerEvent, ServerEventKind};

/// Waits for an event that is `wanted`; all that come before it are kept in `heard`.
fn wait_for(
    events: &flowcast::Events<ServerEvent>,
    heard: &mut Vec<ServerEvent>,
    wanted: impl Fn(&ServerEventKind) -> bool,
) -> ServerEventKind {
    let deadline = Instant::now() + PATIENCE;
    while let Some(event) = events.next_timeout(deadline.saturating_duration_since(Instant::now())) {
        heard.push(event.clone());
        if wanted(&event.kind) {
            return event.kind;
        }
    }
    panic!("it was not told: {heard:#?}");
}

fn live(role: ClientRole, url: &str) -> Client {
    let mut client = Client::connect(role, url);
    let live = client.run_until(|client| client.session.is_live());
    assert!(matches!(live, Ok(true)), "{live:?}");
    client
}

/// A picture of made-up bytes, and its sequence header before the first.
fn pictures(from: u64, count: u64) -> Vec<Tag> {
    let tag = |at: u64, body: &[u8]| {
        let time = MediaTime::from_millis(i64::try_from(at * 40).expect("a short stream"));
        Tag::from_wire(TagKind::Video, time, Bytes::copy_from_slice(body))
    };
    let header =
        tag(from, b"\x17\0\0\0\0\x01\x64\0\x1e\xff\xe1\0\x04\x67\x64\0\x1e\x01\0\x04\x68\xee\x3c\x80");
    let picture = |at| tag(at, &[&b"\x17\x01\0\0\0\0\0\x01\0"[..], &[0x65; 256]].concat());
    std::iter::once(header).filter(|_| from == 0).chain((from..from + count).map(picture)).collect()
}

fn send(publisher: &mut Client, tags: &[Tag]) {
    tags.iter().for_each(|tag| publisher.session.send_tag(tag));
    publisher.send();
}

fn only(players: &[PlayerStats]) -> &PlayerStats {
    let [player] = players else { panic!("{players:?}") };
    player
}

#[test]
fn who_comes_goes_and_is_refused_is_told_with_the_reason() {
    let studio = Studio::start();
    let (events, mut heard) = (studio.server.events(), Vec::new());
    let refused = [
        (ClientRole::Publish, studio.url("live", "wrong-key")),
        (ClientRole::Publish, studio.url("other", KEY)),
        (ClientRole::Play, studio.play_url()),
    ];
    for (role, url) in refused {
        Client::connect(role, &url).refusal();
    }
    let reasons: Vec<_> = std::iter::from_fn(|| events.try_next())
        .map(|event| {
            assert!(event.peer.is_some_and(|peer| peer.ip().is_loopback()), "{event:?}");
            match event.kind {
                ServerEventKind::PublishRefused { reason, .. } => ("publish", reason),
                ServerEventKind::PlayRefused { reason, .. } => ("play", reason),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let expected = [RefusalReason::Key, RefusalReason::App, RefusalReason::NoStream];
    assert_eq!(reasons, ["publish", "publish", "play"].into_iter().zip(expected).collect::<Vec<_>>());

    let mut noise = TcpStream::connect(studio.server.address()).expect("a listening server");
    noise.write_all(&[0xff; 2000]).expect("an open connection");
    wait_for(&events, &mut heard, |kind| matches!(kind, ServerEventKind::ConnectionFailed { .. }));

    let mut publisher = live(ClientRole::Publish, &studio.publish_url());
    let joined = wait_for(&events, &mut heard, |k| matches!(k, ServerEventKind::PublisherJoined { .. }));
    let ServerEventKind::PublisherJoined { name, stream } = joined else { panic!("{joined:?}") };
    assert_eq!((&*name, stream), (NAME, studio.on_air().id()));
    send(&mut publisher, &pictures(0, 5));
    let is_picture = |event: &ClientEvent| matches!(event, ClientEvent::Tag(tag) if tag.is_keyframe());
    let (mut leaves, mut stays) =
        (live(ClientRole::Play, &studio.play_url()), live(ClientRole::Play, &studio.play_url()));
    for player in [&mut leaves, &mut stays] {
        let playing = player.run_until(|client| client.events.iter().any(is_picture));
        assert!(matches!(playing, Ok(true)), "{playing:?}");
    }
    let is_known = || {
        let players = studio.server.players(Some(NAME));
        players.len() == 2 && players.iter().all(|player| player.bytes_sent > 400)
    };
    assert!(wait_until(PATIENCE, is_known), "{:?}", studio.server.players(None));
    assert!(studio.server.players(Some("other")).is_empty());
    let is_joined = |kind: &ServerEventKind| matches!(kind, ServerEventKind::PlayerJoined { .. });
    while heard.iter().filter(|event| is_joined(&event.kind)).count() < 2 {
        wait_for(&events, &mut heard, is_joined);
    }
    drop(leaves);
    let left = wait_for(&events, &mut heard, |kind| matches!(kind, ServerEventKind::PlayerLeft { .. }));
    let ServerEventKind::PlayerLeft { why, bytes, drops, .. } = left else { panic!("{left:?}") };
    assert!(matches!(why, Departure::HungUp) && bytes > 400 && drops == 0, "{why:?} {bytes} {drops}");
    let players = studio.server.players(None);
    let player = only(&players);
    let peer = stays.socket.local_addr().expect("a socket");
    assert_eq!((&*player.name, player.peer, player.drops), (NAME, peer, 0));

    publisher.session.finish();
    publisher.send();
    let mut gone = Vec::new();
    wait_for(&events, &mut gone, |kind| matches!(kind, ServerEventKind::PublisherLeft { .. }));
    if !gone.iter().any(|event| matches!(event.kind, ServerEventKind::PlayerLeft { .. })) {
        wait_for(&events, &mut gone, |kind| matches!(kind, ServerEventKind::PlayerLeft { .. }));
    }
    for event in gone {
        match event.kind {
            ServerEventKind::PublisherLeft { why, bytes, .. } => {
                assert!(matches!(why, Departure::SaidGoodbye) && bytes > 400, "{why:?} {bytes}");
            }
            ServerEventKind::PlayerLeft { why, .. } => {
                assert!(matches!(why, Departure::Dismissed), "{why:?}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(studio.server.players(None).is_empty());
}

#[test]
fn a_publisher_that_returns_is_told_from_one_that_takes_over() {
    let studio = Studio::start_with(|options| options.takeover_after = Duration::ZERO);
    let (events, mut heard) = (studio.server.events(), Vec::new());
    let mut first = live(ClientRole::Publish, &studio.publish_url());
    send(&mut first, &pictures(0, 5));
    let mut second = live(ClientRole::Publish, &studio.publish_url());
    wait_for(&events, &mut heard, |kind| matches!(kind, ServerEventKind::PublisherTookOver { .. }));
    let left = |kind: &ServerEventKind| matches!(kind, ServerEventKind::PublisherLeft { .. });
    if !heard.iter().any(|event| left(&event.kind)) {
        wait_for(&events, &mut heard, left);
    }
    let why = heard.iter().find_map(|event| match &event.kind {
        ServerEventKind::PublisherLeft { why, .. } => Some(why),
        _ => None,
    });
    assert!(matches!(why, Some(Departure::Dismissed)), "{heard:?}");
    send(&mut second, &pictures(0, 5));
    assert!(wait_until(PATIENCE, || studio.server.stats().publishers == 1));
    drop(second);
    let gone = wait_for(&events, &mut heard, left);
    assert!(matches!(gone, ServerEventKind::PublisherLeft { why: Departure::HungUp, .. }), "{gone:?}");
    let _third = live(ClientRole::Publish, &studio.publish_url());
    let back = |kind: &ServerEventKind| matches!(kind, ServerEventKind::PublisherReturned { .. });
    wait_for(&events, &mut heard, back);
}

#[cfg(feature = "metrics")]
mod metrics {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    fn page(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).expect("a string takes everything");
        text
    }

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    #[test]
    fn metrics_have_the_promised_names_and_follow_the_server() {
        let studio = Studio::start();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(studio.server.metrics()));
        let before = page(&registry);
        for name in ["rtmp_connections_total", "rtmp_active_streams", "rtmp_errors_total{reason=\"key\"}"] {
            assert_eq!(value(&before, name), 0.0, "{name}");
        }
        assert!(!before.contains("_total_total") && before.ends_with("# EOF\n"), "{before}");
        Client::connect(ClientRole::Publish, &studio.url("live", "wrong-key")).refusal();
        let mut publisher = live(ClientRole::Publish, &studio.publish_url());
        send(&mut publisher, &pictures(0, 5));
        let mut player = live(ClientRole::Play, &studio.play_url());
        let playing =
            player.run_until(|client| client.events.iter().any(|e| matches!(e, ClientEvent::Tag(_))));
        assert!(matches!(playing, Ok(true)), "{playing:?}");
        let text = page(&registry);
        let expected = [
            ("rtmp_connections_total", 3.0),
            ("rtmp_active_streams", 1.0),
            ("rtmp_errors_total{reason=\"key\"}", 1.0),
            ("rtmp_errors_total{reason=\"protocol\"}", 0.0),
            ("rtmp_publishers", 1.0),
            ("rtmp_players", 1.0),
            ("rtmp_stream_players{stream=\"studio\"}", 1.0),
            ("rtmp_dropped_tags_total", 0.0),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&text, name), expected, "{name}");
        }
        // What the player has got may be counted after it was sent.
        for direction in ["in", "out"] {
            let name = format!("rtmp_bandwidth_bytes{{direction=\"{direction}\"}}");
            let grows = wait_until(PATIENCE, || value(&page(&registry), &name) > 400.0);
            assert!(grows, "{direction}\n{}", page(&registry));
        }
        // A server that has stopped can still be asked, and neither is kept by who asks.
        studio.server.stop(PATIENCE);
        let after = page(&registry);
        assert_eq!(value(&after, "rtmp_active_streams"), 0.0);
        assert_eq!(value(&after, "rtmp_connections_total"), 3.0);
    }

    #[test]
    fn labels_are_bounded_and_who_is_left_out_is_counted_with_the_others() {
        let studio = Studio::start();
        let _publishers: Vec<_> = (0..4)
            .map(|number| {
                let key = studio.engine.keys().issue(&format!("n{number}")).expect("a free name");
                live(ClientRole::Publish, &studio.url("live", key.reveal()))
            })
            .collect();
        let _player = live(ClientRole::Play, &studio.url("live", "n2"));
        let shown = |most| {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(studio.server.metrics().streams(most)));
            let text = page(&registry);
            let players = text.lines().filter_map(|line| line.strip_prefix("rtmp_stream_players{stream=\""));
            players.map(|line| line.replace("\"}", "")).collect::<Vec<_>>()
        };
        assert_eq!(shown(2), ["n2 1", "n0 0", "(others) 0"]);
        assert_eq!((shown(4).len(), shown(0).len()), (4, 0));
    }
}

/// Secrets of all kinds, in all places they are sent to; what is told, printed and shown has none of them.
#[test]
fn keys_and_tokens_are_in_no_event_and_no_figure() {
    let studio = Studio::start();
    let (told, streams) = (studio.server.events(), studio.engine.events());
    studio.engine.keys().add("paid", "canary-key").expect("a free name");
    let play = flowcast::keys::Play::Token("canary-token".into());
    studio.engine.keys().set_play("paid", &play).expect("a name with a key");
    let url = |path: &str| format!("rtmp://{}/live/{path}", studio.server.address());
    let mut publisher = live(ClientRole::Publish, &url("canary-key?pass=canary-pass"));
    send(&mut publisher, &pictures(0, 5));
    let _player = live(ClientRole::Play, &url("paid?token=canary-token"));
    let refused = [
        (ClientRole::Publish, "canary-wrong?pass=canary-pass"),
        (ClientRole::Publish, "canary-key"),
        (ClientRole::Play, "paid?token=canary-guess"),
        (ClientRole::Play, "canary-key"),
    ];
    for (role, path) in refused {
        Client::connect(role, &url(path)).refusal();
    }
    let mut shown = format!("{:?} {:?}", studio.server, studio.server.stats());
    shown += &format!("{:?} {:?}", studio.server.players(None), studio.engine.keys().active());
    #[cfg(feature = "metrics")]
    {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(studio.server.metrics()));
        prometheus_client::encoding::text::encode(&mut shown, &registry).expect("a string takes everything");
    }
    drop(publisher);
    assert!(studio.engine.keys().remove("paid"));
    assert!(wait_until(PATIENCE, || studio.server.stats().players == 0));
    let events: Vec<_> = std::iter::from_fn(|| told.try_next()).collect();
    assert!(events.len() >= 7, "{events:?}");
    shown += &format!("{events:#?}");
    shown += &format!("{:#?}", std::iter::from_fn(|| streams.try_next()).collect::<Vec<_>>());
    assert!(!shown.contains("canary"), "{shown}");
}

/// A publisher that says FCUnpublish and is gone before its deleteStream arrives has ended its stream: ffmpeg closes its socket with
/// answers unread, and its kernel then takes back what was not sent yet.
#[test]
fn a_publisher_that_announced_its_end_is_not_waited_for() {
    let studio = Studio::start_with(|_| {});
    let (events, mut heard) = (studio.server.events(), Vec::new());
    let mut publisher = live(ClientRole::Publish, &studio.publish_url());
    send(&mut publisher, &pictures(0, 5));
    let stream = studio.on_air();
    let last = MediaTime::from_millis(160);
    assert!(wait_until(PATIENCE, || stream.stats().media_time == last), "{}", stream.stats());
    publisher.session.finish();
    let goodbye = publisher.take_wire();
    let name = b"\x02\x00\x0cdeleteStream";
    let end = goodbye.windows(name.len()).position(|window| window == name).expect("a deleteStream");
    assert!(goodbye[..end].windows(11).any(|window| window == b"FCUnpublish"));
    publisher.socket.write_all(&goodbye[..end]).expect("an open connection");
    drop(publisher);
    let left = wait_for(&events, &mut heard, |kind| matches!(kind, ServerEventKind::PublisherLeft { .. }));
    assert!(matches!(left, ServerEventKind::PublisherLeft { why: Departure::SaidGoodbye, .. }), "{left:?}");
    studio.wait_off_air(&stream);
}
