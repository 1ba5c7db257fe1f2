//! Takes in the packets of the video track.

use std::time::Duration;

use flowcast_av::h264::{Inspector, Picture, PictureKind};
use flowcast_av::{Codec, FieldOrder, Packet, TrackInfo};

use super::clock::{Follower, Times};
use super::intervals::Intervals;
use super::windows::Densest;
use crate::bit_rate::BitRate;
use crate::verdict::{BitRates, Fields, Form, VideoFacts};

/// Numbers of H.264's tables E-3 and E-4 that matter here, and libav's names for them.
const TRANSFERS: [(u8, &str); 5] =
    [(1, "bt709"), (6, "smpte170m"), (14, "bt2020-10"), (16, "smpte2084"), (18, "arib-std-b67")];
const PRIMARIES: [(u8, &str); 4] = [(1, "bt709"), (5, "bt470bg"), (6, "smpte170m"), (9, "bt2020")];

/// What was seen of the video track so far.
#[derive(Debug)]
pub(super) struct VideoTally {
    info: TrackInfo,
    facts: VideoFacts,
    inspector: Option<Inspector>,
    clock: Follower,
    intervals: Intervals,
    densest: [Densest; 2],
    bytes: u64,
    /// Times to show of the first and, with its length, of the last picture.
    start: Option<i64>,
    end: i64,
    gops: Gops,
    fields_seen: bool,
    b_run: u32,
}

impl VideoTally {
    pub(super) fn new(info: &TrackInfo) -> Self {
        let inspector = (info.codec == Codec::H264).then(|| Inspector::new(info.config.as_deref()));
        Self {
            facts: VideoFacts { track: info.index, first_is_idr: true, edits: 1, ..VideoFacts::default() },
            inspector,
            clock: Follower::new(info.time_base),
            intervals: Intervals::default(),
            densest: [Densest::new(1000), Densest::new(2000)],
            bytes: 0,
            start: None,
            end: i64::MIN,
            gops: Gops::default(),
            fields_seen: false,
            b_run: 0,
            info: info.clone(),
        }
    }

    /// Takes in the next packet.
    pub(super) fn take(&mut self, packet: &Packet) {
        let size = packet.data.len() as u64;
        let facts = &mut self.facts;
        facts.packets += 1;
        facts.largest_packet = facts.largest_packet.max(size);
        facts.hidden += u64::from(packet.discard);
        let picture = self.inspector.as_mut().map(|inspector| inspector.inspect(packet));
        let damaged = packet.corrupt || packet.data.is_empty() || picture.is_some_and(|p| p.damaged);
        facts.damaged += u64::from(damaged);
        let changed = picture.map_or(packet.config.is_some(), |picture| picture.parameters_changed);
        facts.parameter_changes += u32::from(changed);
        facts.size_changes += u32::from(picture.is_some_and(|picture| picture.size_changed));
        let Some(times) = self.clock.follow(packet) else { return };
        self.bytes += size;
        self.densest.iter_mut().for_each(|densest| densest.push(times.dts, size));
        if !packet.discard {
            self.intervals.push(times.pts);
            self.start = Some(self.start.map_or(times.pts, |start| start.min(times.pts)));
            self.end = self.end.max(times.pts + times.duration);
        }
        let delay = Duration::from_micros((times.pts - times.dts).max(0).unsigned_abs());
        self.facts.composition_max = self.facts.composition_max.max(delay);
        match picture {
            Some(picture) => self.take_h264(packet, picture, times),
            None => self.take_other(packet, times),
        }
        self.gops.bytes += size;
    }

    fn take_h264(&mut self, packet: &Packet, picture: Picture, times: Times) {
        self.fields_seen |= picture.field;
        self.b_run = if picture.kind == PictureKind::B { self.b_run + 1 } else { 0 };
        self.facts.b_frames = self.facts.b_frames.max(self.b_run);
        let idr = picture.kind == PictureKind::Idr;
        let enters = idr || picture.recovery_point || picture.kind == PictureKind::I;
        if idr || packet.keyframe && enters {
            self.facts.first_is_idr &= idr || self.gops.keyframe.is_some();
            self.facts.idr += u64::from(idr);
            self.facts.open_gops += u64::from(self.gops.begin(times, !idr));
        } else {
            self.facts.false_keyframes += u64::from(packet.keyframe);
            self.follow_keyframe(times);
        }
    }

    fn take_other(&mut self, packet: &Packet, times: Times) {
        // A picture shown before one that was decoded earlier: some are reordered.
        self.facts.b_frames |= u32::from(self.gops.newest.is_some_and(|newest| times.pts < newest));
        if packet.keyframe {
            self.facts.idr += 1;
            self.facts.open_gops += u64::from(self.gops.begin(times, true));
        } else {
            self.follow_keyframe(times);
        }
    }

    fn follow_keyframe(&mut self, times: Times) {
        if self.gops.keyframe.is_none() {
            self.facts.lead += 1;
        }
        self.gops.follow(times);
    }

