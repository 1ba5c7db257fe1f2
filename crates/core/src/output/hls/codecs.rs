//! What a codec is called in `CODECS` of a multivariant playlist: RFC 6381, ISO/IEC 14496-15 annex E, and the bindings of AV1, VP9 and Opus.
//!
//! In: the configuration of a track. Out: its name. Nothing here blocks.

use std::fmt::Write as _;

use flowcast_rtmp::flv::asc::AudioSpecificConfig;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::tag::Codec;
use flowcast_rtmp::flv::video::VideoCodec;

/// The object type of AAC with spectral band replication, and with parametric stereo besides.
const OBJECT_SBR: u8 = 5;
const OBJECT_PS: u8 = 29;

/// The name of a codec with this configuration; `None` if it has none, or if the configuration is cut off.
pub(super) fn name(codec: Codec, config: &[u8]) -> Option<String> {
    match codec {
        Codec::Video(VideoCodec::Avc) => {
            let [profile, constraints, level] = *config.get(1..)?.first_chunk::<3>()?;
            Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
        }
        Codec::Video(VideoCodec::Hevc) => hevc(config),
        Codec::Video(VideoCodec::Av1) => {
            let [levels, depths] = *config.get(1..)?.first_chunk::<2>()?;
            let (profile, level) = (levels >> 5, levels & 0x1F);
            let tier = if depths & 0x80 == 0 { 'M' } else { 'H' };
            let depth = match (depths & 0x40 == 0, depths & 0x20 == 0) {
                (true, _) => 8,
                (false, true) => 10,
                (false, false) => 12,
            };
            Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
        }
        Codec::Video(VideoCodec::Vp9) => {
            // With or without the version and flags of the box.
            let record = config.strip_prefix(&[1, 0, 0, 0]).unwrap_or(config);
            let [profile, level, depth] = *record.first_chunk::<3>()?;
            Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
        }
        Codec::Audio(AudioCodec::Aac) => {
            let config = AudioSpecificConfig::parse(config).ok()?;
            let object = match (config.parametric_stereo, config.sbr_rate_hz) {
                (true, _) => OBJECT_PS,
                (false, Some(_)) => OBJECT_SBR,
                (false, None) => config.object_type,
            };
            Some(format!("mp4a.40.{object}"))
        }
        Codec::Audio(AudioCodec::Mp3 | AudioCodec::Mp38k) => Some("mp4a.40.34".to_owned()),
        Codec::Audio(AudioCodec::Opus) => Some("Opus".to_owned()),
        _ => None,
    }
}

fn hevc(record: &[u8]) -> Option<String> {
    let record = record.get(1..)?.first_chunk::<12>()?;
    let [profile, flags @ ..] = *record;
    let space = match profile >> 6 {
        0 => "",
        1 => "A",
        2 => "B",
        _ => "C",
    };
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let [one, two, three, four, constraints @ .., level] = flags;
    // The compatibility flags the other way round.
    let compatible = u32::from_be_bytes([one, two, three, four]).reverse_bits();
    let mut name = format!("hvc1.{space}{}.{compatible:X}.{tier}{level}", profile & 0x1F);
    let said = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(said) {
        write!(name, ".{byte:X}").ok()?;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_called_as_players_know_them() {
        let video = |codec, config: &[u8]| name(Codec::Video(codec), config);
        let audio = |codec, config: &[u8]| name(Codec::Audio(codec), config);
        assert_eq!(video(VideoCodec::Avc, &[1, 0x64, 0, 0x1F, 0xFF]).as_deref(), Some("avc1.64001f"));
        let main = [1, 1, 0x60, 0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 93];
        assert_eq!(video(VideoCodec::Hevc, &main).as_deref(), Some("hvc1.1.6.L93.B0"));
        let main_10 = [1, 0x22, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 150];
        assert_eq!(video(VideoCodec::Hevc, &main_10).as_deref(), Some("hvc1.2.4.H150"));
        assert_eq!(video(VideoCodec::Av1, &[0x81, 0x08, 0x0C, 0]).as_deref(), Some("av01.0.08M.08"));
        assert_eq!(video(VideoCodec::Av1, &[0x81, 0x0D, 0xCC, 0]).as_deref(), Some("av01.0.13H.10"));
        assert_eq!(video(VideoCodec::Vp9, &[0, 31, 0x82, 1, 1, 1]).as_deref(), Some("vp09.00.31.08"));
        assert_eq!(video(VideoCodec::Vp9, &[1, 0, 0, 0, 2, 10, 0xA0]).as_deref(), Some("vp09.02.10.10"));
        assert_eq!(audio(AudioCodec::Aac, &[0x12, 0x10]).as_deref(), Some("mp4a.40.2"));
        // Explicit HE-AAC: object type 5, 24 kHz, stereo, 48 kHz, then AAC-LC.
        assert_eq!(audio(AudioCodec::Aac, &[0x2B, 0x11, 0x88, 0]).as_deref(), Some("mp4a.40.5"));
        assert_eq!(audio(AudioCodec::Mp3, &[]).as_deref(), Some("mp4a.40.34"));
        assert_eq!(audio(AudioCodec::Opus, b"OpusHead").as_deref(), Some("Opus"));
    }

    #[test]
    fn a_configuration_that_is_cut_off_has_no_name() {
        for codec in [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1, VideoCodec::Vp9] {
            assert_eq!(name(Codec::Video(codec), &[1]), None);
        }
        assert_eq!(name(Codec::Audio(AudioCodec::Aac), &[]), None);
        assert_eq!(name(Codec::Audio(AudioCodec::Speex), &[]), None);
    }
}
