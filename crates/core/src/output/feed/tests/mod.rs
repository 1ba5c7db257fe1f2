mod together;

use bytes::Bytes;
use flowcast_rtmp::chunk::ChunkWriter;

use super::*;
use crate::config::{BacklogConfig, CHUNK_SIZE};
use crate::ring::tape::{SLOT_TAGS, Tape};

/// A session that keeps what it is given.
struct Taken {
    wire: WireBuf,
    writer: ChunkWriter,
    base: MediaTime,
    tags: Vec<Tag>,
}

impl Taken {
    fn new() -> Self {
        let writer = ChunkWriter::new(CHUNK_SIZE);
        Self { wire: WireBuf::new(), writer, base: MediaTime::ZERO, tags: Vec::new() }
    }

    /// Keeps what is known of a tag; its bytes belong to the wire.
    fn note(&mut self, tag: &Tag) {
        self.tags.push(Tag { body: Bytes::new().into(), ..tag.clone() });
    }

    /// The socket took everything.
    fn drain(&mut self) {
        self.wire.clear();
    }

    fn times(&self, kind: TagKind) -> Vec<i64> {
        let frames = self.tags.iter().filter(|tag| tag.kind == kind && !tag.is_sequence_header());
        frames.map(|tag| tag.timestamp.millis_since(self.base)).collect()
    }
}

impl MediaSession for Taken {
    fn wire(&mut self) -> &mut WireBuf {
        &mut self.wire
    }
    fn set_base(&mut self, base: MediaTime) {
        self.base = base;
    }
    fn send_tag(&mut self, tag: &Tag) {
        self.writer.write_tag(tag, 1, self.base, &mut self.wire);
        self.note(tag);
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.writer.write_shared(message, 1, self.base, &mut self.wire);
        self.note(message.tag());
    }
}

const FRAME: usize = 10_000;

fn video(ms: i64, head: [u8; 2], bytes: usize) -> Tag {
    let mut body = vec![0; bytes];
    body[..2].copy_from_slice(&head);
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(ms), Bytes::from(body))
}

/// `seconds` of 25 fps with a keyframe every `gop` frames, and sound 10 ms before each picture.
fn play(ring: &mut Ring, from: i64, seconds: i64, gop: i64) {
    frames(ring, from * 25..(from + seconds) * 25, gop);
}

fn frames(ring: &mut Ring, numbers: std::ops::Range<i64>, gop: i64) {
    for n in numbers {
        let sound = Bytes::from_static(&[0xAF, 1, 0x21]);
        ring.push(Tag::from_wire(TagKind::Audio, MediaTime::from_millis(n * 40 - 10), sound));
        ring.push(video(n * 40, if n % gop == 0 { [0x17, 1] } else { [0x27, 1] }, FRAME));
    }
}

fn ring() -> Ring {
    let mut ring = Ring::new(BacklogConfig::default(), true);
    ring.push(video(0, [0x17, 0], 20));
    ring
}

fn feed(ring: &Ring, join: Join) -> Feed {
    Feed::new(ring, join, SessionClock::FromZero, LagPolicy::default())
}

#[test]
fn what_a_player_begins_with_is_not_what_it_is_behind() {
    let mut ring = ring();
    play(&mut ring, 0, 8, 1000);
    let (mut session, mut feed) = (Taken::new(), feed(&ring, Join::Newest));
    let start = Instant::now();
    let mut taken = 0;
    // A link of twice the bitrate: the eight seconds are made up for in eight more.
    for tick in 0..80 {
        let now = start + Duration::from_millis(100 * tick);
        let unsent = session.wire.len() as u64;
        feed.measure(now, &ring, session.wire.total_in(), unsent, 0);
        assert!(feed.lag() < Duration::from_millis(500), "tick {tick}: {:?}", feed.lag());
        feed.fill(&ring, &mut session);
        let take = session.wire.len().min(5 * FRAME);
        bytes::Buf::advance(&mut session.wire, take);
        taken += take;
        let frame = |tick: u64| 200 + tick as i64 * 5 / 2;
        frames(&mut ring, frame(tick)..frame(tick + 1), 1000);
    }
    assert!(taken > 150 * FRAME && feed.drops() == 0, "{taken} bytes, {} drops", feed.drops());
    let lags = feed.lags();
    assert!(lags.count() == 80 && lags.share_within(Duration::from_millis(500)) == 1.0, "{lags:?}");
}

