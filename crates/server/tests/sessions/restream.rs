//! A published stream as the source of others: pushed to another server, recorded, under another name.

use flowcast_core::{
    Error, Event, EventKind, Output, OutputPhase, OutputTransport, Source, StreamHandle, StreamPhase,
};
use flowcast_rtmp::flv::FlvReader;
use flowcast_rtmp::limits::Limits;

use super::*;

/// A server that is pushed to. It waits for publishers longer than the test, so only a goodbye ends its stream.
fn receiver() -> Studio {
    Studio::start(|_| {})
}

fn push_to(receiver: &Studio) -> Output {
    Output::rtmp(&format!("rtmp://{}/live", receiver.server.address()), KEY)
}

impl Studio {
    /// A publisher that tries until the name is free, which is before the stream that had it has ended.
    fn publisher_when_free(&self) -> Client {
        let mut publisher = None;
        let let_in = wait_until(|| {
            let mut next = Client::connect(ClientRole::Publish, self.server.address(), KEY);
            let live = next.run_until(|next| next.session.is_live());
            publisher = matches!(live, Ok(true)).then_some(next);
            publisher.is_some()
        });
        assert!(let_in, "{:?}", self.server.stats());
        publisher.expect("it was let in")
    }

    fn restream(&self, source: Source, outputs: impl IntoIterator<Item = Output>) -> StreamHandle {
        let mut outputs = outputs.into_iter();
        let first = outputs.next().expect("an output");
        let builder = self.engine.stream(source).to(first);
        let live = outputs.fold(builder, |builder, output| builder.to(output)).start().expect("a free place");
        assert!(wait_until(|| live.stats().phase == StreamPhase::Running), "{}", live.stats());
        live
    }
}

fn phase(stream: &StreamRef) -> Option<OutputPhase> {
    stream.stats().outputs.first().map(|output| output.phase)
}

/// Publishes GOP after GOP until the player has this many pictures more.
fn publish_until(publisher: &mut Client, clock: &mut i64, player: &mut Client, more: usize) {
    let enough = player.times(TagKind::Video).len() + more;
    let done = player.run_until(|player| {
        publisher.publish(&media(1, *clock, 5));
        *clock += 200;
        player.times(TagKind::Video).len() >= enough
    });
    assert!(matches!(done, Ok(true)), "{done:?}");
}

/// The pictures' times in a recording, which must be whole.
fn recorded(file: &std::path::Path) -> Vec<i64> {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(&std::fs::read(file).expect("a recording"));
    let tags = std::iter::from_fn(|| reader.pull().expect("a proper file"));
    let pictures = tags.filter(|tag| tag.is_video() && !tag.is_sequence_header());
    pictures.map(|tag| tag.timestamp.as_millis()).collect()
}

#[test]
fn a_push_is_up_while_somebody_publishes_and_a_recording_all_the_time() {
    let (studio, receiver) = (Studio::start(|_| {}), receiver());
    let file = std::env::temp_dir().join(format!("flowcast-restream-{}.flv", std::process::id()));
    let live = studio.restream(Source::published(NAME), [push_to(&receiver), Output::record(&file)]);
    assert!(wait_until(|| phase(&live) == Some(OutputPhase::Resting)), "{}", live.stats());
    let mut times = 0;
    for round in 1..=3 {
        assert_eq!(receiver.server.stats().publishers, 0);
        let (mut publisher, mut clock) = (studio.publisher(), 1_000_000 * round);
        // The push is dialled now; where it begins is up to the other server.
        publisher.publish(&media(1, clock, 5));
        clock += 200;
        let there = receiver.stream();
        let mut player = receiver.player();
        publish_until(&mut publisher, &mut clock, &mut player, 20);
        // Lost and back: the push is not told.
        drop(publisher);
        studio.told_lost();
        let (mut publisher, mut clock_after) = (studio.publisher(), 0);
        publish_until(&mut publisher, &mut clock_after, &mut player, 20);
        player.assert_one_stream();
        assert_eq!(receiver.server.stats().accepted, 2 * round as u64, "a push and a player each time");
        times += (clock - 1_000_000 * round + clock_after) / 40;
        publisher.session.finish();
        publisher.send().expect("an open connection");
        // Its goodbye ends the stream there at once.
        player.wait_closed();
        assert!(wait_until(|| there.has_ended()), "{}", there.stats());
        assert!(wait_until(|| phase(&live) == Some(OutputPhase::Resting)), "{}", live.stats());
        assert!(wait_until(|| receiver.server.stats().connections == 0), "{:?}", receiver.server.stats());
        // The push rests when the last tag was handed on; the name is free when its publisher is gone.
        let is_free = || studio.engine.hub().find(NAME).is_none() && studio.server.stats().publishers == 0;
        assert!(wait_until(is_free), "{:?}", studio.server.stats());
    }
    let stats = live.stop(PATIENCE).expect("it runs well");
    assert_eq!(stats.drops, 0, "{stats}");
    let pictures = recorded(&file);
    std::fs::remove_file(&file).expect("the recording");
    assert_eq!(pictures.len() as i64, times, "all of them, from the first on");
    assert!(pictures.windows(2).all(|pair| pair[0] < pair[1]), "{pictures:?}");
}

