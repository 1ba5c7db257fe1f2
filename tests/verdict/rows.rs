//! The table: clips, and what the verdict on each is.

use flowcast::verdict::Action;
use flowcast::verdict::ReasonCode as R;
use flowcast::verdict::Severity::{self, Error as E, Info as I, Warning as W};

use crate::clips::{Clip, TONE};

/// What has to be the verdict.
#[derive(Debug)]
pub(crate) enum Then {
    Copy,
    CopyWithFix,
    /// A copy, with fixes or without.
    CopyAny,
    CopyVideoEncodeAudio,
    EncodeVideoCopyAudio,
    Encode,
}

impl Then {
    pub(crate) fn holds(&self, action: Action) -> bool {
        match self {
            Self::Copy => action == Action::Copy,
            Self::CopyWithFix => action == Action::CopyWithFix,
            Self::CopyAny => matches!(action, Action::Copy | Action::CopyWithFix),
            Self::CopyVideoEncodeAudio => action == Action::CopyVideoEncodeAudio,
            Self::EncodeVideoCopyAudio => action == Action::EncodeVideoCopyAudio,
            Self::Encode => action == Action::Encode,
        }
    }
}

use Then::{Copy, CopyAny, CopyVideoEncodeAudio, CopyWithFix, Encode, EncodeVideoCopyAudio};

/// One file held against one platform.
pub(crate) struct Row {
    pub(crate) file: &'static str,
    /// A platform's name, and words that change it or say how strict to be (`table::ask`).
    pub(crate) platform: &'static str,
    pub(crate) then: Then,
    /// Reasons that must be given.
    pub(crate) has: &'static [(R, Severity)],
    /// Reasons that must not.
    pub(crate) lacks: &'static [R],
}

const fn clip(name: &'static str, video: &'static str, audio: &'static str, more: &'static str) -> Clip {
    Clip { name, video, audio, more }
}

const V: &str = "320x240:r=30:d=2";
/// Pictures only, where the sound does not matter: `any` and `seed` do not ask for any.
const TINY: &str = "64x48:r=10:d=2";

/// What a good file is made with: closed GOPs of 2 s, a constant rate.
const GOOD: &str = "-preset superfast -g 60 -sc_threshold 0 -b:v 600k -maxrate 600k -bufsize 600k";
const SHORT: &str = "sine=440:sample_rate=48000:d=1";