#[test]
fn what_is_ahead_of_real_time_is_not_lag() {
    // Pictures a link takes in a tenth of a second, where 2.5 are played: one keeps up with what is due, the other one does not.
    for (most, is_behind) in [(5, false), (1, true)] {
        let mut ring = ring();
        let (mut session, mut feed) = (Taken::new(), feed(&ring, Join::Next));
        play(&mut ring, 0, 8, 25);
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        for tick in 0..80 {
            let elapsed = Duration::from_millis(100 * tick);
            ring.set_ahead(Duration::from_secs(8) - elapsed);
            let unsent = session.wire.len() as u64;
            feed.measure(start + elapsed, &ring, session.wire.total_in(), unsent, 0);
            longest = longest.max(feed.lag());
            feed.fill(&ring, &mut session);
            let take = session.wire.len().min(most * FRAME);
            bytes::Buf::advance(&mut session.wire, take);
        }
        if is_behind {
            assert!(longest >= LagPolicy::default().drop_after && feed.drops() > 0, "{longest:?}");
        } else {
            assert_eq!((longest, feed.drops()), (Duration::ZERO, 0));
            assert_eq!(session.times(TagKind::Video).len(), 200);
        }
    }
}

#[test]
fn behind_it_drops_pictures_up_to_a_keyframe_and_goes_on_with_sound() {
    let mut ring = ring();
    play(&mut ring, 0, 1, 50);
    let (mut session, mut feed) = (Taken::new(), feed(&ring, Join::Newest));
    let start = Instant::now();
    feed.fill(&ring, &mut session);
    // Nothing is taken for three seconds, then everything at once.
    for second in 1..4 {
        play(&mut ring, second, 1, 50);
        feed.fill(&ring, &mut session);
        let (total, unsent) = (session.wire.total_in(), session.wire.len() as u64);
        feed.measure(start + Duration::from_secs(second as u64), &ring, total, unsent, 0);
    }
    assert!(feed.lag() >= Duration::from_secs(2), "{:?}", feed.lag());
    for tick in 0..40 {
        session.drain();
        feed.measure(start + Duration::from_millis(4000 + tick * 100), &ring, session.wire.total_in(), 0, 0);
        while feed.fill(&ring, &mut session) {
            session.drain();
        }
    }
    play(&mut ring, 4, 1, 50);
    feed.fill(&ring, &mut session);
    assert!(feed.drops() > 0);
    let pictures = session.times(TagKind::Video);
    let gap = pictures.windows(2).position(|pair| pair[1] - pair[0] > 40).expect("pictures were dropped");
    assert_eq!(pictures[gap + 1] % 2000, 0, "it goes on with a keyframe");
    let sound = session.times(TagKind::Audio);
    assert!(sound.windows(2).all(|pair| pair[1] - pair[0] == 40), "sound has no gap");
    let headers = session.tags.iter().filter(|tag| tag.is_sequence_header()).count();
    assert_eq!(headers, 2, "at the beginning and after the gap");
}

#[test]
fn what_belongs_before_the_keyframe_a_session_ends_with_is_sent_whatever_it_is() {
    let mut ring = ring();
    play(&mut ring, 0, 1, 25);
    let (mut session, mut ends) = (Taken::new(), feed(&ring, Join::Newest));
    while ends.fill(&ring, &mut session) {
        session.drain();
    }
    session.drain();
    let keyframe = ring.end();
    ring.push(video(1000, [0x17, 1], FRAME));
    // Text, and a picture of a second track, are a little late; the sound is later still.
    let text = Bytes::from_static(b"\x02\0\x0aonTextData");
    ring.push(Tag::from_wire(TagKind::Script, MediaTime::from_millis(985), text));
    let second = Bytes::from_static(b"\x96\x01hvc1\x01\0\0\0picture");
    ring.push(Tag::from_wire(TagKind::Video, MediaTime::from_millis(988), second));
    let sound = Bytes::from_static(&[0xAF, 1, 0x21]);
    ring.push(Tag::from_wire(TagKind::Audio, MediaTime::from_millis(990), sound));
    ends.end_at(keyframe, MediaTime::from_millis(1000));
    let before = session.tags.len();
    ends.fill(&ring, &mut session);
    assert!(!ends.is_over(), "more may follow");
    ring.push(video(1040, [0x27, 1], FRAME));
    ends.fill(&ring, &mut session);
    let times: Vec<_> = session.tags[before..].iter().map(|tag| tag.timestamp.as_millis()).collect();
    assert_eq!((times, ends.is_over()), (vec![985, 988, 990], true));
}

