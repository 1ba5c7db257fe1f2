//! Why a verdict is what it is: stable codes, for programs.

use crate::words::words;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why, as a stable name.
        ///
        /// The first ones are those of YouTube's `liveStreams.status.healthStatus.configurationIssues[].type`, verbatim. Left out
        /// are the ones that compare a primary with a backup ingest (`...Mismatch`) and `videoIngestionFasterThanRealtime`: they
        /// are about how a stream is sent, and no file can be the reason for them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        crate::words::words!(ReasonCode, "reason", $($variant = $name,)+);
    };
}

codes! {
    /// The longest GOP is longer than the platform allows.
    GopSizeOver = "gopSizeOver",
    /// The longest GOP is longer than the platform recommends.
    GopSizeLong = "gopSizeLong",
    /// Keyframes come more often than is good for the picture.
    GopSizeShort = "gopSizeShort",
    /// Pictures behind a keyframe need what was before it.
    OpenGop = "openGop",
    /// The file's format is not opened, or has no times of its own.
    BadContainer = "badContainer",
    /// The sound takes more bits than the platform allows.
    AudioBitrateHigh = "audioBitrateHigh",
    /// The sound takes fewer bits than the platform recommends.
    AudioBitrateLow = "audioBitrateLow",
    /// The sampling rate cannot be sent, or not to this platform.
    AudioSampleRate = "audioSampleRate",
    /// The picture takes more bits than the platform allows or recommends.
    BitrateHigh = "bitrateHigh",
    /// The picture takes fewer bits than the platform recommends.
    BitrateLow = "bitrateLow",
    /// The audio codec cannot be sent, or not to this platform.
    AudioCodec = "audioCodec",
    /// The video codec cannot be sent, or not to this platform.
    VideoCodec = "videoCodec",
    /// There is no sound, and the platform wants some.
    NoAudioStream = "noAudioStream",
    /// There is no picture, and the platform wants one.
    NoVideoStream = "noVideoStream",
    /// There is more than one video track; one is sent.
    MultipleVideoStreams = "multipleVideoStreams",
    /// There is more than one audio track; one is sent.
    MultipleAudioStreams = "multipleAudioStreams",
    /// There are more channels than the platform takes.
    AudioTooManyChannels = "audioTooManyChannels",
    /// The picture is interlaced.
    InterlacedVideo = "interlacedVideo",
    /// There are more pictures per second than the platform takes.
    FrameRateHigh = "frameRateHigh",
    /// The size of the picture is not one the platform recommends.
    VideoResolutionSuboptimal = "videoResolutionSuboptimal",
    /// The picture is larger than the platform takes.
    VideoResolutionUnsupported = "videoResolutionUnsupported",
    /// The picture stands still for more than a second between two packets.
    VideoIngestionStarved = "videoIngestionStarved",
    /// The file could not be opened or read.
    ProbeFailed = "probeFailed",
    /// The scan ended at a limit; what lies behind it is not known.
    ScanIncomplete = "scanIncomplete",
    /// The samples are encrypted.
    Encrypted = "encrypted",
    /// The file ends before it should.
    Truncated = "truncated",
    /// Packets are damaged.
    Damaged = "damaged",
    /// Tracks that cannot be sent (subtitles, data, cover art) are left out.
    ExtraTracks = "extraTracks",
    /// The payload is brought into the form FLV wants.
    PayloadForm = "payloadForm",
    /// The video codec's configuration is missing.
    ParameterSetsMissing = "parameterSetsMissing",
    /// The audio codec's configuration is missing.
    AudioConfigMissing = "audioConfigMissing",
    /// The profile is none that every receiver decodes, or none the platform takes.
    VideoProfile = "videoProfile",
    /// The level is higher than the platform takes at this size and rate.
    VideoLevel = "videoLevel",
    /// The picture is not 8 bit 4:2:0.
    VideoPixelFormat = "videoPixelFormat",
    /// Samples use all values; receivers expect those of television.
    VideoFullRange = "videoFullRange",
    /// The picture is of high dynamic range or a wide gamut; receivers expect BT.709.
    VideoColor = "videoColor",
    /// The track does not begin with an IDR picture.
    StartsWithoutIdr = "startsWithoutIdr",
    /// Decoding cannot start properly at every keyframe.
    KeyframeNotIdr = "keyframeNotIdr",
    /// Times of packets are not in order.
    UnorderedTimestamps = "unorderedTimestamps",
    /// The time goes back in the middle of the file.
    ClockJump = "clockJump",
    /// The sound is missing for more than a second between two packets.
    AudioGap = "audioGap",
    /// A packet is larger than FLV can say.
    PacketTooLarge = "packetTooLarge",
    /// The picture is to be turned or mirrored, which FLV cannot say.
    VideoRotation = "videoRotation",
    /// Pixels are not square.
    SampleAspect = "sampleAspect",
    /// Width or height is odd.
    OddSize = "oddSize",
    /// An edit list hides a part, or puts the track together from several.
    EditList = "editList",
    /// The codec's parameters change in the middle.
    ParametersChange = "parametersChange",
    /// Pictures are not shown for equally long.
    FrameRateVariable = "frameRateVariable",
    /// There are more B-frames in a row than the platform takes.
    BFrames = "bFrames",
    /// The audio profile is not AAC-LC.
    AudioProfile = "audioProfile",
    /// Sound and picture do not begin together.
    StartSkew = "startSkew",
    /// Sound and picture do not end together.
    LengthGap = "lengthGap",
}

/// How much a reason weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; changes nothing, or is mended on the way.
    Info,
    /// Works, but not as well as the platform wishes. [`Strictness::Strict`](super::Strictness::Strict) encodes for it.
    Warning,
    /// Cannot be sent as it is.
    Error,
}

words!(Severity, "severity", Info = "info", Warning = "warning", Error = "error");

/// What a reason is about: what is encoded because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The file: all of its tracks.
    File,
    /// The video track.
    Video,
    /// The audio track.
    Audio,
}

words!(Subject, "subject of a reason", File = "file", Video = "video", Audio = "audio");

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// Why, for programs.
    pub code: ReasonCode,
    /// How much it weighs.
    pub severity: Severity,
    /// What it is about.
    pub track: Subject,
    /// The platform whose limit it is; empty for what no receiver of RTMP takes.
    pub platform: String,
    /// Why, for people, with the figures.
    pub detail: String,
}
