//! What a scan found, and what platforms say to it.

use std::time::Duration;

use flowcast::verdict::{AudioFacts, Reason, Severity, Split, Strictness, VideoFacts, plan_for, verdict};
use flowcast::verdict::{Facts, Verdict};
use flowcast::verdict::{Fields, Reach};
use flowcast::{BitRate, Platform};

use crate::support::Result;
use crate::support::print::out;

/// Facts of a file, and who is asked about them.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) platforms: &'a [Platform],
    pub(crate) strictness: Strictness,
    /// How long the scan took.
    pub(crate) took: Duration,
}

impl Judged<'_> {
    /// What each platform says.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        self.platforms.iter().map(|platform| verdict(self.facts, platform, self.strictness)).collect()
    }

    fn split(&self) -> Split {
        plan_for(self.facts, self.platforms, self.strictness)
    }

    /// Whether a platform does not take a copy.
    pub(crate) fn needs_encoding(&self) -> bool {
        self.split().shared.is_some()
    }

    /// Prints all of it.
    pub(crate) fn tell(&self) -> Result<()> {
        out!("")?;
        if let Some(video) = &self.facts.video {
            tell_video(video)?;
        }
        if let Some(audio) = &self.facts.audio {
            tell_audio(audio)?;
        }
        if let Some((start, end)) = self.facts.start_skew_micros().zip(self.facts.end_skew_micros()) {
            let millis = |micros: i64| micros as f64 / 1000.0;
            line(
                "together",
                &format!("sound begins at {:+.0} ms, ends at {:+.0} ms", millis(start), millis(end)),
            )?;
        }
        let reach = match self.facts.reach {
            Reach::Bytes => "a part of the file",
            Reach::Deadline => "as far as the deadline",
            _ => "the whole file",
        };
        line("scanned", &format!("{reach} in {:.0} ms", self.took.as_secs_f64() * 1000.0))?;
        for (platform, verdict) in self.platforms.iter().zip(self.verdicts()) {
            let as_of = match platform.as_of.as_str() {
                "" => String::new(),
                date => format!(", as read on {date}"),
            };
            tell_verdict(&verdict, &format!(" ({}{as_of})", self.strictness.as_str()))?;
        }
        let split = self.split();
        if let Some(shared) = split.shared.filter(|_| self.platforms.len() > 1) {
            let copies: Vec<_> = split.copy_to.iter().map(|verdict| verdict.platform.as_str()).collect();
            let copies =
                if copies.is_empty() { String::new() } else { format!("copy to {}; ", copies.join(", ")) };
            out!("\n{copies}one encode for {}: {}", shared.verdict.platform, shared.verdict.action)?;
        }
        Ok(())
    }
}

fn line(name: &str, text: &str) -> Result<()> {
    Ok(out!("  {name:<10}{text}")?)
}

fn kbps(rate: BitRate) -> u64 {
    rate.bps() / 1000
}

fn tell_video(video: &VideoFacts) -> Result<()> {
    let fields = match video.fields {
        Fields::Progressive => ", progressive",
        Fields::Interlaced => ", interlaced",
        Fields::Allowed => ", fields allowed",
        _ => "",
    };
    let size = format!("{}x{}", video.width, video.height);
    let rate = format!("{:.3} fps", video.frame_rate);
    let range = format!("{:.2} to {:.2} over a second", video.frame_rate_min, video.frame_rate_max);
    line("picture", &format!("{} {size}, {rate} ({range}), {}{fields}", video.codec, video.pixel_format))?;
    let kinds = match (video.keyframes, video.idr) {
        (all, idr) if all == idr => "all IDR".to_owned(),
        (all, idr) => format!("{idr} IDR, {} recovery points", all.saturating_sub(idr)),
    };
    let (most, mean) = (video.gop_max.as_secs_f64(), video.gop_mean.as_secs_f64());
    let open = if video.open_gops > 0 { format!(", {} open", video.open_gops) } else { String::new() };
    line(
        "GOP",
        &format!(
            "{most:.2} s at most, {mean:.2} s on average; keyframes: {}, {kinds}{open}",
            video.keyframes
        ),
    )?;
    let rate = video.bit_rate;
    line(
        "bits",
        &format!(
            "{} kbit/s; {} in the densest second, {} in two, {} in two GOPs",
            kbps(rate.mean),
            kbps(rate.peak_1s),
            kbps(rate.peak_2s),
            kbps(rate.peak_2_gops)
        ),
    )?;
    let delay = video.composition_max.as_secs_f64() * 1000.0;
    let order = match video.b_frames {
        0 => "no B-frames".to_owned(),
        most => format!("B-frames, at most {most} in a row; shown up to {delay:.0} ms after decoding"),
    };
    line("order", &order)?;
    Ok(())
}

fn tell_audio(audio: &AudioFacts) -> Result<()> {
    let profile = audio.profile.as_deref().unwrap_or_default();
    let plural = if audio.channels == 1 { "" } else { "s" };
    line(
        "sound",
        &format!(
            "{} {profile}, {} Hz, {} channel{plural}, {} kbit/s",
            audio.codec,
            audio.sample_rate,
            audio.channels,
            kbps(audio.bit_rate)
        ),
    )?;
    Ok(())
}

/// Prints a verdict: the decision, what is mended, and the reasons, the weightiest first.
pub(crate) fn tell_verdict(verdict: &Verdict, remark: &str) -> Result<()> {
    let name = if verdict.platform.is_empty() { "any platform" } else { &verdict.platform };
    out!("\n{name}{remark}: {}", verdict.action)?;
    for fix in &verdict.fixes {
        out!("  {:<9}{fix}", "fix")?;
    }
    let mut reasons: Vec<&Reason> = verdict.reasons.iter().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
    let widest = reasons.iter().map(|reason| reason.code.as_str().len()).max().unwrap_or(0);
    for reason in reasons {
        out!("  {:<9}{:<7}{:<widest$}  {}", reason.severity, reason.track, reason.code, reason.detail)?;
    }
    if verdict.at_least(Severity::Info).next().is_none() {
        out!("  nothing to find fault with")?;
    }
    Ok(())
}