#[test]
fn a_session_begins_at_zero_and_nothing_is_before_that() {
    let mut ring = ring();
    play(&mut ring, 0, 3, 25);
    let (mut session, mut newest) = (Taken::new(), feed(&ring, Join::Newest));
    session.wire.put_slice(b"what was said before");
    assert_eq!(newest.media_from(), None);
    newest.fill(&ring, &mut session);
    assert_eq!(newest.media_from(), Some(20), "bytes before the media");
    assert_eq!(session.times(TagKind::Video)[..2], [0, 40]);
    assert!(session.times(TagKind::Audio).iter().all(|&time| time >= 0));
    // A push waits for the next keyframe.
    let (mut session, mut next) = (Taken::new(), feed(&ring, Join::Next));
    next.fill(&ring, &mut session);
    assert!(session.tags.is_empty());
    play(&mut ring, 3, 1, 25);
    next.fill(&ring, &mut session);
    assert_eq!((session.base.as_millis(), session.times(TagKind::Video)[0]), (3000, 0));
}

/// A stream of a [`Tape`], one session on it, and a socket that takes what it is told to.
struct Reel {
    tape: Tape,
    ring: Ring,
    session: Taken,
    feed: Feed,
    start: Instant,
    sent: Vec<u8>,
    drops_told: u64,
}

impl Reel {
    fn new(gop: i64) -> Self {
        let mut ring = Ring::new(BacklogConfig::default(), false);
        ring.push(Tape::header());
        let feed = feed(&ring, Join::Next);
        let (tape, session) = (Tape::new(gop), Taken::new());
        Self { tape, ring, session, feed, start: Instant::now(), sent: Vec::new(), drops_told: 0 }
    }

    /// One tick, in which the socket takes up to `room` bytes.
    fn tick(&mut self, slot: i64, room: usize) {
        self.tape.play(slot, &mut self.ring);
        let now = self.start + Duration::from_millis(100) * slot as u32;
        let (total, unsent) = (self.session.wire.total_in(), self.session.wire.len() as u64);
        self.feed.measure(now, &self.ring, total, unsent, 0);
        self.drops_told += self.feed.take_drops();
        let mut room = room;
        loop {
            let more = self.feed.fill(&self.ring, &mut self.session);
            let take = room.min(self.session.wire.len());
            room -= take;
            let taken = bytes::Buf::copy_to_bytes(&mut self.session.wire, take);
            self.sent.extend_from_slice(&taken);
            if !more || room == 0 {
                break;
            }
        }
        self.ring.trim(self.feed.cursor());
    }

    fn media(&self) -> u64 {
        self.session.tags.iter().filter(|tag| !tag.is_sequence_header()).count() as u64
    }
}

const EVERYTHING: usize = usize::MAX;

#[test]
fn a_reel_output_that_stalls_four_seconds_loses_nothing() {
    let (mut straight, mut stalled) = (Reel::new(20), Reel::new(20));
    for slot in 0..90 {
        straight.tick(slot, EVERYTHING);
        let room = if (13..53).contains(&slot) { 0 } else { EVERYTHING };
        stalled.tick(slot, room);
        assert!(stalled.ring.bytes() < 16 << 10, "the ring keeps {} bytes", stalled.ring.bytes());
        // What is prepared for the socket, and the message it ended with.
        let most = PREPARED_AGAIN + 8 * FRAME;
        assert!(stalled.tape.in_memory() <= most, "{} bytes in memory", stalled.tape.in_memory());
    }
    assert!(stalled.tape.reads() >= 39 && straight.tape.reads() == 0);
    assert_eq!((stalled.feed.drops(), stalled.feed.lag()), (0, Duration::ZERO));
    assert!(stalled.sent == straight.sent, "the same bytes, if later");
    assert!(straight.sent.len() > 400 * FRAME);
}

#[test]
fn a_reel_output_that_stalls_seven_seconds_goes_on_at_a_keyframe() {
    let mut reel = Reel::new(20);
    for slot in 0..120 {
        let room = if (13..83).contains(&slot) { 0 } else { EVERYTHING };
        reel.tick(slot, room);
        assert!(!reel.feed.is_too_slow(), "slot {slot}");
        assert!(reel.tape.in_memory() <= PREPARED_AGAIN + 8 * FRAME);
    }
    assert!(reel.feed.lag().is_zero());
    let pictures = reel.session.times(TagKind::Video);
    let gaps: Vec<_> = pictures.windows(2).filter(|pair| pair[1] - pair[0] != 20).collect();
    assert!(gaps.len() == 1 && gaps[0][1] == 8000, "one gap, up to the newest keyframe: {gaps:?}");
    let sound = reel.session.times(TagKind::Audio);
    let silence = sound.windows(2).find(|pair| pair[1] - pair[0] != 20).expect("sound is skipped, too");
    assert!((silence[0] - gaps[0][0]).abs() <= 20 && silence[1] > gaps[0][1], "{silence:?}");
    // The first sound is older than the keyframe everything begins with.
    assert_eq!(reel.feed.drops(), 120 * SLOT_TAGS - 1 - reel.media());
    assert_eq!(reel.drops_told, reel.feed.drops(), "an event tells of them");
    let headers = reel.session.tags.iter().filter(|tag| tag.is_sequence_header()).count();
    assert_eq!(headers, 2, "at the beginning and after the gap");
}

