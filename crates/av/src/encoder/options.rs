//! One vocabulary for all encoders: what the settings ask for, in the options of each family.

use super::level::level;
use super::{RateControl, VideoCodecKind, VideoSettings};
use crate::ThreadMode;

/// Encoders with the same options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    X264,
    X265,
    SvtAv1,
    Vpx,
    Nvenc,
    Qsv,
    VideoToolbox,
    Vaapi,
    Other,
}

impl Family {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "libx264" => Self::X264,
            "libx265" => Self::X265,
            "libsvtav1" => Self::SvtAv1,
            "libvpx" | "libvpx-vp9" => Self::Vpx,
            _ => match name.rsplit('_').next() {
                Some("nvenc") => Self::Nvenc,
                Some("qsv") => Self::Qsv,
                Some("videotoolbox") => Self::VideoToolbox,
                Some("vaapi") => Self::Vaapi,
                _ => Self::Other,
            },
        }
    }

    /// Encoding is done by a device, of which there are few.
    pub(crate) const fn is_hardware(self) -> bool {
        matches!(self, Self::Nvenc | Self::Qsv | Self::VideoToolbox | Self::Vaapi)
    }
}

/// The encoder's own options. Those it does not know are ignored by libav; values it does not know are not, so each family
/// only gets options it understands.
pub(super) fn options(settings: &VideoSettings, family: Family) -> Vec<(&'static str, String)> {
    let mut options = Options(Vec::new());
    match family {
        Family::X264 => x264(settings, &mut options),
        Family::X265 => x265(settings, &mut options),
        Family::SvtAv1 => svt_av1(settings, &mut options),
        Family::Vpx => vpx(settings, &mut options),
        Family::Nvenc => nvenc(settings, &mut options),
        Family::Qsv => qsv(settings, &mut options),
        Family::VideoToolbox => video_toolbox(settings, &mut options),
        Family::Vaapi => vaapi(settings, &mut options),
        Family::Other => {}
    }
    options.0
}

/// Whether x264 and x265 know the names in the settings; about others they write to stderr. Other encoders say so by an error.
pub(super) fn are_known(settings: &VideoSettings, family: Family) -> bool {
    const TUNES: [&str; 8] =
        ["film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode", "zerolatency"];
    const PROFILES: [&str; 6] = ["baseline", "main", "high", "high10", "high422", "high444"];
    if !matches!(family, Family::X264 | Family::X265) {
        return true;
    }
    let profile = settings.profile.as_deref().filter(|_| family == Family::X264);
    speed(preset(settings)).is_some()
        && settings.tune.as_deref().is_none_or(|tune| TUNES.contains(&tune))
        && profile.is_none_or(|profile| PROFILES.contains(&profile))
}

