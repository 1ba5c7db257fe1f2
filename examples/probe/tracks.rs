//! The tracks of a file, as its header says.

use std::collections::BTreeSet;
use std::path::Path;

use flowcast::av::{MediaInfo, TrackInfo};

use crate::support::Result;
use crate::support::print::out;

/// Prints them, and which programmes of a transport stream they belong to.
pub(crate) fn tell(file: &Path, media: &MediaInfo) -> Result<()> {
    let duration =
        media.duration.map_or_else(|| "unknown length".to_owned(), |d| format!("{:.3} s", d.as_secs_f64()));
    let rate = media.bit_rate.map_or_else(String::new, |rate| format!(", {} kbit/s", rate / 1000));
    out!("{}: {}, {duration}{rate}", file.display(), media.format)?;
    for track in &media.tracks {
        out!("  {}", describe(track))?;
    }
    let programs: BTreeSet<i32> = media.tracks.iter().flat_map(|track| &track.programs).copied().collect();
    for program in programs {
        let members = media.tracks.iter().filter(|track| track.programs.contains(&program));
        let members: Vec<_> = members.map(|track| format!("#{}", track.index)).collect();
        out!("  programme {program}: {}", members.join(", "))?;
    }
    Ok(())
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