/// One ends while the one before is still being handed on, and the push is saying goodbye.
#[test]
fn publications_in_quick_succession_all_arrive() {
    const ROUNDS: i64 = 20;
    let (studio, receiver) = (Studio::start(|_| {}), receiver());
    let file = std::env::temp_dir().join(format!("flowcast-succession-{}.flv", std::process::id()));
    let live = studio.restream(Source::published(NAME), [push_to(&receiver), Output::record(&file)]);
    // It sees what the recording is given, and so when there is room for more.
    live.add_output(Output::publish("witness")).expect("a free name");
    let mut witness = Client::connect(ClientRole::Play, studio.server.address(), "witness");
    assert!(wait_until(|| witness.read().is_ok() && witness.send().is_ok() && live.players() == 1));
    let events = live.events();
    let mut over = 0;
    for round in 0..ROUNDS {
        let mut publisher = studio.publisher_when_free();
        publisher.publish(&media(1, round * 10, 5));
        publisher.session.finish();
        publisher.send().expect("an open connection");
    }
    let (mut publisher, mut clock) = (studio.publisher_when_free(), 0);
    let arrives = wait_until(|| {
        let mut player = Client::connect(ClientRole::Play, receiver.server.address(), NAME);
        let playing = player.run_until(|player| {
            publisher.publish(&media(1, clock, 5));
            clock += 200;
            let published = (ROUNDS * 5 + clock / 40) as usize;
            let seen = witness.run_until(|witness| witness.times(TagKind::Video).len() >= published);
            assert!(matches!(seen, Ok(true)), "{published} were published; {}", live.stats());
            player.times(TagKind::Video).len() >= 10
        });
        matches!(playing, Ok(true))
    });
    assert!(arrives, "{}", live.stats());
    publisher.session.finish();
    publisher.send().expect("an open connection");
    // The figures may be of a moment when the push had not begun; the end of a publication comes behind all its tags.
    let all_over = wait_until(|| {
        let ends = |event: &Event| matches!(event.kind, EventKind::PublicationEnded { .. });
        over += events.try_iter().filter(ends).count() as i64;
        over == ROUNDS + 1
    });
    assert!(all_over, "{over} have ended; {}", live.stats());
    live.stop(PATIENCE).expect("it runs well");
    let pictures = recorded(&file);
    std::fs::remove_file(&file).expect("the recording");
    assert_eq!(pictures.len() as i64, ROUNDS * 5 + clock / 40);
    assert!(pictures.windows(2).all(|pair| pair[0] < pair[1]), "{pictures:?}");
}

#[test]
fn a_stream_of_one_publication_ends_with_it() {
    let studio = Studio::start(|_| {});
    let live = studio.restream(Source::published(NAME).once(), [Output::publish("copy")]);
    let (mut publisher, _player) = studio.on_air(0);
    let mut player = Client::player(studio.server.address(), "copy");
    player.wait_pictures(10);
    publisher.session.finish();
    publisher.send().expect("an open connection");
    assert_told_the_end(player);
    assert!(matches!(live.wait_timeout(PATIENCE), Some(Ok(()))), "{}", live.stats());
    assert!(studio.engine.hub().find("copy").is_none());
}