pub(crate) const CLIPS: &[Clip] = &[
    clip("good.mp4", "640x360:r=30:d=4", "sine=440:sample_rate=48000:d=4", GOOD),
    clip("good.flv", "640x360:r=30:d=4", "sine=440:sample_rate=48000:d=4", GOOD),
    clip("good.mkv", "640x360:r=30:d=4", "sine=440:sample_rate=48000:d=4", GOOD),
    clip("good.ts", "640x360:r=30:d=4", "sine=440:sample_rate=48000:d=4", GOOD),
    clip("start-codes.avi", V, "sine=440:sample_rate=44100:d=2", "-c:a libmp3lame"),
    clip("raw.h264", V, "", ""),
    // Sizes.
    clip("portrait.mp4", "1080x1920:r=30:d=0.2", "", ""),
    clip("1440p.mp4", "2560x1440:r=30:d=0.2", "", ""),
    clip("2162p.mp4", "3844x2162:r=10:d=0.1", "", ""),
    clip("200p.mp4", "356x200:r=30:d=0.5", "", "-crf 35"),
    clip("odd.mp4", "321x181:r=30:d=0.5", "", "-vf scale=321:181 -pix_fmt yuv444p"),
    clip("nearly-square-pixels.mp4", V, "", "-vf setsar=100/99"),
    clip("wide-pixels.mp4", V, "", "-vf setsar=4/3"),
    // Rates.
    clip("29.97.mp4", "64x48:r=30000/1001:d=2", "", ""),
    clip("31.mp4", "64x48:r=31:d=2", "", ""),
    clip("59.94.mkv", "64x48:r=60000/1001:d=2", "", ""),
    clip("60.001.mp4", "64x48:r=60001/1000:d=2", "", ""),
    clip("61.mp4", "64x48:r=61:d=2", "", ""),
    clip("burst.mkv", "64x48:r=120:d=4", "", "-vf select='lt(t,1)+not(mod(n,4))' -fps_mode vfr"),
    clip("variable.mp4", V, "", "-vf select='lt(n,30)+not(mod(n,3))' -fps_mode vfr"),
    clip("hole.mp4", "320x240:r=30:d=4", "", "-vf select='lt(t,1)+gt(t,2.5)' -fps_mode vfr"),
    // GOPs.
    clip("gop-4.0.mp4", "64x48:r=10:d=8", "", "-g 40 -keyint_min 40 -sc_threshold 0"),
    clip("gop-4.004.mp4", "64x48:r=30000/1001:d=8", "", "-g 120 -keyint_min 120 -sc_threshold 0"),
    clip("gop-4.04.mp4", "64x48:r=25:d=8.08", "", "-g 101 -keyint_min 101 -sc_threshold 0"),
    clip("gop-2.05.mp4", "64x48:r=20:d=4.1", "", "-g 41 -keyint_min 41 -sc_threshold 0"),
    clip("gop-2.1.mp4", "64x48:r=20:d=4.2", "", "-g 42 -keyint_min 42 -sc_threshold 0"),
    clip("intra.mp4", V, "", "-g 1"),
    clip("open-gop.mp4", V, "", "-preset superfast -bf 2 -g 15 -x264-params open-gop=1:scenecut=0"),
    clip("open-gop.ts", V, "", "-preset superfast -bf 2 -g 15 -x264-params open-gop=1:scenecut=0"),
    clip("refresh.ts", V, "", "-preset superfast -bf 0 -g 15 -x264-params intra-refresh=1"),
    clip("b-frames.mp4", V, "", "-preset superfast -bf 2 -x264-params b-adapt=0"),
    // Pictures.
    clip("interlaced.mp4", V, "", "-x264-params interlaced=1"),
    clip("fake-interlaced.mp4", V, "", "-x264-params fake-interlaced=1"),
    clip("10-bit.mp4", V, "", "-pix_fmt yuv420p10le"),
    clip("422.mp4", V, "", "-pix_fmt yuv422p"),
    clip("full-range.mp4", V, "", "-pix_fmt yuvj420p -color_range pc"),
    clip("hdr.mp4", V, "", "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc"),
    clip("level.mp4", V, TONE, "-level 5.1"),
    // Codecs.
    clip("hevc.mp4", TINY, "", "-c:v libx265 -x265-params log-level=none:open-gop=0:bframes=0"),
    clip("vp9.webm", TINY, "", "-c:v libvpx-vp9 -cpu-used 8"),
    clip("mpeg4.avi", TINY, "", "-c:v mpeg4"),
    clip("uncompressed.mkv", "4096x2736:r=1:d=1", "", "-c:v rawvideo"),
    // Bit rates: noise takes what it is given.
    clip("noise.mp4", "640x360:r=30:d=4", TONE, "-vf noise=alls=60:allf=t -b:v 3M -maxrate 3M -bufsize 1M"),
    clip(
        "peak.mp4",
        "640x360:r=30:d=9",
        "",
        "-vf noise=alls=40:allf=t:enable='lt(t,2)' -crf 38 -maxrate 1100k -bufsize 550k",
    ),
    clip("few-bits.mp4", "640x360:r=30:d=2", TONE, "-b:v 60k -maxrate 60k -bufsize 60k"),
    // Sound.
    clip("5.1.mp4", V, TONE, "-ac 6"),
    clip("7.1.mp4", V, TONE, "-ac 8"),
    clip("quiet.mp4", V, TONE, "-ac 1 -b:a 32k"),
    clip("mono.mp4", V, TONE, "-ac 1"),
    clip("32k.mp4", V, TONE, "-ar 32000"),
    clip("mp3-48k.mp4", V, TONE, "-c:a libmp3lame"),
    clip("mp3-44k.mp4", V, TONE, "-c:a libmp3lame -ar 44100"),
    clip("opus.mkv", V, TONE, "-c:a libopus"),
    clip(
        "loud.mp4",
        V,
        "aevalsrc=random(0)|random(1):s=48000:d=2",
        "-b:a 500k -aac_pns 0 -aac_is 0 -aac_ms 0",
    ),
    clip("silent.mp4", V, "", ""),
    clip("radio.m4a", "", TONE, ""),
    clip("two-sounds.mp4", V, TONE, "-map 0 -map 1 -map 1"),
    clip("two-pictures.mp4", V, TONE, "-map 0 -map 0 -map 1"),
    clip("timecode.mov", V, TONE, "-timecode 01:00:00:00"),
    // Times.
    clip("late-sound.mp4", V, TONE, "-af asetpts=PTS+0.5/TB"),
    clip("very-late-sound.mkv", "320x240:r=30:d=4", TONE, "-af asetpts=PTS+1.5/TB"),
    clip("short-sound.mp4", V, SHORT, ""),
    clip("long-sound.mp4", "320x240:r=30:d=1", TONE, ""),
    clip(
        "sound-gap.mkv",
        "320x240:r=30:d=4",
        "sine=440:sample_rate=48000:d=4",
        "-af aselect='lt(t,1)+gt(t,2.5)'",
    ),
    clip(
        "encrypted.mp4",
        V,
        "",
        "-encryption_scheme cenc-aes-ctr -encryption_key 00112233445566778899aabbccddeeff -encryption_kid 00112233445566778899aabbccddeeff",
    ),
];

