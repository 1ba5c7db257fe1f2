//! Completes what libav says about a track from the codec's own configuration, and about an input from its tracks.

use crate::adts::AudioConfig;
use crate::h264::{self, Sps};
use crate::opus;
use crate::{Codec, FieldOrder, MediaInfo, Packet, Ratio, TimeBase, TrackInfo};

/// Fills in what is missing and the configuration record tells.
pub(crate) fn complete(track: &mut TrackInfo) {
    match track.codec {
        Codec::H264 => complete_h264(track),
        Codec::Aac => complete_aac(track),
        _ => {}
    }
    if !counts_packets(track) {
        track.frames = None;
    }
    let average = average_rate(track);
    if let Some(video) = &mut track.video {
        video.frame_rate = video.frame_rate.or(average);
    }
}

/// Fills in what only a packet tells: how much an Opus packet holds.
pub(crate) fn complete_by_packet(track: &mut TrackInfo, packet: &Packet) {
    if let Some(audio) = &mut track.audio
        && track.codec == Codec::Opus
        && audio.frame_samples == 0
    {
        audio.frame_samples = opus::packet_samples(&packet.data).unwrap_or(0);
    }
}

/// The frame rate the H.264 headers tell.
pub(crate) fn frame_rate(track: &TrackInfo) -> Option<Ratio> {
    sps(track)?.frame_rate
}

/// Whether the track has an avcC record whose SPS can be read.
pub(crate) fn has_readable_avcc(track: &TrackInfo) -> bool {
    track.config.as_ref().is_some_and(|config| h264::is_avcc(config)) && sps(track).is_some()
}

/// Whether the track has an `AudioSpecificConfig` that says rate and channels.
pub(crate) fn has_readable_audio_config(track: &TrackInfo) -> bool {
    let config = track.config.as_ref().and_then(|config| AudioConfig::parse(config));
    config.is_some_and(|config| config.channels > 0 && config.sample_rate > 0)
}

fn sps(track: &TrackInfo) -> Option<Sps> {
    let config = track.config.as_ref().filter(|_| track.codec == Codec::H264)?;
    if h264::is_avcc(config) {
        return Sps::parse(h264::sps_of_avcc(config)?);
    }
    // Annex B: the first unit of type 7.
    h264::nal_units(config)
        .find(|unit| unit.first().is_some_and(|header| header & 0x1F == 7))
        .and_then(Sps::parse)
}

fn complete_h264(track: &mut TrackInfo) {
    let Some(sps) = sps(track) else { return };
    if track.profile.is_none() {
        track.profile = sps.profile_name().map(str::to_owned);
    }
    track.level = track.level.or(Some(u32::from(sps.level)));
    let Some(video) = &mut track.video else { return };
    if video.width == 0 || video.height == 0 {
        (video.width, video.height) = (sps.width, sps.height);
    }
    if video.pixel_format.is_empty() {
        video.pixel_format = sps.pixel_format().unwrap_or_default();
    }
    if video.field_order == FieldOrder::Unknown {
        video.field_order = sps.field_order();
    }
    video.sample_aspect = video.sample_aspect.or(sps.sample_aspect);
    video.frame_rate = video.frame_rate.or(sps.frame_rate);
}

fn complete_aac(track: &mut TrackInfo) {
    let Some(config) = track.config.as_ref().and_then(|config| AudioConfig::parse(config)) else { return };
    if track.profile.is_none() {
        track.profile = config.profile_name().map(str::to_owned);
    }
    let Some(audio) = &mut track.audio else { return };
    // libav knows the frame length only after its analysis. Before, it repeats the container's rate and channels,
    // which for FLV is always 44100 Hz and stereo.
    if audio.sample_rate == 0 || audio.frame_samples == 0 {
        audio.sample_rate = config.sample_rate;
        if config.channels != 0 && config.channels != audio.channels {
            audio.channels = config.channels;
            audio.layout.clear();
        }
    }
    // Without its decoder libav only counts ("6 channels"). The names of the standard configurations (14496-3, table 1.19).
    if audio.layout.is_empty() || audio.layout.ends_with("channels") {
        let named = ["mono", "stereo", "3.0", "4.0", "5.0", "5.1"];
        let index = usize::try_from(config.channels).ok().and_then(|channels| channels.checked_sub(1));
        if let Some(name) = index.and_then(|index| named.get(index)) {
            audio.layout = (*name).to_owned();
        }
    }
    if audio.frame_samples == 0 {
        audio.frame_samples = config.frame_samples;
    }
}

/// Whether the container's count of a sound track can be one of packets: for raw samples (PCM in MOV and AVI), and where a packet
/// has several blocks, it is one of something else.
fn counts_packets(track: &TrackInfo) -> bool {
    let (Some(audio), Some(frames)) = (&track.audio, track.frames) else { return true };
    let Some(ticks) = track.duration.and_then(|ticks| u64::try_from(ticks).ok()) else {
        return audio.frame_samples > 0;
    };
    let seconds = ticks as f64 * f64::from(track.time_base.num) / f64::from(track.time_base.den.max(1));
    let packets = seconds * f64::from(audio.sample_rate) / f64::from(audio.frame_samples.max(1));
    audio.frame_samples > 1 && frames as f64 <= packets * 2.0 + 2.0
}

/// Frames by length, as a container with a table of frames knows both.
fn average_rate(track: &TrackInfo) -> Option<Ratio> {
    let frames = track.frames.filter(|frames| *frames > 1)?;
    let ticks = u64::try_from(track.duration?).ok().filter(|ticks| *ticks > 0)?;
    let num = frames.checked_mul(u64::from(track.time_base.den))?;
    let den = ticks.checked_mul(u64::from(track.time_base.num))?;
    Ratio::reduced(num, den)
}

/// For formats without libav's analysis: how many frames the decoder holds back, from the headers, else from packets whose
/// times to decode and to show differ by varying amounts.
pub(crate) fn guess_reordering<'a>(track: &mut TrackInfo, packets: impl Iterator<Item = &'a Packet>) {
    let told = sps(track).and_then(|sps| sps.reorder());
    let index = track.index;
    let mut offsets = packets
        .filter(|packet| packet.track == index)
        .filter_map(|packet| packet.pts?.checked_sub(packet.dts?));
    let first = offsets.next();
    let varies = offsets.any(|offset| Some(offset) != first) || first.is_some_and(|offset| offset > 0);
    if let Some(video) = track.video.as_mut().filter(|video| video.b_frames == 0) {
        video.b_frames = told.unwrap_or(u32::from(varies));
    }
}

/// Length, start and bit rate of an input as a whole, where libav does not say.
pub(crate) fn complete_media(media: &mut MediaInfo, size: Option<u64>) {
    if media.duration.is_none() {
        let longest = media
            .tracks
            .iter()
            .filter(|track| track.is_playable())
            .filter_map(|track| track.duration.map(|ticks| track.time_base.duration(ticks)))
            .max();
        media.duration = longest;
    }
    if media.start_micros.is_none() {
        let starts = media.tracks.iter().filter(|track| track.is_playable());
        media.start_micros = starts
            .filter_map(|track| track.start.map(|ticks| track.time_base.rescale(ticks, TimeBase::MICROS)))
            .min();
    }
    if media.bit_rate.is_none() {
        media.bit_rate = size.zip(media.duration).and_then(|(bytes, duration)| {
            let millis = u64::try_from(duration.as_millis()).ok().filter(|millis| *millis > 0)?;
            bytes.checked_mul(8000).map(|bits| bits / millis)
        });
    }
}
