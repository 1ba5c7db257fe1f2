//! Connections that are to take over, and those that are taken over from.

use super::server::Lets;
use super::*;

fn push(server: &Server) -> Output {
    Output::rtmp(&server.url(), "a-key")
}

/// A push that is on the air, and has sent a second.
fn on_air(output: Output, server: &mut Server, change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::new(output, change);
    rig.until(&mut [server], |rig, _| rig.is_live());
    rig.second(&mut [server]);
    rig.drain(&mut [server]);
    rig
}

/// What an attempt to replace it ended with.
fn not_replaced(rig: &Rig) -> Option<&'static str> {
    rig.events.iter().find_map(|event| match event {
        EventKind::OutputNotReplaced { error, .. } => Some(error.code()),
        _ => None,
    })
}

#[test]
fn a_server_that_does_not_take_the_codec_takes_nothing_off_the_air() {
    let (mut server, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&server).enhanced_always(), &mut server, |_| {});
    let hevc = Bytes::from_static(b"\x90hvc1record");
    rig.ring.push(Tag::from_wire(TagKind::Video, MediaTime::from_millis(rig.media), hevc));
    rig.second(&mut [&mut server]);
    rig.drain(&mut [&mut server]);
    // It says nothing of HEVC.
    rig.replace(&push(&other));
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.ended || not_replaced(rig).is_some());
    assert_eq!((not_replaced(&rig), rig.ended), (Some("CODEC_NOT_TAKEN"), false), "{:?}", rig.events);
    rig.second(&mut [&mut server, &mut other]);
    rig.second(&mut [&mut server, &mut other]);
    rig.drain(&mut [&mut server, &mut other]);
    assert!(rig.is_live() && server.visits.len() == 1 && other.visits[0].tags.is_empty());
    rig.until(&mut [&mut server, &mut other], |_, servers| servers[1].visits[0].said_goodbye);
    rig.assert_whole(server.visits.iter());
    // Nor does it if that is so only when the keyframe comes.
    let mut rig = on_air(push(&server).enhanced_always(), &mut server, |_| {});
    rig.replace(&push(&other));
    rig.until(&mut [&mut server, &mut other], |_, servers| {
        servers[1].visits.get(1).is_some_and(|it| it.is_live)
    });
    (0..5).for_each(|_| rig.turn(&mut [&mut server, &mut other]));
    let hevc = Bytes::from_static(b"\x90hvc1record");
    rig.ring.push(Tag::from_wire(TagKind::Video, MediaTime::from_millis(rig.media), hevc));
    rig.second(&mut [&mut server, &mut other]);
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.ended || not_replaced(rig).is_some());
    assert_eq!((not_replaced(&rig), rig.ended), (Some("CODEC_NOT_TAKEN"), false), "{:?}", rig.events);
    assert!(rig.is_live());
}

#[test]
fn where_the_picture_is_gone_the_new_connection_begins_with_sound() {
    let (mut server, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&server), &mut server, patient);
    rig.replace(&push(&other));
    // The last keyframe is kept, and was sent.
    for number in 0..10 * RATE {
        let body: Vec<u8> = [0xAF, 1].into_iter().chain((1000 + number).to_be_bytes()).collect();
        rig.ring.push(Tag::from_wire(TagKind::Audio, MediaTime::from_millis(rig.media), body.into()));
        rig.media += i64::from(1000 / RATE);
        rig.now += Duration::from_secs(1) / RATE;
        rig.turn(&mut [&mut server, &mut other]);
    }
    rig.until(&mut [&mut server, &mut other], |_, servers| {
        servers[1].visits[0].last() == Some((TagKind::Audio, 1000 + 10 * RATE - 1))
    });
    assert_eq!(rig.count("output_replaced"), 1, "{:?}", rig.events);
    let sound: Vec<u32> =
        [&server, &other].iter().flat_map(|it| it.visits[0].numbers()).map(|it| it.1).collect();
    let sound: Vec<u32> = sound.into_iter().filter(|number| *number >= 1000).collect();
    assert_eq!(sound, (1000..1000 + 10 * RATE).collect::<Vec<_>>(), "nothing is doubled or lost");
}

