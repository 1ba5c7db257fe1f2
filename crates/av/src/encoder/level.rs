//! Levels of H.264 (ITU-T H.264, table A-1).

use super::{VideoCodecKind, VideoSettings};

/// One row of the table.
struct Limits {
    /// Level times ten.
    level: u32,
    /// Macroblocks per second.
    rate: u64,
    /// Macroblocks in a frame.
    frame: u64,
    /// Macroblocks in the buffer of decoded pictures.
    buffer: u64,
    /// Units of 1000 bits per second (Baseline, Main) or 1250 (High).
    bits: u64,
    /// The coded picture buffer in the same units.
    coded: u64,
}

const fn row(level: u32, rate: u64, frame: u64, buffer: u64, bits: u64, coded: u64) -> Limits {
    Limits { level, rate, frame, buffer, bits, coded }
}

const TABLE: [Limits; 19] = [
    row(10, 1_485, 99, 396, 64, 175),
    row(11, 3_000, 396, 900, 192, 500),
    row(12, 6_000, 396, 2_376, 384, 1_000),
    row(13, 11_880, 396, 2_376, 768, 2_000),
    row(20, 11_880, 396, 2_376, 2_000, 2_000),
    row(21, 19_800, 792, 4_752, 4_000, 4_000),
    row(22, 20_250, 1_620, 8_100, 4_000, 4_000),
    row(30, 40_500, 1_620, 8_100, 10_000, 10_000),
    row(31, 108_000, 3_600, 18_000, 14_000, 14_000),
    row(32, 216_000, 5_120, 20_480, 20_000, 20_000),
    row(40, 245_760, 8_192, 32_768, 20_000, 25_000),
    row(41, 245_760, 8_192, 32_768, 50_000, 62_500),
    row(42, 522_240, 8_704, 34_816, 50_000, 62_500),
    row(50, 589_824, 22_080, 110_400, 135_000, 135_000),
    row(51, 983_040, 36_864, 184_320, 240_000, 240_000),
    row(52, 2_073_600, 36_864, 184_320, 240_000, 240_000),
    row(60, 4_177_920, 139_264, 696_320, 240_000, 240_000),
    row(61, 8_355_840, 139_264, 696_320, 480_000, 480_000),
    row(62, 16_711_680, 139_264, 696_320, 800_000, 800_000),
];

impl VideoSettings {
    /// Names the [level](Self::level) that holds for the rate it has now, so that another rate makes the same headers: for libx264, whose level is
    /// otherwise found by the rate. Other encoders are left to find theirs.
    #[must_use]
    pub fn with_level_kept(mut self) -> Self {
        if self.writes_level() {
            self.level = Some(level(&self));
        }
        self
    }

    /// The most bits per second that the headers allow (H.264, table A-1), for libx264; `None` for encoders that find their level themselves.
    #[must_use]
    pub fn most_bit_rate(&self) -> Option<u64> {
        let level = self.writes_level().then(|| level(self))?;
        TABLE.iter().find(|row| row.level >= level).or(TABLE.last()).map(|row| row.bits * unit(self))
    }

    fn writes_level(&self) -> bool {
        self.codec == VideoCodecKind::H264 && matches!(self.encoder.as_deref(), None | Some("libx264"))
    }
}

/// Bits that the rates of the table are counted in.
fn unit(settings: &VideoSettings) -> u64 {
    match settings.profile.as_deref() {
        Some("baseline" | "main") => 1000,
        _ => 1250,
    }
}

