//! Connections that get old are replaced by new ones.

use super::server::Lets;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Where times of 31 bits end, milliseconds.
const WRAP: i64 = 1 << 31;

fn push(server: &Server) -> Output {
    Output::rtmp(&server.url(), "a-key")
}

/// A push that is on the air, and has sent a second.
fn on_air(output: Output, server: &mut Server) -> Rig {
    let mut rig = Rig::new(output, |_| {});
    rig.until(&mut [server], |rig, _| rig.is_live());
    rig.second(&mut [server]);
    rig.drain(&mut [server]);
    rig
}

/// Seconds of media until this many cutovers were told of, and one more.
#[track_caller]
fn play_until_rotated(rig: &mut Rig, server: &mut Server, times: usize) {
    let until = rig.pictures + 60 * RATE;
    while rig.rotated().len() < times {
        assert!(rig.pictures < until, "not rotated: {:?}\n{:?}", rig.events, server.summary());
        rig.second(&mut [&mut *server]);
    }
    rig.second(&mut [&mut *server]);
    rig.drain(&mut [&mut *server]);
}

#[test]
fn a_connection_is_rotated_every_day_of_thirty_with_no_tag_doubled_or_lost() {
    let mut server = Server::new(Lets::All);
    let mut rig = on_air(push(&server).rotate_after(DAY), &mut server);
    for day in 1..=30 {
        rig.jump(DAY - 2 * HOUR);
        rig.second(&mut [&mut server]);
        rig.drain(&mut [&mut server]);
        assert_eq!(rig.count("output_rotating"), day - 1, "an hour is the most by which it is early");
        rig.jump(2 * HOUR);
        play_until_rotated(&mut rig, &mut server, day);
        rig.until(&mut [&mut server], |_, servers| servers[0].visits[day - 1].said_goodbye);
    }
    assert_eq!(rig.rotated(), [Cutover::AtKeyframe; 30]);
    assert_eq!(server.visits.len(), 31);
    rig.assert_whole(server.visits.iter());
    for visit in &server.visits {
        let (first, last) = (visit.tags[0], visit.tags[visit.tags.len() - 1]);
        assert_eq!((first.0, first.1, first.2 % GOP), (TagKind::Video, 0, 0), "from zero, with a keyframe");
        assert!(last.1 <= i64::try_from((DAY + HOUR).as_millis()).expect("it fits"), "{last:?}");
    }
    let stats = rig.stats();
    assert_eq!((stats.rotations, stats.reconnects, stats.drops, stats.failures), (30, 0, 0, 0));
}

#[test]
fn no_session_reaches_31_bits_though_nobody_asked() {
    let mut server = Server::new(Lets::All);
    let mut rig = on_air(push(&server), &mut server);
    for session in 1..=3 {
        rig.jump(23 * DAY);
        rig.second(&mut [&mut server]);
        rig.drain(&mut [&mut server]);
        assert_eq!(rig.count("output_rotating"), session - 1, "not after 23 days");
        rig.jump(DAY);
        play_until_rotated(&mut rig, &mut server, session);
    }
    assert!(rig.media > 1 << 32, "the stream's own time is beyond 32 bits");
    rig.assert_whole(server.visits.iter());
    let last = server.visits.iter().flat_map(|visit| &visit.tags).map(|tag| tag.1).max();
    assert!(last.is_some_and(|last| last < WRAP), "{last:?}");
}

#[test]
fn at_the_end_of_31_bits_there_is_a_break_if_there_is_no_other_way() {
    let mut server = Server::new(Lets::One);
    let kept = Rotation::after(23 * DAY).with(|rotation| rotation.if_taken = IfTaken::Keep);
    let mut rig = on_air(push(&server).rotate(kept), &mut server);
    rig.jump(23 * DAY);
    let mut quarters = 0;
    while rig.rotated().is_empty() {
        rig.second(&mut [&mut server]);
        let last = rig.given.last().copied();
        rig.until(&mut [&mut server], |rig, servers| {
            servers[0].visits[0].last() == last || !rig.rotated().is_empty()
        });
        rig.settle(&mut [&mut server]);
        rig.jump(HOUR / 4);
        quarters += 1;
        assert!(quarters < 190, "{:?}", rig.rotating());
    }
    assert_eq!(rig.rotated(), [Cutover::AfterBreak]);
    assert!(rig.count("output_not_rotated") > 40, "{:?}", rig.events);
    assert!(server.visits[0].tags.iter().all(|tag| tag.1 < WRAP) && server.visits[0].said_goodbye);
    rig.until(&mut [&mut server], |rig, _| rig.is_live());
}