#[test]
fn a_keyframe_that_does_not_come_is_not_waited_for_without_end() {
    let (mut server, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&server), &mut server, |_| {});
    rig.gop = u32::MAX;
    rig.replace(&push(&other));
    rig.until(&mut [&mut server, &mut other], |_, servers| {
        servers[1].visits.first().is_some_and(|it| it.is_live)
    });
    rig.second(&mut [&mut server, &mut other]);
    rig.drain(&mut [&mut server, &mut other]);
    assert_eq!(not_replaced(&rig), None);
    rig.now += Duration::from_secs(60);
    rig.turn(&mut [&mut server, &mut other]);
    assert_eq!(not_replaced(&rig), Some("SOURCE_NOT_READY"), "{:?}", rig.events);
    rig.until(&mut [&mut server, &mut other], |_, servers| servers[1].visits[0].said_goodbye);
    rig.second(&mut [&mut server]);
    rig.drain(&mut [&mut server]);
    assert!(rig.is_live());
    rig.assert_whole(server.visits.iter());
}

#[test]
fn the_tries_of_what_is_lost_do_not_end_what_is_about_to_take_over() {
    let (mut server, mut other) = (Server::new(Lets::All), Server::new(Lets::Mute));
    let mut rig = on_air(push(&server), &mut server, |config| config.reconnect.tries = Some(1));
    rig.replace(&push(&other));
    rig.until(&mut [&mut server, &mut other], |_, servers| !servers[1].visits.is_empty());
    server.down();
    server.cut();
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.count("output_retrying") == 1);
    rig.now += Duration::from_secs(1);
    // It is dialled once more, in vain.
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.ended || rig.stats().failures == 2);
    assert!(!rig.ended, "{:?}", rig.events);
    other.lets = Lets::All;
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.count("output_replaced") == 1);
    let expected = ["output_live", "output_replacing", "output_retrying", "output_live", "output_replaced"];
    assert_eq!((rig.names(), rig.stats().reconnects), (expected.to_vec(), 1));
}

#[test]
fn who_is_replaced_again_still_sends_what_is_left() {
    let [mut slow, mut other, mut last] = [(); 3].map(|()| Server::new(Lets::All));
    let mut rig = on_air(push(&slow), &mut slow, patient);
    rig.fall_behind(&mut slow);
    rig.replace(&push(&other));
    rig.until(&mut [&mut slow, &mut other], |rig, _| rig.count("output_replaced") == 1);
    rig.replace(&push(&last));
    let servers = &mut [&mut slow, &mut other, &mut last];
    while rig.count("output_replaced") < 2 {
        rig.give_one();
        rig.turn(servers);
        assert!(rig.pictures < 90 * RATE, "{:?}", rig.events);
    }
    // What follows the keyframe tells the one before that nothing is left.
    (0..2).for_each(|_| rig.give_one());
    slow.is_deaf = false;
    let servers = &mut [&mut slow, &mut other, &mut last];
    rig.until(servers, |_, servers| servers[..2].iter().all(|server| server.visits[0].said_goodbye));
    rig.drain(servers);
    assert_eq!(rig.stats().drops, 0);
    rig.assert_whole([&slow, &other, &last].into_iter().flat_map(|server| &server.visits));
}

#[test]
fn what_is_left_is_sent_although_the_source_rests_then() {
    let (mut slow, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&slow), &mut slow, patient);
    rig.fall_behind(&mut slow);
    rig.replace(&push(&other));
    rig.until(&mut [&mut slow, &mut other], |rig, _| rig.count("output_replaced") == 1);
    rig.rest(true);
    slow.is_deaf = false;
    rig.until(&mut [&mut slow, &mut other], |_, servers| servers.iter().all(|it| it.visits[0].said_goodbye));
    assert_eq!(rig.stats().drops, 0);
    rig.assert_whole(slow.visits.iter().chain(&other.visits));
}

