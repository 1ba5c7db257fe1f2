//! Many sessions on one ring: what they are sent together says what each would have been sent by itself.

use flowcast_rtmp::chunk::{ChunkReader, Message};
use flowcast_rtmp::limits::Limits;

use super::*;

/// A session whose bytes are kept, and its place in the ring.
struct Listener {
    wire: WireBuf,
    writer: ChunkWriter,
    base: MediaTime,
    shares: bool,
    batches: u64,
    feed: Feed,
    sent: Vec<u8>,
}

/// The half of a listener that is a session.
struct Half<'a> {
    wire: &'a mut WireBuf,
    writer: &'a mut ChunkWriter,
    base: &'a mut MediaTime,
    shares: bool,
    batches: &'a mut u64,
}

impl MediaSession for Half<'_> {
    fn wire(&mut self) -> &mut WireBuf {
        self.wire
    }
    fn set_base(&mut self, base: MediaTime) {
        *self.base = base;
    }
    fn send_tag(&mut self, tag: &Tag) {
        self.writer.write_tag(tag, 1, *self.base, self.wire);
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.writer.write_shared(message, 1, *self.base, self.wire);
    }
    fn send_batch(&mut self, tags: &Together) -> bool {
        let sent = self.shares && self.writer.write_batch(&tags.batch, 1, *self.base, self.wire);
        *self.batches += u64::from(sent);
        sent
    }
}

impl Listener {
    fn new(ring: &Ring, chunk_size: u32, shares: bool) -> Self {
        Self {
            wire: WireBuf::new(),
            writer: ChunkWriter::new(chunk_size),
            base: MediaTime::ZERO,
            shares,
            batches: 0,
            feed: feed(ring, Join::Newest),
            sent: Vec::new(),
        }
    }

    /// One turn, in which the socket takes up to `room` bytes.
    fn turn(&mut self, ring: &Ring, now: Instant, mut room: usize) {
        let (total, unsent) = (self.wire.total_in(), self.wire.len() as u64);
        self.feed.measure(now, ring, total, unsent, 0);
        loop {
            let mut half = Half {
                wire: &mut self.wire,
                writer: &mut self.writer,
                base: &mut self.base,
                shares: self.shares,
                batches: &mut self.batches,
            };
            let more = self.feed.fill(ring, &mut half);
            let take = room.min(self.wire.len());
            room -= take;
            self.sent.extend_from_slice(&bytes::Buf::copy_to_bytes(&mut self.wire, take));
            if !more || room == 0 {
                return;
            }
        }
    }

    /// Every message is as it was published, at its time; after a gap pictures go on with a keyframe.
    fn assert_published(&self, messages: &[Message]) {
        let mut newest = None;
        for message in messages.iter().filter(|message| message.payload.len() != 20) {
            let time = i64::from(message.timestamp.get()) + self.base.as_millis();
            let number = time.div_euclid(40);
            if message.type_id == TagKind::Audio.wire() {
                assert_eq!((time.rem_euclid(40), message.payload.as_ref()), (30, &[0xAF, 1, 0x21][..]));
                continue;
            }
            let head = if number % 50 == 0 { 0x17 } else { 0x27 };
            assert_eq!((time % 40, message.payload.len(), message.payload[0]), (0, FRAME, head));
            assert!(
                newest == Some(number - 1) || head == 0x17 && newest < Some(number),
                "{newest:?}, {number}"
            );
            newest = Some(number);
        }
    }

    fn messages(&self, chunk_size: u32) -> Vec<Message> {
        let mut reader = ChunkReader::new(&Limits::publisher());
        let [a, b, c, d] = chunk_size.to_be_bytes();
        let announce = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, a, b, c, d];
        let all = [&announce[..], &self.sent].concat();
        let mut input = all.as_slice();
        let mut messages = Vec::new();
        while let Some(message) = reader.pull(&mut input).expect("proper chunks") {
            messages.push(message);
        }
        messages
    }
}

