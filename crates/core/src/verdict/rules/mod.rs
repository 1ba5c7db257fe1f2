//! The rules, in the order they are asked. Each that is broken leaves a reason; the verdict follows from the reasons.

mod audio;
mod bits;
mod file;
mod sync;
mod video;

#[cfg(test)]
mod tests;

use super::platform::Platform;
use super::reason::{Reason, ReasonCode, Severity, Subject};
use super::sentence::{Action, Fix, Strictness, TrackVerdict, Verdict, action};
use crate::verdict::facts::Facts;

impl Facts {
    /// Whether the file can be sent to this platform as it is: [`verdict`] at the default strictness.
    #[must_use]
    pub fn verdict(&self, platform: &Platform) -> Verdict {
        verdict(self, platform, Strictness::default())
    }
}

/// Holds the facts of a file against what a platform takes. The same facts give the same verdict.
#[must_use]
pub fn verdict(facts: &Facts, platform: &Platform, strictness: Strictness) -> Verdict {
    let seed = (strictness == Strictness::Seed).then(|| {
        let (name, as_of) = (platform.name.clone(), platform.as_of.clone());
        let (enhanced, enhanced_codecs) = (platform.enhanced, platform.enhanced_codecs.clone());
        Platform { name, as_of, enhanced, enhanced_codecs, ..Platform::seed() }
    });
    let mut judge =
        Judge { platform: seed.as_ref().unwrap_or(platform), reasons: Vec::new(), fixes: Vec::new() };
    file::judge(&mut judge, facts);
    if let Some(video) = &facts.video {
        video::judge(&mut judge, video);
        bits::judge(&mut judge, video);
    }
    if let Some(audio) = &facts.audio {
        audio::judge(&mut judge, audio);
    }
    sync::judge(&mut judge, facts);
    judge.sentence(facts, strictness)
}

/// Takes down what the rules find.
struct Judge<'a> {
    platform: &'a Platform,
    reasons: Vec<Reason>,
    fixes: Vec<Fix>,
}

use Severity::{Error, Info, Warning};

impl Judge<'_> {
    /// No receiver of RTMP takes it, or none well.
    fn any(&mut self, code: ReasonCode, severity: Severity, track: Subject, detail: impl Into<String>) {
        let platform = String::new();
        self.reasons.push(Reason { code, severity, track, platform, detail: detail.into() });
    }

    /// The platform does not take it, or not gladly.
    fn own(&mut self, code: ReasonCode, severity: Severity, track: Subject, detail: impl Into<String>) {
        let platform = self.platform.name.clone();
        self.reasons.push(Reason { code, severity, track, platform, detail: detail.into() });
    }

    fn sentence(self, facts: &Facts, strictness: Strictness) -> Verdict {
        let fails = if strictness == Strictness::Strict { Warning } else { Error };
        let fails = |subject| {
            let about = |reason: &&Reason| reason.track == subject || reason.track == Subject::File;
            self.reasons.iter().filter(about).any(|reason| reason.severity >= fails)
        };
        let track = |is_there: bool, subject| match is_there {
            false => TrackVerdict::Absent,
            true if fails(subject) => TrackVerdict::Encode,
            true => TrackVerdict::Copy,
        };
        let video = track(facts.video.is_some(), Subject::Video);
        let audio = track(facts.audio.is_some(), Subject::Audio);
        let mut fixes = self.fixes;
        fixes.retain(|fix| fix.is_of_use(video, audio));
        // What is missing cannot be made by copying.
        let missing = self.reasons.iter().any(|reason| reason.code == ReasonCode::NoVideoStream);
        let action = if missing { Action::Encode } else { action(video, audio, &fixes) };
        Verdict { platform: self.platform.name.clone(), action, video, audio, fixes, reasons: self.reasons }
    }
}
