//! The bit rate of the picture.

use super::{Error, Info, Judge, Warning};
use crate::bit_rate::BitRate;
use crate::verdict::facts::VideoFacts;
use crate::verdict::platform::BITS_TOLERANCE;
use crate::verdict::reason::{ReasonCode, Subject};

const VIDEO: Subject = Subject::Video;

pub(super) fn judge(judge: &mut Judge<'_>, video: &VideoFacts) {
    let platform = judge.platform;
    let row = platform.bit_rates_of(video.width, video.height, video.frame_rate).copied();
    let (mean, peak) = (video.bit_rate.mean.kbps(), video.bit_rate.peak_2s.kbps());
    let most = row.and_then(|row| row.max).into_iter().chain(platform.max_bit_rate).min();
    let recommended = row.and_then(|row| row.recommended);
    match most.map(BitRate::kbps) {
        Some(most) if mean > most * BITS_TOLERANCE => {
            let detail = format!("{mean:.0} kbit/s, at most {most:.0}");
            judge.own(ReasonCode::BitrateHigh, Error, VIDEO, detail);
        }
        Some(most) if peak > most * platform.peak_factor => {
            let detail = format!("{peak:.0} kbit/s in the densest two seconds, at most {most:.0}");
            judge.own(ReasonCode::BitrateHigh, Error, VIDEO, detail);
        }
        Some(most) if peak > most * BITS_TOLERANCE => {
            let detail = format!("{peak:.0} kbit/s in the densest two seconds, above {most:.0}");
            judge.own(ReasonCode::BitrateHigh, Warning, VIDEO, detail);
        }
        _ => {
            if let Some(recommended) =
                recommended.map(BitRate::kbps).filter(|recommended| mean > *recommended * BITS_TOLERANCE)
            {
                let detail = format!("{mean:.0} kbit/s, {recommended:.0} are recommended");
                judge.own(ReasonCode::BitrateHigh, Info, VIDEO, detail);
            }
        }
    }
    if let Some(least) =
        row.and_then(|row| row.min).map(BitRate::kbps).filter(|least| mean * BITS_TOLERANCE < *least)
    {
        let detail = format!("{mean:.0} kbit/s, at least {least:.0} are recommended");
        judge.own(ReasonCode::BitrateLow, Warning, VIDEO, detail);
    }
}