/// The lowest level that holds what the settings ask for, times ten; the highest there is if none does.
pub(super) fn level(settings: &VideoSettings) -> u32 {
    if let Some(level) = settings.level {
        return level;
    }
    let (width, height) = (u64::from(settings.width.div_ceil(16)), u64::from(settings.height.div_ceil(16)));
    let frame = width * height;
    let rate = (frame * u64::from(settings.frame_rate.num)).div_ceil(u64::from(settings.frame_rate.den));
    let buffer = frame * u64::from(decoded_pictures(settings));
    let unit = unit(settings);
    let bits = settings.rate_control.bit_rate().unwrap_or(0).div_ceil(unit);
    let coded = settings.rate_control.vbv_bits().unwrap_or(0).div_ceil(unit);
    let holds = |row: &&Limits| {
        // A side may be at most the root of eight times the frame.
        let side = row.frame * 8;
        row.frame >= frame
            && width * width <= side
            && height * height <= side
            && row.rate >= rate
            && row.buffer >= buffer
            && row.bits >= bits
            && row.coded >= coded
    };
    TABLE.iter().find(holds).or(TABLE.last()).map_or(62, |row| row.level)
}

/// Pictures a decoder has to keep: those that are referred to, and those that wait for B-frames between them (four for the
/// pyramid x264 builds of two and more).
fn decoded_pictures(settings: &VideoSettings) -> u32 {
    let references = settings.refs.unwrap_or(match settings.preset.as_str() {
        "ultrafast" | "superfast" | "veryfast" => 1,
        "faster" | "fast" => 2,
        "medium" => 3,
        "slow" => 5,
        "slower" => 8,
        "veryslow" | "placebo" => 16,
        _ => 4,
    });
    let waiting = match settings.b_frames {
        0 => 1,
        1 => 2,
        _ => 4,
    };
    references.max(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ratio;
    use crate::encoder::RateControl;

    fn settings(width: u32, height: u32, fps: u32) -> VideoSettings {
        VideoSettings::new(width, height, Ratio { num: fps, den: 1 })
    }

    #[test]
    fn usual_sizes_have_their_usual_levels() {
        let levels = [
            (settings(176, 144, 15), 20),
            (settings(640, 360, 30), 30),
            (settings(1280, 720, 30), 31),
            (settings(1280, 720, 60), 32),
            (settings(1920, 1080, 30), 40),
            (settings(1920, 1080, 60), 42),
            (settings(2560, 1440, 60), 51),
            (settings(3840, 2160, 30), 51),
            (settings(3840, 2160, 60), 52),
        ];
        for (settings, expected) in levels {
            let settings = VideoSettings { rate_control: RateControl::Abr(2_000_000), ..settings };
            assert_eq!(level(&settings), expected, "{} x {}", settings.width, settings.height);
        }
    }

    #[test]
    fn references_rate_and_shape_count() {
        let base = VideoSettings { rate_control: RateControl::Abr(2_000_000), ..settings(1280, 720, 30) };
        assert_eq!(level(&VideoSettings { refs: Some(5), ..base.clone() }), 31);
        assert_eq!(level(&VideoSettings { refs: Some(6), ..base.clone() }), 40);
        let cbr = |bit_rate| RateControl::Cbr { bit_rate, vbv_bits: bit_rate, filler: false };
        assert_eq!(level(&VideoSettings { rate_control: cbr(17_500_000), ..base.clone() }), 31);
        assert_eq!(level(&VideoSettings { rate_control: cbr(17_500_001), ..base.clone() }), 32);
        let main = Some("main".to_owned());
        assert_eq!(
            level(&VideoSettings { rate_control: cbr(17_500_000), profile: main, ..base.clone() }),
            32
        );
        assert_eq!(level(&VideoSettings { level: Some(51), ..base.clone() }), 51);
        let kept = VideoSettings { rate_control: cbr(17_500_000), ..base.clone() }.with_level_kept();
        assert_eq!((kept.level, kept.most_bit_rate()), (Some(31), Some(17_500_000)));
        let lower = VideoSettings { rate_control: cbr(300_000), ..kept };
        assert_eq!(level(&lower), 31, "another rate does not change it");
        let device = VideoSettings { encoder: Some("h264_nvenc".to_owned()), ..base.clone() };
        assert_eq!((device.most_bit_rate(), device.with_level_kept().level), (None, None));
        // 2560 pixels are 160 macroblocks: within 3.1's frame, but a side of it is at most 169.
        let wide = VideoSettings { rate_control: RateControl::Crf(23.0), ..settings(2736, 16, 10) };
        assert_eq!(level(&wide), 32);
    }
}