const fn row(
    file: &'static str,
    platform: &'static str,
    then: Then,
    has: &'static [(R, Severity)],
    lacks: &'static [R],
) -> Row {
    Row { file, platform, then, has, lacks }
}

pub(crate) const ROWS: &[Row] = &[
    // Before the file is known to its end.
    row("good.mp4", "any 10000-bytes", Copy, &[(R::ScanIncomplete, W)], &[R::Truncated, R::LengthGap]),
    // A good file, in every container.
    row("good.mp4", "youtube strict", Copy, &[], &[R::LengthGap, R::VideoProfile]),
    row("good.mp4", "twitch strict", Copy, &[], &[R::GopSizeLong]),
    row("good.mp4", "facebook strict", Copy, &[], &[R::VideoResolutionSuboptimal, R::BitrateLow]),
    row("good.flv", "youtube strict", Copy, &[], &[R::FrameRateVariable]),
    row("good.mkv", "youtube strict", Copy, &[], &[R::FrameRateVariable]),
    row("good.ts", "youtube strict", CopyWithFix, &[(R::PayloadForm, I)], &[R::Damaged]),
    row("start-codes.avi", "any", CopyWithFix, &[(R::PayloadForm, I)], &[R::StartsWithoutIdr]),
    row("raw.h264", "any", Copy, &[(R::BadContainer, W)], &[]),
    row("playlist.m3u8", "any", Encode, &[(R::BadContainer, E)], &[]),
    row("empty.mp4", "any", Encode, &[(R::ProbeFailed, E)], &[]),
    // Sizes.
    row("portrait.mp4", "youtube", CopyWithFix, &[], &[R::VideoResolutionUnsupported]),
    row("portrait.mp4", "seed", Copy, &[], &[R::VideoResolutionUnsupported]),
    row("1440p.mp4", "twitch", Encode, &[(R::VideoResolutionUnsupported, E)], &[]),
    row("1440p.mp4", "youtube", CopyWithFix, &[], &[R::VideoResolutionUnsupported]),
    row("2162p.mp4", "youtube", Encode, &[(R::VideoResolutionUnsupported, E)], &[]),
    row("200p.mp4", "youtube", CopyWithFix, &[(R::VideoResolutionSuboptimal, W)], &[]),
    row("200p.mp4", "facebook", CopyWithFix, &[(R::VideoResolutionSuboptimal, W)], &[]),
    row("odd.mp4", "any", Encode, &[(R::OddSize, E), (R::VideoPixelFormat, E)], &[]),
    row("nearly-square-pixels.mp4", "any strict", Copy, &[(R::SampleAspect, I)], &[]),
    row("wide-pixels.mp4", "any", Encode, &[(R::SampleAspect, E)], &[]),
    row("rotated.mp4", "any", EncodeVideoCopyAudio, &[(R::VideoRotation, E)], &[]),
    // Rates.
    row("29.97.mp4", "seed", Copy, &[], &[R::FrameRateHigh]),
    row("31.mp4", "seed", Encode, &[(R::FrameRateHigh, E)], &[]),
    row("31.mp4", "any", Copy, &[], &[R::FrameRateHigh]),
    row("59.94.mkv", "youtube", CopyWithFix, &[], &[R::FrameRateHigh, R::FrameRateVariable]),
    row("60.001.mp4", "youtube", CopyWithFix, &[], &[R::FrameRateHigh]),
    row("61.mp4", "youtube", Encode, &[(R::FrameRateHigh, E)], &[]),
    row("burst.mkv", "youtube", CopyWithFix, &[(R::FrameRateHigh, W), (R::FrameRateVariable, W)], &[]),
    row("variable.mp4", "any", Copy, &[(R::FrameRateVariable, W)], &[R::VideoIngestionStarved]),
    row("variable.mp4", "any strict", Encode, &[(R::FrameRateVariable, W)], &[]),
    row("hole.mp4", "any", Encode, &[(R::VideoIngestionStarved, E)], &[]),
    // GOPs.
    row("gop-4.0.mp4", "youtube", CopyWithFix, &[(R::GopSizeLong, W)], &[R::GopSizeOver]),
    row("gop-4.0.mp4", "any strict", Copy, &[], &[R::GopSizeLong]),
    row("gop-4.004.mp4", "youtube", CopyWithFix, &[(R::GopSizeLong, W)], &[R::GopSizeOver]),
    row("gop-4.04.mp4", "youtube", Encode, &[(R::GopSizeOver, E)], &[R::GopSizeLong]),
    row("gop-4.04.mp4", "any", Copy, &[(R::GopSizeLong, W)], &[R::GopSizeOver]),
    row("gop-4.04.mp4", "seed", Copy, &[], &[R::GopSizeLong, R::GopSizeOver]),
    row("gop-2.05.mp4", "twitch strict", CopyWithFix, &[], &[R::GopSizeLong]),
    row("gop-2.1.mp4", "twitch", CopyWithFix, &[(R::GopSizeLong, W)], &[]),
    row("gop-2.1.mp4", "twitch strict", Encode, &[(R::GopSizeLong, W)], &[]),
    row("intra.mp4", "youtube", CopyWithFix, &[(R::GopSizeShort, I)], &[R::KeyframeNotIdr]),
    row("open-gop.mp4", "youtube", Encode, &[(R::OpenGop, E)], &[R::KeyframeNotIdr]),
    row("open-gop.mp4", "any", Copy, &[(R::OpenGop, W)], &[]),
    row("open-gop.ts", "twitch", Encode, &[(R::OpenGop, E)], &[]),
    row("refresh.ts", "any", CopyWithFix, &[(R::KeyframeNotIdr, W)], &[R::OpenGop]),
    row("b-frames.mp4", "twitch no-b-frames", Encode, &[(R::BFrames, E)], &[]),
    row("b-frames.mp4", "twitch", CopyWithFix, &[], &[R::BFrames, R::OpenGop, R::EditList]),
    row("headless.ts", "any", CopyWithFix, &[(R::StartsWithoutIdr, W)], &[]),
    // Pictures.
    row("interlaced.mp4", "any", Encode, &[(R::InterlacedVideo, E)], &[]),
    row("fake-interlaced.mp4", "any", Copy, &[(R::InterlacedVideo, W)], &[]),
    row("10-bit.mp4", "any", Encode, &[(R::VideoPixelFormat, E), (R::VideoProfile, E)], &[]),
    row("422.mp4", "any", Encode, &[(R::VideoPixelFormat, E)], &[]),
    row("full-range.mp4", "any", Copy, &[(R::VideoFullRange, W)], &[R::VideoPixelFormat]),
    row("hdr.mp4", "any", Encode, &[(R::VideoColor, E)], &[]),
    row("level.mp4", "facebook", CopyAny, &[(R::VideoLevel, W), (R::VideoProfile, W)], &[]),
    row("level.mp4", "youtube", CopyAny, &[], &[R::VideoLevel]),
    row("baseline.mp4", "any", CopyAny, &[(R::VideoProfile, W)], &[]),
    row("extended.mp4", "any", EncodeVideoCopyAudio, &[(R::VideoProfile, E)], &[]),
    // Codecs.
    row("hevc.mp4", "youtube", Encode, &[(R::VideoCodec, E)], &[]),
    row("hevc.mp4", "youtube enhanced", CopyWithFix, &[], &[R::VideoCodec, R::VideoProfile]),
    row("hevc.mp4", "twitch enhanced", Encode, &[(R::VideoCodec, E)], &[]),
    row("vp9.webm", "any", Encode, &[(R::VideoCodec, E)], &[]),
    row("mpeg4.avi", "any", Encode, &[(R::VideoCodec, E)], &[]),
    row("uncompressed.mkv", "any", Encode, &[(R::PacketTooLarge, E), (R::VideoCodec, E)], &[]),
    row("no-sets.mp4", "any", EncodeVideoCopyAudio, &[(R::ParameterSetsMissing, E)], &[]),
    row("no-esds.mp4", "any", CopyVideoEncodeAudio, &[(R::AudioConfigMissing, E)], &[]),
    // Bit rates.
    row("noise.mp4", "facebook", EncodeVideoCopyAudio, &[(R::BitrateHigh, E)], &[]),
    row("noise.mp4", "twitch", CopyAny, &[], &[R::BitrateHigh]),
    row("peak.mp4", "facebook", CopyWithFix, &[(R::BitrateHigh, W)], &[R::BitrateLow]),
    row("few-bits.mp4", "facebook", CopyAny, &[(R::BitrateLow, W)], &[R::BitrateHigh]),
    row("few-bits.mp4", "youtube", CopyAny, &[], &[R::BitrateLow]),
    // Sound.
    row("5.1.mp4", "youtube", CopyAny, &[], &[R::AudioTooManyChannels]),
    row("5.1.mp4", "twitch", CopyVideoEncodeAudio, &[(R::AudioTooManyChannels, E)], &[]),
    row("7.1.mp4", "youtube", CopyVideoEncodeAudio, &[(R::AudioTooManyChannels, E)], &[]),
    row("mono.mp4", "twitch", CopyAny, &[], &[R::AudioTooManyChannels, R::AudioSampleRate]),
    row("32k.mp4", "youtube", CopyVideoEncodeAudio, &[(R::AudioSampleRate, E)], &[]),
    row("32k.mp4", "any", CopyAny, &[], &[R::AudioSampleRate]),
    row("mp3-48k.mp4", "any", CopyVideoEncodeAudio, &[(R::AudioSampleRate, E)], &[R::AudioCodec]),
    row("mp3-44k.mp4", "youtube", CopyAny, &[], &[R::AudioCodec, R::AudioSampleRate]),
    row("mp3-44k.mp4", "twitch", CopyVideoEncodeAudio, &[(R::AudioCodec, E)], &[]),
    row("opus.mkv", "any", CopyVideoEncodeAudio, &[(R::AudioCodec, E)], &[]),
    row("he-aac.mp4", "twitch", CopyVideoEncodeAudio, &[(R::AudioProfile, E)], &[]),
    row("he-aac.mp4", "youtube", CopyAny, &[(R::AudioProfile, W)], &[]),
    row("loud.mp4", "facebook", CopyVideoEncodeAudio, &[(R::AudioBitrateHigh, E)], &[]),
    row("quiet.mp4", "youtube", CopyAny, &[(R::AudioBitrateLow, I)], &[R::AudioBitrateHigh]),
    row("silent.mp4", "youtube", CopyWithFix, &[(R::NoAudioStream, I)], &[]),
    row("silent.mp4", "any", Copy, &[], &[R::NoAudioStream]),
    row("radio.m4a", "youtube", Encode, &[(R::NoVideoStream, E)], &[R::NoAudioStream]),
    row("radio.m4a", "any", Copy, &[], &[R::NoVideoStream]),
    row("two-sounds.mp4", "any", CopyWithFix, &[(R::MultipleAudioStreams, I)], &[R::ExtraTracks]),
    row("two-pictures.mp4", "any", CopyWithFix, &[(R::MultipleVideoStreams, I)], &[R::ExtraTracks]),
    row("timecode.mov", "any", CopyWithFix, &[(R::ExtraTracks, I)], &[R::MultipleVideoStreams]),
    // Times.
    row("late-sound.mp4", "any", CopyWithFix, &[(R::StartSkew, I), (R::LengthGap, I)], &[R::EditList]),
    row("very-late-sound.mkv", "any strict", CopyVideoEncodeAudio, &[(R::StartSkew, W)], &[]),
    row("short-sound.mp4", "any", CopyWithFix, &[(R::LengthGap, I)], &[R::Truncated]),
    row("long-sound.mp4", "any", CopyWithFix, &[(R::LengthGap, I)], &[R::Truncated]),
    row("sound-gap.mkv", "any", CopyVideoEncodeAudio, &[(R::AudioGap, E)], &[]),
    row("trimmed.mp4", "any", Encode, &[(R::EditList, E)], &[]),
    row("unordered.flv", "any", CopyWithFix, &[(R::UnorderedTimestamps, W)], &[R::ClockJump]),
    row("twice.ts", "any", Encode, &[(R::ClockJump, E)], &[]),
    row("two-sizes.ts", "any", EncodeVideoCopyAudio, &[(R::ParametersChange, E)], &[]),
    row("two-profiles.ts", "youtube", CopyWithFix, &[(R::ParametersChange, W)], &[]),
    row("two-profiles.ts", "facebook", EncodeVideoCopyAudio, &[(R::ParametersChange, E)], &[]),
    // Damage.
    row("cut.mp4", "any", Encode, &[(R::Truncated, E)], &[]),
    row("damaged.mp4", "any", EncodeVideoCopyAudio, &[(R::Damaged, E)], &[]),
    row("encrypted.mp4", "any", Encode, &[(R::Encrypted, E)], &[]),
];