#[test]
fn a_reel_output_waits_for_the_next_keyframe_if_the_newest_is_as_far_behind() {
    let mut reel = Reel::new(90);
    for slot in 0..200 {
        let room = if (13..83).contains(&slot) { 0 } else { EVERYTHING };
        reel.tick(slot, room);
    }
    let pictures = reel.session.times(TagKind::Video);
    let gap = pictures.windows(2).find(|pair| pair[1] - pair[0] != 20).expect("pictures were skipped");
    assert_eq!(gap[1], 9000);
    assert_eq!(reel.feed.drops(), 200 * SLOT_TAGS - 1 - reel.media());
}

#[test]
fn a_peer_that_never_takes_more_costs_a_few_kilobytes_and_is_given_up_in_the_end() {
    let mut reel = Reel::new(20);
    let policy = LagPolicy::default();
    for slot in 0..320 {
        reel.tick(slot, if slot < 13 { EVERYTHING } else { 0 });
        assert!(reel.ring.bytes() < 16 << 10 && reel.tape.in_memory() <= PREPARED_AGAIN + 8 * FRAME);
    }
    let now = reel.start + Duration::from_millis(100) * 320;
    assert!(reel.feed.stalled(now) > policy.stall_after, "{:?}", reel.feed.stalled(now));
    assert!(reel.tape.reads() < 10, "nothing is read that cannot be sent: {}", reel.tape.reads());
}

#[test]
fn what_cannot_be_made_again_is_dropped_up_to_a_keyframe() {
    let mut reel = Reel::new(10);
    reel.tape.tear(22);
    for slot in 0..60 {
        let room = if (13..43).contains(&slot) { 0 } else { EVERYTHING };
        reel.tick(slot, room);
    }
    let pictures = reel.session.times(TagKind::Video);
    let gaps: Vec<_> = pictures.windows(2).filter(|pair| pair[1] - pair[0] != 20).collect();
    assert!(gaps.len() == 1 && gaps[0][1] == 3000, "{gaps:?}");
    // Ten tags that are torn, and pictures up to the keyframe; sound goes on.
    assert_eq!(reel.feed.drops(), SLOT_TAGS + 7 * SLOT_TAGS / 2);
    assert_eq!(reel.feed.drops(), 60 * SLOT_TAGS - 1 - reel.media());
    assert!(reel.ring.take_fault().is_some());
}

#[test]
fn a_track_behind_the_other_is_not_lag() {
    let mut ring = ring();
    let (mut session, mut feed) = (Taken::new(), feed(&ring, Join::Next));
    let start = Instant::now();
    for n in 0..250_u32 {
        let time = i64::from(n) * 40;
        ring.push(video(time, if n % 25 == 0 { [0x17, 1] } else { [0x27, 1] }, FRAME));
        // The sound beside each picture is of four seconds later.
        let sound = Bytes::from_static(&[0xAF, 1, 0x21]);
        ring.push(Tag::from_wire(TagKind::Audio, MediaTime::from_millis(time + 4_000), sound));
        feed.fill(&ring, &mut session);
        // What has just been queued is not acknowledged yet, all else is.
        let (total, unsent) = (session.wire.total_in(), session.wire.len() as u64);
        feed.measure(start + Duration::from_millis(40) * n, &ring, total, unsent, 0);
        assert!(feed.lag() < Duration::from_millis(200), "frame {n}: {:?}", feed.lag());
        session.drain();
    }
    assert_eq!((feed.drops(), session.times(TagKind::Video).len()), (0, 250));
}

/// The clock of a publisher that has been on for 25 days begins below zero.
#[test]
fn times_before_zero_are_not_what_a_new_session_is_behind() {
    let mut ring = ring();
    let from = -(1 << 31) / 1000;
    play(&mut ring, from, 1, 25);
    let (mut feed, mut session) = (feed(&ring, Join::Newest), Taken::new());
    feed.fill(&ring, &mut session);
    // Some of it waits when that is measured first.
    let unsent = session.wire.len() as u64;
    feed.measure(Instant::now(), &ring, session.wire.total_in(), unsent, 0);
    assert_eq!(feed.lag(), Duration::ZERO);
    assert!(feed.check_pace(Instant::now(), || "a player".to_owned()).is_ok());
}
