//! The sound of a lane: where an item's frames go, and what is put where it has none.

use bytes::Bytes;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::{opus, sound};

use super::{Lane, round_div};
use crate::lap::{Fill, Grid, Position, Unit, is_opus, silent_frame};
use crate::playout::turn::{Part, Turn};

/// The audio that was sent so far: an endless row of equal frames.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) rate: u32,
    pub(super) frame: u32,
    /// Where the next frame goes that follows without a gap, in samples of the stream's clock.
    pub(super) next: i64,
    /// A frame of silence, with its FLV header, where the codec has one.
    pub(super) silence: Option<Bytes>,
}

/// The audio of the current lap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) grid: Grid,
    /// Where frame 0 begins, in samples of the item's clock.
    pub(super) start: i64,
    /// Where frame 0 begins, in samples of the stream's clock.
    pub(super) begin: i64,
    /// The first frame that is played.
    pub(super) from: i64,
    /// The frame after the last one that was handed over.
    pub(super) sent: i64,
    /// Frames the item itself has, and how many the lap is to have, once its end is known.
    pub(super) settled: Option<Settled>,
}

/// What the end of a lap makes of its audio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// Frames the item itself has.
    pub(super) has: i64,
    /// The number of frames in the lap, chosen so that the last one ends nearest to the lap's end; `None` if it is not to be fitted.
    pub(super) wanted: Option<i64>,
}

impl Lane {
    /// Silence up to `due`, for a lane that has nothing else to hand over.
    pub(in crate::playout) fn idle(&mut self, due: i64, turn: &mut Turn) {
        let Some(Chain { rate, frame, next, silence: Some(body) }) = self.chain.clone() else {
            // There is nothing to send; what comes next begins now, not in the past.
            self.handed = self.handed.max(due);
            self.at = Position::from_millis(self.handed);
            return;
        };
        let end = Unit::MILLIS.to(due, Unit::sample(rate));
        let count = (end - next) / i64::from(frame) + 1;
        if end < next {
            return;
        }
        self.emit(Fill { begin: next, count, rate, frame, body }, turn);
        if let Some(chain) = &mut self.chain {
            chain.next = next + count * i64::from(frame);
            self.at = Position::ZERO.plus(chain.next, Unit::sample(rate));
        }
        self.handed = self.handed.max(due);
    }

    /// Sample rate and frame length of the item's audio, by its header or its first frame.
    pub(super) fn audio_format(&self, first: &Tag) -> (u32, u32) {
        if let Some(samples) = opus_samples(first) {
            return (opus::RATE_HZ, samples);
        }
        match self.audio_header.as_ref().and_then(sound::aac_config) {
            Some(config) if AudioCodec::of(&first.body) != Some(AudioCodec::Mp3) => {
                (config.sample_rate_hz, u32::from(config.frame_samples))
            }
            _ => sound::mp3_format(&first.body),
        }
    }

    /// Audio begins in this lap, `start` samples into the item; `offset` milliseconds of it are left out.
    pub(super) fn begin_row(&mut self, rate: u32, frame: u32, start: i64, offset: i64) {
        let samples = Unit::sample(rate);
        let step = i64::from(frame.max(1));
        let grid = Grid { first: samples.to_millis(start), rate, frame };
        let nominal = self.at.to(samples) + start;
        let skipped = if offset > 0 { grid.number(offset).max(0) } else { 0 };
        let silence = self.silent_frame(frame);
        let Some(chain) = &mut self.chain else {
            // At the very beginning nothing is to be joined on to, and the priming is played.
            self.chain = Some(Chain { rate, frame, next: nominal, silence });
            let from = if offset > 0 { skipped } else { i64::MIN };
            self.row = Some(Row { grid, start, begin: nominal, from, sent: skipped, settled: None });
            return;
        };
        if chain.rate != rate {
            chain.next = Unit::sample(chain.rate).to(chain.next, samples);
        }
        (chain.rate, chain.frame, chain.silence) = (rate, frame, silence);
        // Sound that comes before the item's beginning is left out up to the frame that follows without a gap.
        let follows = round_div(chain.next - nominal, step).max(0);
        let skipped = if (follows - skipped).abs() <= 1 { follows } else { skipped };
        // Whole frames between the end of the last one and where this one belongs. The rest is carried on to the end of the
        // lap: half a frame was to be expected, and a little more comes of rounding.
        let gap = nominal + skipped * step - chain.next;
        let missing = gap.signum() * ((gap.abs() + step / 4) / step);
        self.row = Some(if missing > 0 && chain.silence.is_none() {
            // Nothing can be put there: the gap is the item's own.
            Row { grid, start, begin: nominal, from: skipped, sent: skipped, settled: None }
        } else {
            // Missing frames are filled in first; where there is too much already, as many are left out.
            let begin = chain.next + (missing - skipped) * step;
            Row {
                grid,
                start,
                begin,
                from: skipped + (-missing).max(0),
                sent: skipped - missing,
                settled: None,
            }
        });
    }

    /// Puts the frames that are missing before the item's first one, which is among the tags from number `from` on.
    pub(super) fn fill_front(&mut self, from: usize, turn: &mut Turn) {
        let Some(row) = self.row.filter(|row| row.sent < row.from) else { return };
        if turn.tags[from..].iter().any(super::is_main_sound) {
            self.fill_frames(row, row.sent, row.from, i64::MAX, turn);
        }
    }

