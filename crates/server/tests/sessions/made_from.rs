//! Streams made from others: what reaches them, what ends them, and what they must not be made from.

use flowcast_core::{Error, EventKind, Output, OutputTransport, Source, StreamHandle, StreamPhase};

use super::*;

impl Studio {
    fn made_from(&self, name: &str, outputs: &[&str]) -> StreamHandle {
        let (first, others) = outputs.split_first().expect("an output");
        let builder = self.engine.stream(Source::published(name)).to(Output::publish(*first));
        let builder = others.iter().fold(builder, |builder, name| builder.to(Output::publish(*name)));
        let live = builder.start().expect("a free name");
        assert!(wait_until(|| live.stats().phase == StreamPhase::Running), "{}", live.stats());
        live
    }

    fn player_of(&self, name: &str) -> Client {
        Client::player(self.server.address(), name)
    }
}

/// Waits for an event of a stream.
#[track_caller]
fn wait_told(events: &Events, mut wanted: impl FnMut(&EventKind) -> bool) {
    let mut heard = Vec::new();
    loop {
        let Some(event) = events.next_timeout(PATIENCE) else { panic!("not told, but {heard:?}") };
        if wanted(&event.kind) {
            return;
        }
        heard.push(event.kind);
    }
}

#[test]
fn a_stream_made_from_a_name_ends_with_the_name_and_goes_on_with_who_has_it_next() {
    let studio = Studio::start(|_| {});
    studio.engine.keys().add("copy", "copy-key").expect("a usable key");
    // The other name keeps the stream on the air.
    let first = studio.made_from(NAME, &["copy", "other"]);
    let made = studio.made_from("copy", &["third"]);
    let beside = studio.made_from("other", &["fourth"]);
    let events = made.events();
    let (mut publisher, _player) = studio.on_air(0);
    let mut player = studio.player_of("third");
    player.wait_pictures(10);
    let mut beside_player = studio.player_of("fourth");
    beside_player.wait_pictures(10);
    assert!(wait_until(|| first.stats().outputs.len() > 1), "{}", first.stats());
    let copy = first.stats().outputs[0].id;
    first.remove_output(copy).expect("it runs");
    wait_told(&events, |kind| matches!(kind, EventKind::PublicationEnded { name } if name == "copy"));
    // What comes now is found under the other name only.
    publisher.publish(&media(1, 400, 30));
    beside_player.wait_pictures(40);
    let before = player.times(TagKind::Video).len();
    assert!(before <= 20, "{before} pictures came of a stream that gave the name back");
    // Another stream owns the name.
    let mut next = Client::publisher(studio.server.address(), "copy-key");
    next.publish(&media(1, 0, 50));
    wait_told(&events, |kind| matches!(kind, EventKind::PublicationBegan { name } if name == "copy"));
    player.wait_pictures(before + 50);
    assert_eq!(player.times(TagKind::Video).len(), before + 50, "of the new one, and of no other");
    drop((first, beside));
}

