//! How the library's types look as JSON.

use flowcast::BitRate;
use flowcast::capacity::{Capacity, CostBasis, Machine, Resource, StreamKind};
use serde::Serialize;

use super::print::round;

/// A [`Machine`].
#[derive(Serialize)]
pub struct MachineView {
    cores: f64,
    cores_used: f64,
    cores_used_by_others: f64,
    memory_left: Option<u64>,
    descriptors_left: Option<u64>,
    threads_left: Option<u64>,
}

impl From<&Machine> for MachineView {
    fn from(machine: &Machine) -> Self {
        Self {
            cores: machine.cores,
            cores_used: round(machine.cores_used, 3),
            cores_used_by_others: round(machine.cores_used_by_others, 3),
            memory_left: machine.memory_left,
            descriptors_left: machine.descriptors_left,
            threads_left: machine.threads_left,
        }
    }
}

/// What a machine carries of one kind of stream.
#[derive(Serialize)]
pub struct KindView {
    kind: String,
    more: u64,
    limiting: String,
    mode: String,
    cpu_ms_per_stream_second: f64,
    receiver_cpu_ms_per_stream_second: Option<f64>,
    disturbance: f64,
    bit_rate: BitRate,
    memory: u64,
    descriptors: u32,
    threads: u32,
    measured_by: &'static str,
    measured_streams: usize,
    resources: Vec<ResourceView>,
}

#[derive(Serialize)]
struct ResourceView {
    resource: String,
    left: f64,
    per_stream: f64,
    fits: u64,
}

impl KindView {
    /// The answer to a question about one kind.
    pub fn new(kind: &StreamKind, capacity: &Capacity) -> Self {
        let cost = &capacity.kinds[0].cost;
        let (measured_by, measured_streams) = match cost.basis {
            CostBasis::Running { streams } => ("running", streams),
            CostBasis::Benchmark { streams } => ("benchmark", streams),
            _ => ("?", 0),
        };
        let resources = capacity.resources.iter().filter(|fit| fit.resource != Resource::ConfiguredLimit);
        Self {
            kind: kind.to_string(),
            more: capacity.more,
            limiting: capacity.limiting.to_string(),
            mode: cost.mode.to_string(),
            cpu_ms_per_stream_second: round(cost.cpu * 1000.0, 4),
            receiver_cpu_ms_per_stream_second: cost.receiver_cpu.map(|cpu| round(cpu * 1000.0, 4)),
            disturbance: round(cost.disturbance, 3),
            bit_rate: cost.bit_rate,
            memory: cost.memory,
            descriptors: cost.descriptors,
            threads: cost.threads,
            measured_by,
            measured_streams,
            resources: resources
                .map(|fit| ResourceView {
                    resource: fit.resource.to_string(),
                    left: fit.left,
                    per_stream: fit.per_stream,
                    fits: fit.fits,
                })
                .collect(),
        }
    }
}

#[cfg(feature = "libav")]
pub use media::{EncoderView, MediaView};

#[cfg(feature = "libav")]
mod media {
    use flowcast::av::{AudioInfo, EncoderReport, MediaInfo, TrackInfo, VideoInfo};
    use serde::Serialize;

    use super::round;

    fn seconds(length: std::time::Duration) -> f64 {
        round(length.as_secs_f64(), 6)
    }

    /// [`MediaInfo`].
    #[derive(Serialize)]
    pub struct MediaView {
        format: String,
        duration_seconds: Option<f64>,
        bit_rate: Option<u64>,
        tracks: Vec<TrackView>,
    }

    impl From<&MediaInfo> for MediaView {
        fn from(media: &MediaInfo) -> Self {
            Self {
                format: media.format.clone(),
                duration_seconds: media.duration.map(seconds),
                bit_rate: media.bit_rate,
                tracks: media.tracks.iter().map(TrackView::from).collect(),
            }
        }
    }

    #[derive(Serialize)]
    struct TrackView {
        index: usize,
        kind: String,
        codec: String,
        time_base: String,
        start_seconds: Option<f64>,
        duration_seconds: Option<f64>,
        bit_rate: Option<u64>,
        frames: Option<u64>,
        level: Option<u32>,
        has_config: bool,
        default: bool,
        cover_art: bool,
        programs: Vec<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        #[serde(flatten)]
        video: Option<VideoView>,
        #[serde(flatten)]
        audio: Option<AudioView>,
    }

    impl From<&TrackInfo> for TrackView {
        fn from(track: &TrackInfo) -> Self {
            let seconds = |ticks| round(track.time_base.seconds(ticks), 6);
            Self {
                index: track.index,
                kind: format!("{:?}", track.kind).to_lowercase(),
                codec: track.codec.name().to_owned(),
                time_base: format!("{}/{}", track.time_base.num, track.time_base.den),
                start_seconds: track.start.map(seconds),
                duration_seconds: track.duration.map(seconds),
                bit_rate: track.bit_rate,
                frames: track.frames,
                level: track.level,
                has_config: track.config.is_some(),
                default: track.default,
                cover_art: track.attached_picture,
                programs: track.programs.clone(),
                profile: track.profile.clone(),
                language: track.language.clone(),
                video: track.video.as_ref().map(VideoView::from),
                audio: track.audio.as_ref().map(AudioView::from),
            }
        }
    }

    #[derive(Serialize)]
    struct VideoView {
        width: u32,
        height: u32,
        frame_rate: Option<f64>,
        pixel_format: String,
        reorder_frames: u32,
        rotation_degrees: u16,
    }

    impl From<&VideoInfo> for VideoView {
        fn from(video: &VideoInfo) -> Self {
            Self {
                width: video.width,
                height: video.height,
                frame_rate: video.frame_rate.map(|rate| round(rate.as_f64(), 6)),
                pixel_format: video.pixel_format.clone(),
                reorder_frames: video.b_frames,
                rotation_degrees: video.rotation_degrees,
            }
        }
    }

    #[derive(Serialize)]
    struct AudioView {
        sample_rate: u32,
        channels: u32,
        layout: String,
        frame_samples: u32,
        priming_samples: u32,
    }

    impl From<&AudioInfo> for AudioView {
        fn from(audio: &AudioInfo) -> Self {
            Self {
                sample_rate: audio.sample_rate,
                channels: audio.channels,
                layout: audio.layout.clone(),
                frame_samples: audio.frame_samples,
                priming_samples: audio.priming_samples,
            }
        }
    }

    /// [`EncoderReport`].
    #[derive(Serialize)]
    pub struct EncoderView {
        name: String,
        hardware: bool,
        compiled_in: bool,
        works: bool,
        full: bool,
        sessions: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        why_not: Option<String>,
    }

    impl From<&EncoderReport> for EncoderView {
        fn from(encoder: &EncoderReport) -> Self {
            Self {
                name: encoder.name.clone(),
                hardware: encoder.is_hardware,
                compiled_in: encoder.compiled_in,
                works: encoder.opens.is_ok(),
                full: encoder.is_full,
                sessions: encoder.sessions,
                why_not: encoder.opens.as_ref().err().cloned(),
            }
        }
    }
}
