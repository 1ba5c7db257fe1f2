//! How one session is fed from the stream's ring: where it begins, what it drops, how far it is behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flowcast_rtmp::chunk::SharedMessage;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::session::ClientSession;
use flowcast_rtmp::session::ServerSession;
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

use crate::config::LagPolicy;
use crate::live::Ring;

/// Bytes prepared for the socket at a time; the rest stays in the ring, where it can still be dropped.
const PREPARED: usize = 128 << 10;
/// Tags this close together share a mark, milliseconds.
const MARK_EVERY: i64 = 100;
/// Marks kept for measuring lag; beyond that they get coarser.
const MAX_MARKS: usize = 256;

/// A session tags can be sent to.
pub trait MediaSession {
    /// Bytes for the socket.
    fn wire(&mut self) -> &mut WireBuf;
    /// The stream time that is zero for this session.
    fn set_base(&mut self, base: MediaTime);
    /// Sends one tag of its own: a header.
    fn send_tag(&mut self, tag: &Tag);
    /// Sends a tag that was prepared for all sessions.
    fn send_shared(&mut self, message: &SharedMessage);
}

impl MediaSession for ClientSession {
    fn wire(&mut self) -> &mut WireBuf {
        self.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        if tag.is_metadata() {
            self.send_metadata(&tag.body.to_bytes(), tag.timestamp);
        } else {
            self.send_tag(tag);
        }
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.send_shared(message);
    }
}

impl MediaSession for ServerSession {
    fn wire(&mut self) -> &mut WireBuf {
        self.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        self.send_tag(tag);
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.send_shared(message);
    }
}

/// Where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// At the newest keyframe that is kept, or the next one: a player sees a picture at once.
    Newest,
    /// At the next keyframe: a push must not be sent faster than real time.
    Next,
}

/// What a session makes of the clock of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionClock {
    /// Its own zero at the first tag.
    FromZero,
    /// The stream's times.
    Stream,
}

/// One session's place in the ring.
#[derive(Debug)]
pub struct Feed {
    cursor: u64,
    clock: SessionClock,
    /// Where the session began; nothing earlier is sent.
    base: MediaTime,
    joined: bool,
    /// Video is left out until a keyframe.
    skipping: bool,
    drops: u64,
    reported: u64,
    lag: LagMeter,
    policy: LagPolicy,
}

impl Feed {
    /// A session that begins in `ring` as `join` says.
    #[must_use]
    pub fn new(ring: &Ring, join: Join, clock: SessionClock, policy: LagPolicy) -> Self {
        let cursor = match join {
            Join::Newest => ring.newest_join().unwrap_or_else(|| ring.end()),
            // The keyframe this very turn brought is the next one, too, if nothing followed it yet.
            Join::Next => match ring.newest_join() {
                Some(newest)
                    if ring.get(newest).is_some_and(|e| ring.newest() == e.message.tag().timestamp) =>
                {
                    newest
                }
                _ => ring.end(),
            },
        };
        Self {
            cursor,
            clock,
            base: MediaTime::ZERO,
            joined: false,
            skipping: false,
            drops: 0,
            reported: 0,
            lag: LagMeter::default(),
            policy,
        }
    }

    /// Goes on at what is newest, at the same session's clock: after a pause.
    pub fn rejoin(&mut self, ring: &Ring) {
        self.cursor = ring.newest_join().unwrap_or_else(|| ring.end());
        self.skipping = self.joined;
        self.lag =
            LagMeter { acknowledged: self.lag.acknowledged, newest: self.lag.newest, ..LagMeter::default() };
    }