    /// All packets were seen. `form` is what was done to them as they were read.
    pub(super) fn finish(mut self, form: Option<Form>) -> VideoFacts {
        let start = self.start.unwrap_or(0);
        let length = (self.end.max(start) - start).max(0);
        let mut facts = self.facts;
        facts.open_gops += u64::from(self.gops.is_open());
        facts.keyframes = self.gops.count;
        self.gops.end(self.end);
        facts.gop_max = micros(self.gops.longest);
        facts.gop_mean = micros(self.gops.total / i64::try_from(self.gops.count.max(1)).unwrap_or(1));
        facts.form = form;
        facts.clock = self.clock.facts();
        facts.start_micros = start;
        facts.length = micros(length);
        let mean = per_second(self.bytes, length);
        let [second, two] = &self.densest;
        facts.bit_rate = BitRates {
            mean: BitRate::from_bps(mean),
            peak_1s: BitRate::from_bps(second.peak(length, mean)),
            peak_2s: BitRate::from_bps(two.peak(length, mean)),
            peak_2_gops: BitRate::from_bps(if self.gops.peak > 0 { self.gops.peak } else { mean }),
        };
        let shown = facts.packets - facts.hidden;
        facts.frame_rate = if length > 0 { shown as f64 * 1e6 / length as f64 } else { 0.0 };
        let (irregular, rates) = self.intervals.finish();
        facts.irregular = irregular;
        (facts.frame_rate_min, facts.frame_rate_max) = rates.unwrap_or((facts.frame_rate, facts.frame_rate));
        describe(&mut facts, &self.info, self.inspector.as_ref(), self.fields_seen);
        facts
    }
}

/// GOPs and their keyframes.
#[derive(Debug, Default)]
struct Gops {
    count: u64,
    /// When the current keyframe is shown.
    keyframe: Option<i64>,
    /// Pictures shown before the current keyframe may follow it, and one has.
    may_be_open: bool,
    open: bool,
    /// The latest time to show of all pictures.
    newest: Option<i64>,
    longest: i64,
    total: i64,
    /// Bytes of the current GOP, and bytes and length of the one before.
    bytes: u64,
    before: Option<(u64, i64)>,
    /// Bits per second of the densest two GOPs in a row.
    peak: u64,
}

impl Gops {
    /// A keyframe; true if the GOP before it was open.
    fn begin(&mut self, times: Times, may_be_open: bool) -> bool {
        let was_open = self.is_open();
        self.end(times.pts);
        self.count += 1;
        self.keyframe = Some(times.pts);
        (self.may_be_open, self.open, self.bytes) = (may_be_open, false, 0);
        self.newest = self.newest.max(Some(times.pts));
        was_open
    }

    fn follow(&mut self, times: Times) {
        self.newest = self.newest.max(Some(times.pts));
        self.open |= self.may_be_open && self.keyframe.is_some_and(|keyframe| times.pts < keyframe);
    }

    fn is_open(&self) -> bool {
        self.open
    }

    /// The current GOP ends at a time.
    fn end(&mut self, at: i64) {
        let Some(keyframe) = self.keyframe else { return };
        let length = (at - keyframe).max(0);
        self.longest = self.longest.max(length);
        self.total = self.total.saturating_add(length);
        if let Some((bytes, before)) = self.before.replace((self.bytes, length)) {
            self.peak = self.peak.max(per_second(bytes + self.bytes, before + length));
        }
    }
}

/// What headers say of the track, as the container or the codec has them.
fn describe(facts: &mut VideoFacts, info: &TrackInfo, inspector: Option<&Inspector>, fields_seen: bool) {
    info.codec.name().clone_into(&mut facts.codec);
    facts.profile.clone_from(&info.profile);
    facts.level = info.level;
    facts.has_config = inspector.is_none_or(Inspector::has_parameters);
    let Some(video) = &info.video else { return };
    (facts.width, facts.height) = (video.width, video.height);
    facts.sample_aspect = video.sample_aspect.map(|ratio| (ratio.num, ratio.den));
    (facts.rotation_degrees, facts.mirrored) = (video.rotation_degrees, video.mirrored);
    facts.pixel_format.clone_from(&video.pixel_format);
    facts.full_range = video.color.range.as_deref() == Some("pc") || video.pixel_format.starts_with("yuvj");
    facts.transfer.clone_from(&video.color.transfer);
    facts.primaries.clone_from(&video.color.primaries);
    facts.fields = match video.field_order {
        FieldOrder::Progressive => Fields::Progressive,
        FieldOrder::TopFirst | FieldOrder::BottomFirst | FieldOrder::Interlaced => Fields::Interlaced,
        _ => Fields::Unknown,
    };
    let Some(sps) = inspector.and_then(Inspector::sps) else { return };
    facts.fields = if sps.frames_only {
        Fields::Progressive
    } else if fields_seen || sps.adaptive_fields || facts.fields == Fields::Interlaced {
        Fields::Interlaced
    } else {
        Fields::Allowed
    };
    facts.full_range |= sps.full_range;
    if let Some((primaries, transfer, _)) = sps.color {
        let name = |table: &[(u8, &str)], code| {
            table.iter().find(|(known, _)| *known == code).map(|(_, name)| (*name).to_owned())
        };
        facts.primaries = name(&PRIMARIES, primaries).or(facts.primaries.take());
        facts.transfer = name(&TRANSFERS, transfer).or(facts.transfer.take());
    }
    facts.declared_buffer = sps.hrd.map(|hrd| (hrd.bit_rate, hrd.buffer_bits));
}

/// Bits per second.
pub(super) fn per_second(bytes: u64, micros: i64) -> u64 {
    let bits = u128::from(bytes) * 8_000_000;
    u64::try_from(bits / u128::from(micros.max(1).unsigned_abs())).unwrap_or(u64::MAX)
}

pub(super) fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_at_any_time_are_counted() {
        let far = 1_000_000_000_000_000;
        let mut gops = Gops::default();
        for number in 0..20_000 {
            let pts = if number % 2 == 0 { -far } else { far };
            gops.begin(Times { pts, dts: number, duration: 1 }, true);
        }
        assert_eq!((gops.count, gops.longest), (20_000, 2 * far));
    }
}