/// Tags of a turn, then everybody's turn.
fn pass(ring: &mut Ring, frames_of_turn: std::ops::Range<i64>, gop: i64, turn: impl FnOnce(&Ring)) {
    frames(ring, frames_of_turn, gop);
    turn(ring);
    ring.trim(ring.end().saturating_sub(400));
}

#[test]
fn together_or_by_itself_a_session_is_sent_the_same() {
    for (chunk_size, per_turn) in [(CHUNK_SIZE, 1), (CHUNK_SIZE, 3), (CHUNK_SIZE, 17), (128, 3)] {
        let mut ring = ring();
        let start = Instant::now();
        // In pairs: one takes part, the other one does not.
        let mut pairs: Vec<[Listener; 2]> = Vec::new();
        for turn in 0..150_i64 {
            let number = turn * per_turn;
            pass(&mut ring, number..number + per_turn, 50, |ring| {
                if turn % 7 == 3 {
                    pairs.push([true, false].map(|shares| Listener::new(ring, chunk_size, shares)));
                }
                let now = start + Duration::from_millis(40 * number as u64);
                for (index, pair) in pairs.iter_mut().enumerate() {
                    // Every third one stops reading for a while, some of them longer than others.
                    let stalls = index % 3 == 1 && (40..60 + 3 * index as i64).contains(&turn);
                    let slow = index % 5 == 4;
                    let room = if stalls {
                        0
                    } else if slow {
                        3 * FRAME
                    } else {
                        usize::MAX
                    };
                    pair.iter_mut().for_each(|listener| listener.turn(ring, now, room));
                }
            });
        }
        for (index, [shares, alone]) in pairs.iter().enumerate() {
            assert_eq!((alone.batches, shares.feed.drops() > 0), (0, alone.feed.drops() > 0));
            let (messages, same) = (shares.messages(chunk_size), alone.messages(chunk_size));
            // Where exactly one that is behind begins to drop depends on how much it was given at a time.
            assert!(shares.feed.drops() > 0 || messages == same, "pair {index} of {per_turn} a turn");
            shares.assert_published(&messages);
        }
        assert_eq!(pairs.iter().any(|[shares, _]| shares.feed.drops() > 0), per_turn > 1);
        let batches: u64 = pairs.iter().map(|[shares, _]| shares.batches).sum();
        assert_eq!(batches > 500, chunk_size == CHUNK_SIZE, "{batches} batches");
    }
}

#[test]
fn who_pauses_goes_on_with_the_others() {
    let mut ring = ring();
    let mut listeners = [true, true, false].map(|shares| Listener::new(&ring, CHUNK_SIZE, shares));
    for turn in 0..60_i64 {
        pass(&mut ring, turn * 3..turn * 3 + 3, 25, |ring| {
            let now = Instant::now();
            let [steady, paused @ ..] = &mut listeners;
            steady.turn(ring, now, usize::MAX);
            for listener in paused {
                if turn == 40 {
                    listener.feed.rejoin(ring);
                }
                if !(20..40).contains(&turn) {
                    listener.turn(ring, now, usize::MAX);
                }
            }
        });
    }
    let [steady, paused, alone] = listeners.map(|listener| (listener.messages(CHUNK_SIZE), listener.batches));
    assert_eq!(paused.0, alone.0);
    assert!(paused.1 > 20 && alone.1 == 0 && paused.0.len() < steady.0.len(), "{} batches", paused.1);
}

#[test]
fn one_session_by_itself_costs_no_copy() {
    let mut ring = ring();
    let mut only = Listener::new(&ring, CHUNK_SIZE, true);
    for turn in 0..20_i64 {
        pass(&mut ring, turn * 3..turn * 3 + 3, 25, |ring| only.turn(ring, Instant::now(), usize::MAX));
    }
    assert_eq!(only.batches, 0);
    assert!(only.messages(CHUNK_SIZE).len() > 100);
}