    /// The oldest tag that is still to be sent.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether the first keyframe was sent.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.joined
    }

    /// Tags dropped so far.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.drops
    }

    /// Tags dropped since this was last asked.
    pub fn take_drops(&mut self) -> u64 {
        let since = self.drops - self.reported;
        self.reported = self.drops;
        since
    }

    /// How far the session is behind, as last measured.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.lag.lag
    }

    /// How long data has waited without any of it being acknowledged, as last measured.
    #[must_use]
    pub fn stalled(&self, now: Instant) -> Duration {
        self.lag.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether something was not acknowledged when that was last measured.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.lag.waiting_since.is_some()
    }

    /// Prepares tags for the socket, as many as fit; `false` when the ring has no more.
    pub fn fill(&mut self, ring: &Ring, session: &mut impl MediaSession) -> bool {
        if self.cursor < ring.start() {
            // What it had not sent is gone: it goes on with what is left, from a keyframe.
            if self.joined {
                self.drops += ring.start() - self.cursor;
            }
            self.cursor = ring.start();
            self.skipping = true;
            self.lag.allowance = Duration::ZERO;
        }
        while session.wire().len() < PREPARED {
            let Some(entry) = ring.get(self.cursor) else { return false };
            self.cursor += 1;
            let tag = entry.message.tag();
            if let Some(headers) = &entry.join
                && (!self.joined || self.skipping)
                && self.may_resume()
            {
                if !self.joined {
                    // What a player is given at once to begin with is not what it is behind.
                    self.lag.allowance = millis(ring.newest().millis_since(tag.timestamp));
                    self.base = tag.timestamp;
                    if self.clock == SessionClock::FromZero {
                        session.set_base(self.base);
                    }
                }
                for header in headers.at(tag.timestamp) {
                    session.send_tag(&header);
                }
                self.joined = true;
                self.skipping = false;
            }
            // A tag of the other track may be a little older than the keyframe it follows.
            if !self.joined || tag.timestamp < self.base {
                continue;
            }
            if self.skipping && tag.kind == TagKind::Video {
                self.drops += 1;
                continue;
            }
            if tag.kind == TagKind::Script {
                session.send_tag(tag);
            } else {
                session.send_shared(&entry.message);
            }
            self.lag.queued(session.wire().total_in(), tag.timestamp);
        }
        true
    }

    fn may_resume(&self) -> bool {
        !self.joined || self.lag.lag < self.policy.drop_after
    }

    /// Measures the lag and begins to drop video where it is too large. `unsent` are bytes on our side of the kernel,
    /// `unacknowledged` those on its side. To be called once a tick.
    pub fn measure(&mut self, now: Instant, ring: &Ring, total_in: u64, unsent: u64, unacknowledged: u64) {
        let acknowledged = total_in.saturating_sub(unsent + unacknowledged);
        let oldest_waiting =
            if self.joined { ring.get(self.cursor).map(|e| e.message.tag().timestamp) } else { None };
        self.lag.measure(now, ring.newest(), acknowledged, oldest_waiting);
        if self.joined && self.lag.lag >= self.policy.drop_after {
            self.skipping = true;
        }
    }
}

/// Maps acknowledged bytes back to media time.
#[derive(Debug, Default)]
struct LagMeter {
    /// Byte counts at the end of some tags, and the time of the first of them; oldest first.
    marks: VecDeque<(u64, MediaTime)>,
    acknowledged: u64,
    waiting_since: Option<Instant>,
    /// The stream's newest tag when this was last measured: what came since is not late yet.
    newest: MediaTime,
    /// How far behind the session began; shrinks as it catches up and never grows.
    allowance: Duration,
    lag: Duration,
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl LagMeter {
    fn queued(&mut self, bytes: u64, time: MediaTime) {
        if let Some((end, begin)) = self.marks.back_mut()
            && (0..MARK_EVERY).contains(&time.millis_since(*begin))
        {
            *end = bytes;
            return;
        }
        if self.marks.len() >= MAX_MARKS {
            // Every second one: coarser, and never more than a power of two of them.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back((bytes, time));
    }

    fn measure(&mut self, now: Instant, newest: MediaTime, acknowledged: u64, waiting: Option<MediaTime>) {
        let progressed = acknowledged > self.acknowledged;
        self.acknowledged = self.acknowledged.max(acknowledged);
        while self.marks.front().is_some_and(|&(bytes, _)| bytes <= self.acknowledged) {
            self.marks.pop_front();
        }
        let due = std::mem::replace(&mut self.newest, newest);
        let oldest = self.marks.front().map(|&(_, time)| time).or(waiting).filter(|&oldest| oldest <= due);
        let behind = oldest.map_or(Duration::ZERO, |oldest| millis(due.millis_since(oldest)));
        self.allowance = self.allowance.min(behind);
        self.lag = behind - self.allowance;
        if oldest.is_none() {
            self.waiting_since = None;
        } else if progressed || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::chunk::ChunkWriter;

    use super::*;
    use crate::config::BacklogConfig;
    use crate::live::CHUNK_SIZE;

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
            self.tags.push(tag.clone());
        }
        fn send_shared(&mut self, message: &SharedMessage) {
            self.writer.write_shared(message, 1, self.base, &mut self.wire);
            self.tags.push(message.tag().clone());
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
            feed.measure(
                start + Duration::from_millis(4000 + tick * 100),
                &ring,
                session.wire.total_in(),
                0,
                0,
            );
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
    fn a_session_begins_at_zero_and_nothing_is_before_that() {
        let mut ring = ring();
        play(&mut ring, 0, 3, 25);
        let (mut session, mut newest) = (Taken::new(), feed(&ring, Join::Newest));
        newest.fill(&ring, &mut session);
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
}