    /// Puts frames where the item has none, up to `until` of the stream's clock.
    pub(super) fn fill(&mut self, until: i64, turn: &mut Turn) {
        if self.row.is_none() && self.item.as_ref().is_some_and(|item| item.is_open() && !item.has_audio) {
            self.begin_silence();
        }
        self.settle();
        let (Some(row), Some(chain)) = (self.row, &self.chain) else { return };
        let step = i64::from(chain.frame);
        // Before the item's first frame, and behind its last one where that is known.
        let (begin, end) = if row.sent < row.from {
            (row.sent, row.from)
        } else {
            let Some(Settled { has, wanted }) = row.settled else {
                if self.item.as_ref().is_none_or(|item| item.has_audio) {
                    return;
                }
                return self.fill_frames(row, row.sent, i64::MAX, until, turn);
            };
            if row.sent < has {
                return;
            }
            (row.sent, wanted.unwrap_or(row.sent))
        };
        if let (1, Some(body), true) = (end - begin, self.repeat.clone(), row.sent >= row.from) {
            let (rate, frame) = (chain.rate, chain.frame);
            self.emit(Fill { begin: row.begin + begin * step, count: 1, rate, frame, body }, turn);
            self.sent(end);
            return;
        }
        self.fill_frames(row, begin, end, until, turn);
    }

    pub(super) fn fill_frames(&mut self, row: Row, begin: i64, end: i64, until: i64, turn: &mut Turn) {
        let Some(Chain { rate, frame, silence, .. }) = self.chain.clone() else { return };
        let Some(body) = silence else {
            // This codec has no frame of silence: the gap is the item's own.
            return;
        };
        let step = i64::from(frame);
        let due = Unit::MILLIS.to(until.min(i64::MAX / 1000), Unit::sample(rate));
        let last = if until == i64::MAX { end } else { end.min((due - row.begin).div_euclid(step) + 1) };
        if last > begin && last != i64::MAX {
            self.emit(Fill { begin: row.begin + begin * step, count: last - begin, rate, frame, body }, turn);
            self.sent(last);
        }
    }

    pub(super) fn sent(&mut self, frames: i64) {
        if let Some(row) = &mut self.row {
            row.sent = row.sent.max(frames);
        }
    }

    pub(super) fn emit(&mut self, fill: Fill, turn: &mut Turn) {
        let from = turn.tags.len();
        fill.add(&mut turn.tags);
        if let Some(tag) = turn.tags[from..].last() {
            self.last_audio = tag.timestamp.as_millis();
        }
        turn.parts.push(Part::Fill(fill));
        turn.sort = true;
    }

    /// A lap without any audio in a stream that has some.
    pub(super) fn begin_silence(&mut self) {
        let (rate, frame) = if self.is_opus() {
            (opus::RATE_HZ, self.chain.as_ref().map_or(opus::USUAL_SAMPLES, |chain| chain.frame))
        } else {
            let Some(config) = self.audio_header.as_ref().and_then(sound::aac_config) else { return };
            (config.sample_rate_hz, u32::from(config.frame_samples))
        };
        if self.silent_frame(frame).is_some() {
            self.begin_row(rate, frame, 0, self.video_from.max(0));
            if let Some(row) = &mut self.row {
                row.from = row.sent;
            }
        }
    }

    /// What fills gaps from here on is of the format that holds now.
    pub(super) fn renew_silence(&mut self) {
        let silence = self.chain.as_ref().and_then(|chain| self.silent_frame(chain.frame));
        if let Some(chain) = &mut self.chain {
            chain.silence = silence;
        }
    }

    /// A frame of silence of this many samples in the current format, if it has one.
    pub(super) fn silent_frame(&self, samples: u32) -> Option<Bytes> {
        silent_frame(self.audio_header.as_ref()?, samples)
    }

    fn is_opus(&self) -> bool {
        self.audio_header.as_ref().is_some_and(is_opus)
    }
}

/// Samples of an Opus packet; `None` if the tag is of another codec or the packet says none.
fn opus_samples(tag: &Tag) -> Option<u32> {
    if AudioCodec::of(&tag.body) != Some(AudioCodec::Opus) {
        return None;
    }
    sound::opus_samples(&tag.body)
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use flowcast_av::{
        AudioDecoder, AudioInfo, Codec, DecoderOptions, Packet, TimeBase, TrackInfo, TrackKind,
    };
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::time::MediaTime;

    use super::*;
    use crate::lap::{OPUS, opus_silence};

    #[test]
    fn opus_has_silence_of_every_usual_length() {
        let mut track = TrackInfo::new(0, TrackKind::Audio, Codec::Opus, TimeBase::new(1, 48_000));
        track.config = Some(Bytes::from_static(b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00"));
        track.audio = Some(AudioInfo {
            sample_rate: 48_000,
            channels: 2,
            layout: "stereo".to_owned(),
            frame_samples: 0,
            priming_samples: 0,
        });
        for samples in [120, 240, 480, 960, 1920, 2880, 5760] {
            let body = opus_silence(samples).expect("a length packets have");
            let tag = Tag::from_wire(TagKind::Audio, MediaTime::ZERO, body.clone());
            assert_eq!(opus_samples(&tag), Some(samples));
            let mut decoder =
                AudioDecoder::open(&track, &DecoderOptions::default()).expect("libav decodes Opus");
            let packet = Packet::new(0, Some(0), Some(0), body.slice(OPUS.len()..));
            decoder.push(&packet).expect("a whole packet");
            decoder.finish().expect("it ends");
            let mut decoded = 0;
            while let Some(frame) = decoder.pull().expect("it decodes") {
                decoded += frame.samples();
            }
            assert_eq!(u32::try_from(decoded), Ok(samples));
        }
        assert_eq!(opus_silence(1000), None);
    }
}
