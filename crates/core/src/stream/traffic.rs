//! What a stream sends to the network, and whether it is on the air with all it has: what admission asks every second, without a copy of
//! its figures.

use crate::admission::{Does, Ways};
use crate::stats::{OutputPhase, OutputStats, OutputTransport, SourceMode, StreamPhase, StreamStats};

/// Of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Bytes that the outputs it has now sent to the network, players among them.
    pub(super) sent: u64,
    /// Its outputs, players and other streams left out.
    pub(super) ways: Ways,
    /// Media flows, and each of its pushes is on the air.
    pub(super) is_on_air: bool,
    /// What it does to pictures; `None` before media flows.
    pub(super) does: Option<Does>,
}

impl Traffic {
    pub(super) fn of(stats: &StreamStats) -> Self {
        let is_running = stats.phase == StreamPhase::Running && stats.bit_rate.bps() > 0;
        let does = is_running.then(|| does(stats));
        let mut traffic = Self { sent: 0, ways: Ways::default(), is_on_air: is_running, does };
        stats.outputs.iter().for_each(|output| traffic.add(output));
        traffic
    }

    fn add(&mut self, output: &OutputStats) {
        let (is_push, is_player) = match output.transport {
            OutputTransport::Rtmp
            | OutputTransport::Rtmps
            | OutputTransport::Srt
            | OutputTransport::Udp
            | OutputTransport::Icecast
            | OutputTransport::Rtsp => (true, false),
            OutputTransport::Player => (false, true),
            _ => (false, false),
        };
        if is_push || is_player {
            self.sent += output.bytes_sent;
        }
        if output.phase == OutputPhase::Ended {
            return;
        }
        self.is_on_air &= !is_push || output.phase == OutputPhase::Live;
        let ways = &mut self.ways;
        let count = match output.transport {
            OutputTransport::Rtmp
            | OutputTransport::Srt
            | OutputTransport::Udp
            | OutputTransport::Icecast
            | OutputTransport::Rtsp => &mut ways.plain,
            OutputTransport::Rtmps => &mut ways.tls,
            OutputTransport::File | OutputTransport::Hls => &mut ways.files,
            OutputTransport::Hub | OutputTransport::Other => &mut ways.others,
            OutputTransport::Player | OutputTransport::Stream => return,
        };
        *count += 1;
    }
}

fn does(stats: &StreamStats) -> Does {
    match (&stats.encoding, stats.mode) {
        (Some(encoding), _) if encoding.pixels > 0 => Does::Encode,
        (Some(_), _) | (None, SourceMode::Reel) => Does::Other,
        (None, SourceMode::Direct) => Does::CopyFile,
        (None, SourceMode::Live) => Does::CopyPublished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bit_rate::BitRate;
    use crate::id::{OutputId, StreamId};
    use crate::stats::EncodingStats;

    #[test]
    fn only_the_network_counts_and_a_push_that_is_off_the_air_is_told() {
        let mut stats = StreamStats::new(StreamId(1), None);
        (stats.phase, stats.bit_rate) = (StreamPhase::Running, BitRate::from_kbps(1000));
        let mut add = |number, transport, phase| {
            let mut output = OutputStats::new(OutputId(number), None, String::new());
            (output.transport, output.phase, output.bytes_sent) =
                (transport, phase, 10u64.pow(number as u32));
            stats.outputs.push(output);
            Traffic::of(&stats)
        };
        add(0, OutputTransport::Rtmp, OutputPhase::Live);
        add(1, OutputTransport::File, OutputPhase::Live);
        let traffic = add(2, OutputTransport::Player, OutputPhase::Live);
        let ways = Ways { plain: 1, files: 1, ..Ways::default() };
        let does = Some(Does::CopyPublished);
        assert_eq!(traffic, Traffic { sent: 101, ways, is_on_air: true, does });
        assert!(add(3, OutputTransport::Rtmps, OutputPhase::Ended).is_on_air, "it has one push less");
        let traffic = add(4, OutputTransport::Rtmps, OutputPhase::Waiting);
        assert_eq!((traffic.sent, traffic.ways.tls, traffic.is_on_air), (11_101, 1, false));
        for (mode, pixels, expected) in [
            (SourceMode::Direct, None, Does::CopyFile),
            (SourceMode::Reel, None, Does::Other),
            (SourceMode::Direct, Some(0), Does::Other),
            (SourceMode::Direct, Some(100), Does::Encode),
        ] {
            stats.mode = mode;
            stats.encoding = pixels.map(|pixels| EncodingStats { pixels, ..EncodingStats::default() });
            assert_eq!(Traffic::of(&stats).does, Some(expected));
        }
        let resting = StreamStats { bit_rate: BitRate::ZERO, outputs: Vec::new(), ..stats };
        assert_eq!((Traffic::of(&resting).is_on_air, Traffic::of(&resting).does), (false, None));
    }
}