#[test]
fn what_was_replaced_while_the_source_rests_does_not_go_on_where_it_was() {
    for is_asked_before in [true, false] {
        let (mut slow, mut other) = (Server::new(Lets::All), Server::new(Lets::Mute));
        let mut rig = on_air(push(&slow), &mut slow, patient);
        rig.fall_behind(&mut slow);
        if is_asked_before {
            rig.replace(&push(&other));
            rig.until(&mut [&mut slow, &mut other], |_, servers| !servers[1].visits.is_empty());
        }
        // It has more to send when the source gives again.
        rig.rest(true);
        if !is_asked_before {
            rig.replace(&push(&other));
        }
        let replaced = EventKind::OutputReplaced { output: OUTPUT, cutover: Cutover::WasOff };
        assert_eq!(rig.events.last().map(|it| format!("{it:?}")), Some(format!("{replaced:?}")));
        let end = rig.given.len();
        other.lets = Lets::All;
        rig.rest(false);
        rig.until(&mut [&mut slow, &mut other], |rig, _| rig.is_live() && rig.count("output_live") == 2);
        slow.is_deaf = false;
        rig.until(&mut [&mut slow, &mut other], |_, servers| servers[0].visits[0].said_goodbye);
        rig.second(&mut [&mut slow, &mut other]);
        rig.second(&mut [&mut slow, &mut other]);
        rig.drain(&mut [&mut slow, &mut other]);
        let last = slow.visits[0].last().expect("it was on the air");
        assert!(rig.given[..end].contains(&last), "{last:?} came after the rest");
        rig.assert_whole(other.visits.last().into_iter());
    }
}

#[test]
fn figures_do_not_go_back_and_what_a_slow_one_is_not_sent_is_counted() {
    let (mut slow, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&slow), &mut slow, |config| {
        patient(config);
        config.lag.drop_after = Duration::from_secs(2);
    });
    rig.until(&mut [&mut slow], |rig, _| rig.is_live());
    rig.fall_behind(&mut slow);
    slow.is_deaf = false;
    rig.until(&mut [&mut slow], |rig, _| rig.stats().drops > 0);
    (0..GOP - GOP / 2).for_each(|_| rig.give_one());
    rig.fall_behind(&mut slow);
    let mut before = (0, 0);
    let mut grows = |rig: &Rig| {
        let stats = rig.stats();
        let now = (stats.bytes_sent, stats.drops);
        assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?} became {now:?}");
        before = now;
    };
    grows(&rig);
    rig.replace(&push(&other));
    rig.until(&mut [&mut slow, &mut other], |rig, _| {
        grows(rig);
        rig.count("output_replaced") == 1
    });
    grows(&rig);
    // It had five seconds for what is left.
    let dropped = rig.stats().drops;
    rig.now += Duration::from_secs(5);
    rig.turn(&mut [&mut slow, &mut other]);
    grows(&rig);
    assert!(rig.stats().drops > dropped, "{dropped}");
    rig.now += Duration::from_secs(2);
    rig.turn(&mut [&mut slow, &mut other]);
    grows(&rig);
    let told: u64 = rig
        .events
        .iter()
        .map(|event| match event {
            EventKind::OutputDropped { tags, .. } => *tags,
            _ => 0,
        })
        .sum();
    assert_eq!(told, rig.stats().drops);
}

#[test]
fn a_connection_that_is_sent_elsewhere_before_it_takes_over_goes_there_first() {
    let [mut server, mut other, mut last] = [(); 3].map(|()| Server::new(Lets::All));
    let mut rig = on_air(push(&server).enhanced(), &mut server, |_| {});
    rig.replace(&push(&other).enhanced());
    let servers = &mut [&mut server, &mut other, &mut last];
    rig.until(servers, |_, servers| servers[1].visits.first().is_some_and(|it| it.is_live));
    (0..5).for_each(|_| rig.turn(servers));
    let url = servers[2].url();
    assert!(servers[1].send_away(&url), "it can be asked");
    rig.until(servers, |_, servers| servers[2].visits.first().is_some_and(|it| it.is_live));
    rig.second(servers);
    rig.second(servers);
    rig.drain(servers);
    let replaced =
        |event: &EventKind| matches!(event, EventKind::OutputReplaced { cutover: Cutover::AtKeyframe, .. });
    assert!(rig.events.iter().any(replaced), "{:?}", rig.events);
    rig.until(servers, |_, servers| servers[..2].iter().all(|it| it.visits[0].said_goodbye));
    assert!(other.visits[0].tags.is_empty() && rig.stats().reconnects == 0 && rig.count("output_moved") == 0);
    rig.assert_whole(server.visits.iter().chain(&last.visits));
}