struct Options(Vec<(&'static str, String)>);

impl Options {
    fn set(&mut self, key: &'static str, value: impl ToString) {
        self.0.push((key, value.to_string()));
    }

    fn set_if(&mut self, key: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}

/// The place of one of x264's presets, from 0 for the fastest; `None` for a name of another encoder.
fn speed(preset: &str) -> Option<usize> {
    const PRESETS: [&str; 10] = [
        "ultrafast",
        "superfast",
        "veryfast",
        "faster",
        "fast",
        "medium",
        "slow",
        "slower",
        "veryslow",
        "placebo",
    ];
    PRESETS.iter().position(|name| *name == preset)
}

/// The preset, by x264's name also where it was said by NVENC's: software goes on where a device fails.
fn preset(settings: &VideoSettings) -> &str {
    match settings.preset.as_str() {
        "p1" => "veryfast",
        "p2" => "faster",
        "p3" => "fast",
        "p4" => "medium",
        "p5" => "slow",
        "p6" => "slower",
        "p7" => "veryslow",
        other => other,
    }
}

/// The name of a preset in another encoder, from the fastest to the slowest of x264's.
fn translated(preset: &str, names: [&str; 10]) -> String {
    speed(preset).and_then(|speed| names.get(speed)).map_or_else(|| preset.to_owned(), ToString::to_string)
}

/// The profile by a device's name for it; `None` where it has none for what x264 knows, and takes the lowest that does.
fn profile(settings: &VideoSettings, family: Family) -> Option<&str> {
    let wanted = settings.profile.as_deref()?;
    match (family, settings.codec, wanted) {
        (Family::Nvenc, VideoCodecKind::H264, "high444") => Some("high444p"),
        (Family::Vaapi, VideoCodecKind::H264, "baseline") => Some("constrained_baseline"),
        (_, VideoCodecKind::H264, "high10" | "high422" | "high444") => None,
        (_, VideoCodecKind::Hevc, "baseline" | "high" | "high10" | "high422" | "high444") => None,
        (_, VideoCodecKind::H264 | VideoCodecKind::Hevc, own) => Some(own),
        // Some have no such option, and libav would take it for one of the codec's.
        _ => None,
    }
}

/// "3.1" for 31.
fn dotted(level: u32) -> String {
    format!("{}.{}", level / 10, level % 10)
}

fn is_low_latency(settings: &VideoSettings) -> bool {
    settings.tune.as_deref() == Some("zerolatency")
}

/// Parameters in x264's form, those of the caller last.
fn parameters(own: String, settings: &VideoSettings) -> String {
    match settings.x264_params.as_deref().filter(|params| !params.is_empty()) {
        Some(params) => format!("{own}:{params}"),
        None => own,
    }
}

fn x264(settings: &VideoSettings, options: &mut Options) {
    options.set("preset", preset(settings));
    options.set_if("tune", settings.tune.as_ref());
    options.set_if("profile", settings.profile.as_ref());
    options.set("level", dotted(level(settings)));
    options.set_if("crf", settings.rate_control.crf());
    options.set("forced-idr", 1);
    let gop = settings.gop_frames;
    let mut own = format!("scenecut=0:open-gop=0:keyint={gop}:min-keyint={gop}");
    if let RateControl::Cbr { filler: true, .. } = settings.rate_control {
        if settings.rate_changes {
            own.push_str(":filler=1");
        } else {
            options.set("nal-hrd", "cbr");
        }
    }
    options.set("x264-params", parameters(own, settings));
}

fn x265(settings: &VideoSettings, options: &mut Options) {
    options.set("preset", preset(settings));
    options.set_if("tune", settings.tune.as_ref().filter(|tune| *tune != "film" && *tune != "stillimage"));
    options.set_if("profile", settings.profile.as_ref());
    options.set_if("crf", settings.rate_control.crf());
    options.set("forced-idr", 1);
    let gop = settings.gop_frames;
    // x265 writes to stderr by itself unless told not to.
    let mut own = format!("log-level=none:scenecut=0:open-gop=0:keyint={gop}:min-keyint={gop}");
    match settings.threads {
        0 => {}
        1 => own.push_str(":pools=none:frame-threads=1"),
        threads => own.push_str(&format!(":pools={threads}")),
    }
    if settings.thread_mode == ThreadMode::Slice && settings.threads > 1 {
        own.push_str(&format!(":frame-threads=1:slices={}", settings.threads));
    }
    options.set("x265-params", parameters(own, settings));
}

fn svt_av1(settings: &VideoSettings, options: &mut Options) {
    options
        .set("preset", translated(preset(settings), ["12", "11", "10", "9", "8", "7", "5", "4", "2", "1"]));
    options.set_if("crf", settings.rate_control.crf().map(f32::round));
    let mut own = vec!["scd=0".to_owned()];
    if settings.threads > 0 {
        own.push(format!("lp={}", settings.threads));
    }
    // SVT-AV1 keeps a constant rate only without pictures that refer to later ones.
    if let RateControl::Cbr { bit_rate, vbv_bits, .. } = settings.rate_control {
        let buffer_millis = (vbv_bits.saturating_mul(1000) / bit_rate.max(1)).clamp(20, 10_000);
        own.push(format!("rc=2:pred-struct=1:buf-sz={buffer_millis}"));
    } else if is_low_latency(settings) {
        own.push("pred-struct=1".to_owned());
    }
    options.set("svtav1-params", own.join(":"));
}

fn vpx(settings: &VideoSettings, options: &mut Options) {
    options.set("deadline", "realtime");
    options.set("cpu-used", 4);
    options.set("error-resilient", "default");
    options.set("lag-in-frames", 0);
    options.set("auto-alt-ref", 0);
    options.set_if("crf", settings.rate_control.crf().map(f32::round));
    if settings.codec == VideoCodecKind::Vp9 {
        options.set("tile-columns", 0);
        options.set("row-mt", u8::from(settings.threads != 1));
    }
}

fn nvenc(settings: &VideoSettings, options: &mut Options) {
    let names = ["p1", "p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7"];
    options.set("preset", translated(&settings.preset, names));
    options.set("gpu", 0);
    options.set("forced-idr", 1);
    options.set("no-scenecut", 1);
    options.set("strict_gop", 1);
    options.set_if("profile", profile(settings, Family::Nvenc));
    // Else the device finds it: it refuses one that is lower than what its preset takes.
    if settings.codec == VideoCodecKind::H264 {
        options.set_if("level", settings.level.map(dotted));
    }
    if is_low_latency(settings) {
        options.set("tune", "ll");
        options.set("zerolatency", 1);
        options.set("delay", 0);
    }
    match settings.rate_control {
        RateControl::Cbr { filler, .. } => {
            options.set("rc", "cbr");
            options.set("cbr_padding", u8::from(filler));
        }
        RateControl::CappedCrf { crf, .. } | RateControl::Crf(crf) => {
            options.set("rc", "vbr");
            options.set("cq", crf);
        }
        RateControl::Abr(_) => options.set("rc", "vbr"),
    }
}

fn qsv(settings: &VideoSettings, options: &mut Options) {
    let names = [
        "veryfast", "veryfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
        "veryslow",
    ];
    options.set("preset", translated(preset(settings), names));
    options.set("forced_idr", 1);
    if settings.codec == VideoCodecKind::H264 {
        options.set("look_ahead", 0);
    }
    options.set_if("profile", profile(settings, Family::Qsv));
    if is_low_latency(settings) {
        options.set("async_depth", 1);
    }
}

fn video_toolbox(settings: &VideoSettings, options: &mut Options) {
    options.set("realtime", 1);
    options.set("allow_sw", 0);
    options.set_if("profile", profile(settings, Family::VideoToolbox));
    if matches!(settings.rate_control, RateControl::Cbr { filler: true, .. }) {
        options.set("constant_bit_rate", 1);
    }
}

fn vaapi(settings: &VideoSettings, options: &mut Options) {
    options.set_if("profile", profile(settings, Family::Vaapi));
    // Else libav takes the best mode for what is set that the driver has.
    match settings.rate_control {
        RateControl::Cbr { .. } => options.set("rc_mode", "CBR"),
        RateControl::CappedCrf { .. } => options.set("rc_mode", "VBR"),
        RateControl::Crf(_) | RateControl::Abr(_) => {}
    }
    if is_low_latency(settings) {
        options.set("async_depth", 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ratio, sys};

    const ENCODERS: [(VideoCodecKind, &[&str]); 5] = [
        (VideoCodecKind::H264, &["h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_vaapi", "libx264"]),
        (VideoCodecKind::Hevc, &["hevc_nvenc", "hevc_qsv", "hevc_videotoolbox", "hevc_vaapi", "libx265"]),
        (VideoCodecKind::Av1, &["av1_nvenc", "av1_qsv", "av1_vaapi", "libsvtav1"]),
        (VideoCodecKind::Vp8, &["vp8_vaapi", "libvpx"]),
        (VideoCodecKind::Vp9, &["vp9_qsv", "vp9_vaapi", "libvpx-vp9"]),
    ];

    /// What of it an older or newer libav does not have, or did not have yet when it was built.
    const NEWER: [&str; 2] = ["cbr_padding", "constant_bit_rate"];

    fn settings(codec: VideoCodecKind) -> Vec<VideoSettings> {
        let base = VideoSettings { codec, ..VideoSettings::new(1280, 720, Ratio { num: 30, den: 1 }) };
        let rates = [
            RateControl::Cbr { bit_rate: 2_500_000, vbv_bits: 5_000_000, filler: true },
            RateControl::CappedCrf { crf: 20.5, max_bit_rate: 2_500_000, vbv_bits: 5_000_000 },
            RateControl::Crf(20.5),
            RateControl::Abr(1_000_000),
        ];
        let mut all = Vec::new();
        for rate_control in rates {
            for profile in [None, Some("baseline"), Some("main"), Some("high"), Some("high444")] {
                for preset in ["ultrafast", "veryfast", "medium", "placebo", "p4"] {
                    let profile = profile.map(str::to_owned);
                    let tune = (preset == "ultrafast").then(|| "zerolatency".to_owned());
                    let preset = preset.to_owned();
                    let level = (preset == "medium").then_some(41);
                    all.push(VideoSettings { rate_control, profile, preset, tune, level, ..base.clone() });
                }
            }
        }
        all
    }

    /// Devices are rarely there to be tried; that their encoders take the options can be asked of libav anywhere.
    #[test]
    fn every_encoder_knows_its_options_and_their_values() {
        let mut asked = 0;
        for (codec, names) in ENCODERS {
            for name in names.iter().filter(|name| sys::has_encoder(name)) {
                let family = Family::of(name);
                // What software does not know is refused by `are_known` or when it opens.
                let takes = |settings: &&VideoSettings| family.is_hardware() || settings.profile.is_none();
                for settings in settings(codec).iter().filter(takes) {
                    for (key, value) in options(settings, family) {
                        let fits = sys::option_fits(name, key, &value);
                        let is_newer = NEWER.contains(&key) && fits.is_none();
                        assert!(fits == Some(true) || is_newer, "{name}: {key}={value}: {fits:?}");
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 1000, "{asked}: nothing is compiled in");
    }

    #[test]
    fn a_preset_of_a_device_is_one_of_software_too() {
        let settings = VideoSettings {
            preset: "p5".to_owned(),
            ..VideoSettings::new(1280, 720, Ratio { num: 30, den: 1 })
        };
        assert!(are_known(&settings, Family::X264));
        let preset = |family| options(&settings, family).into_iter().find(|(key, _)| *key == "preset");
        assert_eq!(preset(Family::X264), Some(("preset", "slow".to_owned())));
        assert_eq!(preset(Family::Nvenc), Some(("preset", "p5".to_owned())));
        assert_eq!(preset(Family::SvtAv1), Some(("preset", "5".to_owned())));
    }
}
