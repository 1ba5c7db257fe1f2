//! The tracks of a file, as the header tells.

use flowcast::av::{MediaInfo, TrackInfo};

use crate::support::json::Object;

/// Prints them.
pub(crate) fn tell(file: &str, media: &MediaInfo) {
    let duration =
        media.duration.map_or_else(|| "unknown length".to_owned(), |d| format!("{:.3} s", d.as_secs_f64()));
    let rate = media.bit_rate.map_or_else(String::new, |rate| format!(", {} kbit/s", rate / 1000));
    println!("{file}: {}, {duration}{rate}", media.format);
    for track in &media.tracks {
        println!("  {}", describe(track));
    }
}

fn describe(track: &TrackInfo) -> String {
    let mut text = format!("#{} {:?} {}", track.index, track.kind, track.codec.name());
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if let Some(profile) = &track.profile {
        add(profile.clone());
    }
    if let Some(video) = &track.video {
        add(format!("{}x{}", video.width, video.height));
        if let Some(rate) = video.frame_rate {
            add(format!("{:.3} fps", rate.as_f64()));
        }
        add(video.pixel_format.clone());
        if video.b_frames > 0 {
            add(format!("reorders {} frame{}", video.b_frames, if video.b_frames == 1 { "" } else { "s" }));
        }
        if video.rotation_degrees != 0 {
            add(format!("rotated by {}°", video.rotation_degrees));
        }
    }
    if let Some(audio) = &track.audio {
        add(format!("{} Hz", audio.sample_rate));
        add(audio.layout.clone());
        if audio.priming_samples > 0 {
            add(format!("{} samples of priming", audio.priming_samples));
        }
    }
    if let Some(rate) = track.bit_rate {
        add(format!("{} kbit/s", rate / 1000));
    }
    if let Some(duration) = track.duration {
        add(format!("{:.3} s", track.time_base.seconds(duration)));
    }
    if let Some(language) = &track.language {
        add(format!("language {language}"));
    }
    if track.attached_picture {
        add("cover art".to_owned());
    }
    text
}

/// The same as JSON.
pub(crate) fn object(file: &str, media: &MediaInfo) -> Object {
    Object::default()
        .text("file", file)
        .text("format", &media.format)
        .optional("duration_seconds", media.duration.map(|duration| format!("{:.6}", duration.as_secs_f64())))
        .optional("bit_rate", media.bit_rate)
        .list("tracks", media.tracks.iter().map(track_object))
}

fn track_object(track: &TrackInfo) -> Object {
    let mut object = Object::default()
        .value("index", track.index)
        .text("kind", &format!("{:?}", track.kind).to_lowercase())
        .text("codec", track.codec.name())
        .text("time_base", &format!("{}/{}", track.time_base.num, track.time_base.den))
        .optional("start_seconds", track.start.map(|start| format!("{:.6}", track.time_base.seconds(start))))
        .optional(
            "duration_seconds",
            track.duration.map(|ticks| format!("{:.6}", track.time_base.seconds(ticks))),
        )
        .optional("bit_rate", track.bit_rate)
        .optional("frames", track.frames)
        .optional("level", track.level)
        .value("has_config", track.config.is_some())
        .value("default", track.default)
        .value("cover_art", track.attached_picture);
    if let Some(profile) = &track.profile {
        object = object.text("profile", profile);
    }
    if let Some(language) = &track.language {
        object = object.text("language", language);
    }
    if let Some(video) = &track.video {
        object = object
            .value("width", video.width)
            .value("height", video.height)
            .optional("frame_rate", video.frame_rate.map(|rate| format!("{:.6}", rate.as_f64())))
            .text("pixel_format", &video.pixel_format)
            .value("reorder_frames", video.b_frames)
            .value("rotation_degrees", video.rotation_degrees);
    }
    if let Some(audio) = &track.audio {
        object = object
            .value("sample_rate", audio.sample_rate)
            .value("channels", audio.channels)
            .text("layout", &audio.layout)
            .value("frame_samples", audio.frame_samples)
            .value("priming_samples", audio.priming_samples);
    }
    object
}
