//! The file as a whole: is it all there, and which of its tracks are sent.

use super::{Error, Info, Judge, Warning};
use crate::verdict::facts::{Facts, Form, Reach};
use crate::verdict::reason::{ReasonCode, Subject};
use crate::verdict::sentence::{ADTS_FILTER, Fix};

pub(super) fn judge(judge: &mut Judge<'_>, facts: &Facts) {
    whole(judge, facts);
    tracks(judge, facts);
    forms(judge, facts);
}

fn whole(judge: &mut Judge<'_>, facts: &Facts) {
    match facts.reach {
        Reach::Whole => {}
        Reach::Bytes => {
            judge.any(
                ReasonCode::ScanIncomplete,
                Warning,
                Subject::File,
                "the scan ended at its limit of bytes",
            );
        }
        Reach::Deadline => {
            judge.any(ReasonCode::ScanIncomplete, Warning, Subject::File, "the scan ended at its deadline");
        }
    }
    if facts.encrypted {
        let detail = "the samples are encrypted: they can be neither sent nor decoded";
        judge.any(ReasonCode::Encrypted, Error, Subject::File, detail);
    }
    if let Some(how) = &facts.truncated {
        judge.any(ReasonCode::Truncated, Error, Subject::File, how.clone());
    }
    if facts.unreadable_places > 0 {
        let detail = format!("{} places could not be read", facts.unreadable_places);
        judge.any(ReasonCode::Damaged, Error, Subject::File, detail);
    }
}

fn tracks(judge: &mut Judge<'_>, facts: &Facts) {
    let platform = judge.platform;
    if facts.video.is_none() && platform.needs_video {
        judge.own(ReasonCode::NoVideoStream, Error, Subject::Video, "there is no video track");
    }
    if facts.audio.is_none() && platform.needs_audio {
        judge.own(
            ReasonCode::NoAudioStream,
            Info,
            Subject::Audio,
            "there is no audio track; silence is sent",
        );
        judge.fixes.push(Fix::Silence);
    }
    if facts.others.is_empty() {
        return;
    }
    let of = |kind: &str| facts.others.iter().filter(|(_, other)| other == kind).count();
    // Where none is sent, what there is belongs to other programmes.
    let is_one_sent = |kind: &str| match kind {
        "video" => facts.video.is_some(),
        "audio" => facts.audio.is_some(),
        _ => false,
    };
    let one_of = |kind: &str| if is_one_sent(kind) { of(kind) } else { 0 };
    let (video, audio) = (one_of("video"), one_of("audio"));
    if video > 0 {
        let detail = format!("{} video tracks, one is sent", video + 1);
        judge.any(ReasonCode::MultipleVideoStreams, Info, Subject::Video, detail);
    }
    if audio > 0 {
        let detail = format!("{} audio tracks, one is sent", audio + 1);
        judge.any(ReasonCode::MultipleAudioStreams, Info, Subject::Audio, detail);
    }
    if video + audio < facts.others.len() {
        let kinds = facts.others.iter().filter(|(_, kind)| !is_one_sent(kind));
        let kinds: Vec<String> = kinds.map(|(track, kind)| format!("#{track} {kind}")).collect();
        judge.any(ReasonCode::ExtraTracks, Info, Subject::File, format!("left out: {}", kinds.join(", ")));
    }
    judge.fixes.push(Fix::DropStreams(facts.others.iter().map(|(track, _)| *track).collect()));
}

fn forms(judge: &mut Judge<'_>, facts: &Facts) {
    let video = facts.video.as_ref().map(|video| (video.track, video.form, Subject::Video));
    let audio = facts.audio.as_ref().map(|audio| (audio.track, audio.form, Subject::Audio));
    for (track, form, subject) in [video, audio].into_iter().flatten() {
        let (filter, detail) = match form {
            None => continue,
            Some(Form::StartCodes) => ("extract_extradata", "start codes become length prefixes"),
            Some(Form::InBandSets) => {
                ("extract_extradata", "the configuration is made of the parameter sets in its packets")
            }
            Some(Form::Adts) => (ADTS_FILTER, "ADTS headers are taken off"),
            Some(Form::WithoutTimes) => {
                let detail = "a raw stream: its times are counted by a frame rate that may be wrong";
                judge.any(ReasonCode::BadContainer, Warning, subject, detail);
                continue;
            }
        };
        judge.any(ReasonCode::PayloadForm, Info, subject, detail);
        judge.fixes.push(Fix::BitstreamFilter { track, filter });
    }
}