#[test]
fn one_that_cannot_be_rotated_stays_and_is_tried_again_less_and_less() {
    let mut server = Server::new(Lets::All);
    let mut rig = on_air(push(&server).rotate_after(DAY), &mut server);
    rig.jump(DAY);
    server.lets = Lets::Nobody;
    let began = rig.now;
    let mut waits = Vec::new();
    for tried in 1..=8 {
        if tried == 4 {
            server.down();
        }
        rig.until(&mut [&mut server], |rig, _| rig.count("output_not_rotated") == tried);
        let Some(EventKind::OutputNotRotated { error, wait, .. }) = rig.events.last() else {
            panic!("{:?}", rig.events)
        };
        let code = if tried < 4 { "RTMP_REJECTED" } else { "CONNECT_FAILED" };
        assert_eq!(error.code(), code, "{error}");
        waits.push(wait.as_secs_f64());
        rig.now += *wait;
    }
    for (number, wait) in waits.iter().enumerate() {
        let planned = (10.0 * f64::from(1 << number)).min(600.0);
        assert!((planned / 2.0..=planned * 1.5).contains(wait), "{waits:?}");
    }
    assert!(rig.now.duration_since(began) >= Duration::from_secs(5 * 60), "{waits:?}");
    server.up();
    server.lets = Lets::All;
    rig.second(&mut [&mut server]);
    assert!(rig.is_live() && rig.count("output_retrying") == 0, "{:?}", rig.events);
    play_until_rotated(&mut rig, &mut server, 1);
    assert_eq!(rig.rotated(), [Cutover::AtKeyframe]);
    let let_in = server.visits.iter().filter(|visit| !visit.is_refused);
    assert_eq!(let_in.clone().count(), 2);
    rig.assert_whole(let_in);
}

#[test]
fn a_server_that_takes_one_publisher_breaks_by_policy_only() {
    let mut server = Server::new(Lets::One);
    let mut rig = on_air(push(&server).rotate_after(DAY), &mut server);
    rig.jump(DAY);
    play_until_rotated(&mut rig, &mut server, 1);
    assert_eq!((rig.rotated(), rig.stats().reconnects), (vec![Cutover::AfterBreak], 1));
    let let_in: Vec<_> = server.visits.iter().filter(|visit| !visit.is_refused).collect();
    assert!(let_in.len() == 2 && let_in[0].said_goodbye, "{:?}", server.summary());
    let numbers: Vec<_> = let_in.iter().flat_map(|visit| visit.numbers()).collect();
    let once: std::collections::HashSet<_> =
        numbers.iter().map(|(kind, number)| (*kind as u8, *number)).collect();
    assert_eq!(once.len(), numbers.len(), "no tag is doubled");

    let mut server = Server::new(Lets::One);
    let kept = Rotation::after(DAY).with(|rotation| rotation.if_taken = IfTaken::Keep);
    let mut rig = on_air(push(&server).rotate(kept), &mut server);
    rig.jump(DAY);
    rig.until(&mut [&mut server], |rig, _| rig.count("output_not_rotated") == 1);
    rig.second(&mut [&mut server]);
    rig.drain(&mut [&mut server]);
    assert_eq!(server.visits.iter().filter(|visit| visit.is_live).count(), 1);
    rig.assert_whole(server.visits[..1].iter());
}

#[test]
fn a_server_that_cuts_the_first_one_off_keeps_the_second() {
    let mut server = Server::new(Lets::Last);
    let mut rig = on_air(push(&server).rotate_after(DAY), &mut server);
    rig.jump(DAY);
    // In the middle of a GOP: the new connection has nothing to begin with yet.
    (0..RATE / 2).for_each(|_| rig.give_one());
    play_until_rotated(&mut rig, &mut server, 1);
    assert_eq!(server.visits.len(), 2, "it is not dialled once more: {:?}", rig.events);
    assert!(rig.is_live() && server.visits[1].is_live);
    let names: Vec<_> = rig.events.iter().map(EventKind::name).collect();
    assert_eq!(names, ["output_live", "output_rotating", "output_retrying", "output_live", "output_rotated"]);
    let (first, second) = (server.visits[0].last(), server.visits[1].numbers());
    assert!(
        second.first().is_some_and(|next| first.is_some_and(|last| last.1 < next.1)),
        "no tag is doubled"
    );
    rig.assert_whole(server.visits[1..].iter());
}