#[test]
fn players_of_another_name_get_the_same_pictures_and_join_at_a_keyframe() {
    let studio = Studio::start(|_| {});
    let live = studio.restream(Source::published(NAME), [Output::publish("copy")]);
    let (mut publisher, original) = studio.on_air(5000);
    let mut early = Client::player(studio.server.address(), "copy");
    early.wait_pictures(10);
    publisher.publish(&media(1, 5400, 10));
    early.wait_pictures(20);
    // The newest keyframe is kept for who comes later.
    let mut late = Client::player(studio.server.address(), "copy");
    late.wait_pictures(10);
    assert_eq!(late.times(TagKind::Video), original.times(TagKind::Video));
    assert_eq!((early.headers(), late.headers()), (2, 1), "the publisher said its header twice");
    let names = |studio: &Studio| {
        let mut names: Vec<_> = studio.engine.keys().active().into_iter().map(|active| active.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&studio), ["copy", NAME]);
    live.stop(PATIENCE).expect("it runs well");
    assert_told_the_end(early);
    assert_eq!(names(&studio), [NAME]);
}

#[test]
fn a_name_of_the_program_is_refused_to_publishers_and_free_when_it_is_removed() {
    let studio = Studio::start(|_| {});
    studio.engine.keys().add("copy", "copy-key").expect("a usable key");
    let live = studio.restream(Source::published(NAME), [Output::publish("copy")]);
    let (mut publisher, _player) = studio.on_air(0);
    let refused = Client::connect(ClientRole::Publish, studio.server.address(), "copy-key");
    assert_eq!(refused.refusal(), "NetStream.Publish.BadName");
    assert!(matches!(live.add_output(Output::publish("copy")), Err(Error::NameInUse { .. })));
    assert!(matches!(live.add_output(Output::publish("no/name")), Err(Error::Key { .. })));
    let to_itself = studio.engine.stream(Source::published("loop")).to(Output::publish("loop")).start();
    assert!(matches!(to_itself, Err(Error::FeedsItself { .. })));
    // A key that is removed takes a publisher off the air, not what the program put there.
    assert!(studio.engine.keys().remove("copy"));
    let mut player = Client::player(studio.server.address(), "copy");
    player.wait_pictures(10);
    assert!(wait_until(|| phase(&live).is_some()), "{}", live.stats());
    let hub = live.stats().outputs[0].id;
    // Another output keeps the stream going.
    let other = live.add_output(Output::publish("other")).expect("a free name");
    live.remove_output(hub).expect("it runs");
    assert!(wait_until(|| studio.engine.hub().find("copy").is_none()));
    publisher.publish(&media(1, 400, 10));
    player.wait_pictures(20);
    live.remove_output(other).expect("it runs");
    assert_told_the_end(player);
    live.add_output(Output::publish("copy")).expect("the name is free");
    let mut player = Client::player(studio.server.address(), "copy");
    publisher.publish(&media(1, 800, 10));
    player.wait_pictures(10);
}

#[test]
fn who_comes_after_the_publisher_begins_at_the_next_keyframe() {
    let studio = Studio::start(|_| {});
    let (mut publisher, _player) = studio.on_air(0);
    let live = studio.restream(Source::published(NAME), [Output::publish("copy")]);
    let tap = || {
        let outputs = studio.stream().stats().outputs;
        outputs.iter().find(|output| output.transport == OutputTransport::Stream).map(|output| output.phase)
    };
    assert!(wait_until(|| tap() == Some(OutputPhase::Live)), "{}", studio.stream().stats());
    let mut player = Client::player(studio.server.address(), "copy");
    publisher.publish(&media(1, 400, 10));
    player.wait_pictures(10);
    assert_eq!(player.times(TagKind::Video)[..2], [0, 40]);
    drop(live);
    // The stream it was made from is unharmed and has let go of it.
    publisher.publish(&media(1, 800, 10));
    assert!(wait_until(|| tap() == Some(OutputPhase::Ended)), "{}", studio.stream().stats());
}