#[test]
fn a_stream_that_would_feed_itself_is_refused() {
    let studio = Studio::start(|_| {});
    let feeds_itself = |result: Result<_, Error>| {
        let error = result.map(drop::<StreamHandle>).expect_err("it would feed itself");
        assert!(matches!(error, Error::FeedsItself { .. }), "{error}");
        assert_eq!(error.code(), "FEEDS_ITSELF");
    };
    feeds_itself(studio.engine.stream(Source::published("a")).to(Output::publish("a")).start());
    let one = studio.made_from("a", &["b"]);
    let added = one.add_output(Output::publish("a")).expect_err("it would feed itself");
    assert!(matches!(added, Error::FeedsItself { .. }), "{added}");
    // By way of one other, and of two.
    feeds_itself(studio.engine.stream(Source::published("b")).to(Output::publish("a")).start());
    let two = studio.made_from("b", &["c", "d"]);
    feeds_itself(studio.engine.stream(Source::published("d")).to(Output::publish("a")).start());
    let three = studio.made_from("d", &["e"]);
    let added = three.add_output(Output::publish("a")).expect_err("it would feed itself");
    assert!(matches!(added, Error::FeedsItself { .. }), "{added}");
    // What was refused took no name, and what is no circle any more is allowed.
    two.stop(PATIENCE).expect("it runs well");
    three.add_output(Output::publish("a")).expect("nothing leads back to it");
    let names: Vec<_> = studio.engine.keys().active().into_iter().map(|active| active.name).collect();
    assert!(["a", "b", "e"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    drop((one, three));
}

#[test]
fn a_name_is_free_when_stop_returns() {
    let studio = Studio::start(|_| {});
    let (_publisher, _player) = studio.on_air(0);
    for round in 0..300 {
        let name = if round % 2 == 0 { NAME } else { "nobody" };
        let started = studio.engine.stream(Source::published(name)).to(Output::publish("copy")).start();
        let live = started.unwrap_or_else(|error| panic!("{round}: {error}"));
        if round % 3 == 0 {
            assert!(wait_until(|| live.stats().phase == StreamPhase::Running), "{}", live.stats());
        }
        live.stop(PATIENCE).unwrap_or_else(|error| panic!("{round}: {error}"));
        assert!(studio.engine.hub().find("copy").is_none(), "{round}");
    }
}

#[test]
fn a_pushed_name_is_free_at_the_other_end_when_stop_returns() {
    let (studio, receiver) = (Studio::start(|_| {}), Studio::start(|_| {}));
    let (mut publisher, _player) = studio.on_air(0);
    let mut clock = 400;
    let url = format!("rtmp://{}/live", receiver.server.address());
    for round in 0..60 {
        let live = studio.engine.stream(Source::published(NAME)).to(Output::rtmp(&url, KEY)).start();
        let live = live.expect("a free place");
        let events = live.events();
        // Pushes are dialled while there is something to send.
        let up = wait_until(|| {
            publisher.publish(&media(1, clock, 5));
            clock += 200;
            receiver.server.stats().publishers > 0
        });
        assert!(up, "{round}: {}", live.stats());
        live.stop(PATIENCE).unwrap_or_else(|error| panic!("{round}: {error}"));
        while let Some(event) = events.try_next() {
            let retried =
                matches!(&event.kind, EventKind::OutputRetrying { .. } | EventKind::SourceFault { .. });
            assert!(!retried, "{round}: {:?}", event.kind);
        }
        assert_eq!(receiver.server.stats().refused_publish, 0, "{round}");
    }
}

#[test]
fn the_loss_and_return_of_a_publisher_reach_what_is_made_from_its_publication() {
    let studio = Studio::start(|_| {});
    let first = studio.made_from(NAME, &["copy"]);
    let second = studio.made_from("copy", &["copy-of-the-copy"]);
    let events = [first.events(), second.events()];
    let (publisher, _player) = studio.on_air(0);
    studio.player_of("copy-of-the-copy").wait_pictures(10);
    drop(publisher);
    for events in &events {
        wait_told(events, |kind| matches!(kind, EventKind::PublisherLost { grace, .. } if *grace == LONG));
    }
    let mut publisher = studio.publisher();
    publisher.publish(&media(1, 0, 10));
    for events in &events {
        wait_told(events, |kind| matches!(kind, EventKind::PublisherReturned { .. }));
    }
}

#[test]
fn players_are_told_live_and_owners_are_shown() {
    let studio = Studio::start(|_| {});
    let events = studio.engine.events();
    let builder = studio.engine.stream(Source::published(NAME)).owner("alice").to(Output::publish("copy"));
    let live = builder.start().expect("a free name");
    let (_publisher, _player) = studio.on_air(0);
    let owner = |name: &str| {
        let active = studio.engine.keys().active();
        active.into_iter().find(|active| active.name == name).and_then(|active| active.owner)
    };
    assert_eq!((owner("copy").as_deref(), owner(NAME)), (Some("alice"), None));
    let publication = studio.stream().id();
    let mut player = studio.player_of("copy");
    player.wait_pictures(10);
    let mut lived = Vec::new();
    let all = wait_until(|| {
        lived.extend(std::iter::from_fn(|| events.try_next()).filter_map(|event| match event.kind {
            EventKind::OutputLive { output, .. } => Some((event.stream, output)),
            _ => None,
        }));
        // A player and the tap of the one, a player of the other.
        let count = |id| lived.iter().filter(|(stream, _)| *stream == id).count();
        (count(publication), count(live.id())) == (2, 1)
    });
    assert!(all, "{lived:?}");
    let mut id = None;
    let shown = wait_until(|| {
        let outputs = live.stats().outputs;
        id =
            outputs.iter().find(|output| output.transport == OutputTransport::Player).map(|output| output.id);
        id.is_some()
    });
    assert!(shown && id.is_some_and(|id| lived.contains(&(live.id(), id))), "{lived:?} {}", live.stats());
    drop(player);
}