#[test]
fn with_a_pause_it_says_goodbye_and_is_dialled_after_that() {
    let mut server = Server::new(Lets::All);
    let mut rig = on_air(push(&server).rotate(Rotation::YOUTUBE), &mut server);
    rig.jump(12 * HOUR);
    rig.until(&mut [&mut server], |_, servers| servers[0].visits[0].said_goodbye);
    for second in 1..90 {
        rig.second(&mut [&mut server]);
        assert!(server.visits.len() == 1 && !rig.is_live(), "dialled after {second} s");
    }
    play_until_rotated(&mut rig, &mut server, 1);
    assert_eq!(rig.rotated(), [Cutover::AfterBreak]);
    assert!(server.visits.len() == 2 && rig.is_live());
    rig.assert_whole(server.visits[1..].iter());
}

#[test]
fn a_connection_that_is_lost_meanwhile_is_dialled_again_as_ever() {
    for is_asked in [false, true] {
        let mut server = Server::new(Lets::All);
        let mut rig = on_air(push(&server).rotate_after(DAY), &mut server);
        rig.jump(DAY);
        server.lets = if is_asked { Lets::Undecided } else { Lets::Mute };
        rig.until(&mut [&mut server], |_, servers| {
            servers[0].visits.get(1).is_some_and(|visit| visit.has_asked == is_asked)
        });
        server.lets = Lets::All;
        server.cut();
        rig.until(&mut [&mut server], |rig, _| rig.count("output_not_rotated") == 1);
        rig.now += Duration::from_secs(1);
        rig.until(&mut [&mut server], |rig, _| rig.is_live());
        let mut names: Vec<_> = rig.events.iter().map(EventKind::name).collect();
        // Which of the two is seen to be lost first is up to the kernel.
        names[2..4].sort_unstable();
        let expected =
            ["output_live", "output_rotating", "output_not_rotated", "output_retrying", "output_live"];
        assert_eq!(names, expected);
        rig.second(&mut [&mut server]);
        rig.drain(&mut [&mut server]);
        // Its age is that of the new connection.
        assert_eq!((rig.count("output_rotating"), rig.rotated()), (1, vec![]));
        rig.jump(DAY);
        play_until_rotated(&mut rig, &mut server, 1);
        assert_eq!(rig.rotated(), [Cutover::AtKeyframe]);
    }
}

#[test]
fn another_server_that_is_asked_for_meanwhile_comes_first() {
    let (mut server, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = on_air(push(&server).rotate(Rotation::YOUTUBE), &mut server);
    rig.jump(12 * HOUR);
    rig.until(&mut [&mut server], |_, servers| servers[0].visits[0].said_goodbye);
    rig.replace(&push(&other));
    rig.until(&mut [&mut server, &mut other], |rig, _| rig.count("output_replaced") == 1);
    let expected =
        ["output_rotating", "output_replacing", "output_live", "output_not_rotated", "output_replaced"];
    assert_eq!(rig.names()[1..], expected);
    assert_eq!(rig.stats().reconnects, 1, "it was off for a while");
    rig.second(&mut [&mut server, &mut other]);
    rig.second(&mut [&mut server, &mut other]);
    rig.drain(&mut [&mut server, &mut other]);
    assert_eq!((server.visits.len(), other.visits.len()), (1, 1));
    rig.assert_whole(other.visits.iter());
    // It was replaced without a rotation of its own.
    rig.jump(DAY);
    rig.second(&mut [&mut server, &mut other]);
    rig.drain(&mut [&mut server, &mut other]);
    assert_eq!(rig.count("output_rotating"), 1);
}

#[test]
fn a_pause_is_not_cut_short_by_a_source_that_comes_back() {
    let mut server = Server::new(Lets::All);
    let mut rig = on_air(push(&server).rotate(Rotation::YOUTUBE), &mut server);
    rig.jump(12 * HOUR);
    rig.until(&mut [&mut server], |_, servers| servers[0].visits[0].said_goodbye);
    rig.second(&mut [&mut server]);
    rig.rest(true);
    rig.second(&mut [&mut server]);
    rig.rest(false);
    for second in 3..89 {
        rig.second(&mut [&mut server]);
        assert!(server.visits.len() == 1 && !rig.is_live(), "dialled after {second} s");
    }
    play_until_rotated(&mut rig, &mut server, 1);
    assert_eq!(rig.rotated(), [Cutover::AfterBreak]);
}

#[test]
fn a_broadcast_that_ends_with_a_pause_is_as_old_as_what_came_before_a_shorter_break() {
    for (off, rotates) in [(Duration::from_secs(60), true), (Duration::from_secs(100), false)] {
        let mut server = Server::new(Lets::All);
        let mut rig = on_air(push(&server).rotate(Rotation::YOUTUBE), &mut server);
        rig.jump(6 * HOUR);
        rig.second(&mut [&mut server]);
        rig.drain(&mut [&mut server]);
        server.down();
        server.cut();
        rig.until(&mut [&mut server], |rig, _| rig.count("output_retrying") == 1);
        rig.now += off;
        server.up();
        rig.until_after_waits(&mut [&mut server], Duration::from_secs(20));
        rig.second(&mut [&mut server]);
        rig.second(&mut [&mut server]);
        rig.drain(&mut [&mut server]);
        rig.jump(6 * HOUR);
        rig.second(&mut [&mut server]);
        assert_eq!(rig.count("output_rotating") == 1, rotates, "off for {off:?}: {:?}", rig.events);
    }
}

/// The two pushes of an output with a backup, each on a stage of its own.
fn pair(output: &Output) -> [Rig; 2] {
    output.as_pair().expect("it has a backup").map(|one| Rig::of(one, |_| {}))
}

#[test]
fn the_two_ingests_of_a_platform_pause_at_the_same_time() {
    let (mut primary, mut backup) = (Server::new(Lets::All), Server::new(Lets::All));
    let [mut one, mut two] = pair(&push(&primary).rotate(Rotation::YOUTUBE).backup(&backup.url()));
    two.now = one.now;
    one.until(&mut [&mut primary], |rig, _| rig.is_live());
    two.until(&mut [&mut backup], |rig, _| rig.is_live());
    let both = |one: &mut Rig, two: &mut Rig, primary: &mut Server, backup: &mut Server| {
        one.second(&mut [primary]);
        two.second(&mut [backup]);
    };
    both(&mut one, &mut two, &mut primary, &mut backup);
    one.drain(&mut [&mut primary]);
    two.drain(&mut [&mut backup]);
    // The primary is lost for a moment: the broadcast goes on, by the other one.
    one.jump(6 * HOUR);
    two.jump(6 * HOUR);
    both(&mut one, &mut two, &mut primary, &mut backup);
    one.drain(&mut [&mut primary]);
    two.drain(&mut [&mut backup]);
    primary.cut();
    one.until(&mut [&mut primary], |rig, _| rig.count("output_retrying") == 1);
    both(&mut one, &mut two, &mut primary, &mut backup);
    one.until(&mut [&mut primary], |rig, _| rig.is_live());
    both(&mut one, &mut two, &mut primary, &mut backup);
    one.drain(&mut [&mut primary]);
    two.drain(&mut [&mut backup]);
    one.jump(6 * HOUR);
    two.jump(6 * HOUR);
    // The younger connection is asked first, and there is nothing on the air a second later.
    both(&mut one, &mut two, &mut primary, &mut backup);
    both(&mut one, &mut two, &mut primary, &mut backup);
    assert_eq!(
        [&one, &two].map(|rig| rig.count("output_rotating")),
        [1, 1],
        "{:?}\n{:?}",
        one.events,
        two.events
    );
    let mut off = 0;
    while one.rotated().is_empty() || two.rotated().is_empty() {
        off += u32::from(!one.is_live() && !two.is_live());
        both(&mut one, &mut two, &mut primary, &mut backup);
        assert!(off < 120, "{:?}\n{:?}", one.events, two.events);
    }
    assert!(off >= 85, "both were off for {off} s");
    assert_eq!([one.rotated(), two.rotated()], [vec![Cutover::AfterBreak], vec![Cutover::AfterBreak]]);
    // One that is dialled while the other one pauses waits, too.
    let settled = |rig: &mut Rig, server: &mut Server| {
        rig.second(&mut [&mut *server]);
        rig.drain(&mut [server]);
    };
    settled(&mut one, &mut primary);
    settled(&mut two, &mut backup);
    backup.lets = Lets::Undecided;
    backup.cut();
    two.until(&mut [&mut backup], |rig, _| rig.count("output_retrying") == 1);
    two.now += Duration::from_secs(1);
    two.until(&mut [&mut backup], |_, servers| servers[0].visits.last().is_some_and(|visit| visit.has_asked));
    one.jump(12 * HOUR);
    one.until(&mut [&mut primary], |rig, _| rig.count("output_rotating") == 2);
    two.now = one.now;
    backup.accept();
    two.until(&mut [&mut backup], |rig, _| rig.stats().phase == OutputPhase::Waiting);
    two.now += Duration::from_secs(89);
    (0..20).for_each(|_| two.turn(&mut [&mut backup]));
    let before = backup.visits.len();
    assert!(!two.is_live(), "{:?}", two.events);
    two.now += Duration::from_secs(2);
    backup.lets = Lets::All;
    two.until(&mut [&mut backup], |rig, _| rig.is_live());
    assert_eq!(backup.visits.len(), before + 1);
}
