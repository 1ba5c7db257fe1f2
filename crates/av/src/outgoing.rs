//! The tracks that a muxer writes, and their clocks.
//!
//! In: tracks of a source, and packets with times on the source's clocks. Out: the tracks that can be written, and packets with their place among
//! those and times on the muxer's clocks.

use crate::error::Error;
use crate::media::TrackInfo;
use crate::packet::Packet;
use crate::sys::Output;
use crate::time::TimeBase;

/// The tracks that can be written.
///
/// # Errors
/// [`Error::InvalidArgument`] if there is none.
pub(crate) fn playable(tracks: &[TrackInfo]) -> Result<Vec<&TrackInfo>, Error> {
    let chosen: Vec<&TrackInfo> = tracks.iter().filter(|track| track.is_playable()).collect();
    if chosen.is_empty() {
        return Err(Error::InvalidArgument { message: "no playable track to write".to_owned() });
    }
    Ok(chosen)
}

/// The clocks of the tracks that are written.
#[derive(Debug)]
pub(crate) struct Clocks(Vec<Clock>);

#[derive(Debug)]
struct Clock {
    /// The track's number in the source.
    track: usize,
    from: TimeBase,
    to: TimeBase,
}

impl Clocks {
    /// Those of `written` in a muxer whose header is written.
    pub(crate) fn of(output: &Output, written: &[&TrackInfo]) -> Self {
        let clock = |(position, track): (usize, &&TrackInfo)| Clock {
            track: track.index,
            from: track.time_base,
            to: output.time_base(position).unwrap_or(track.time_base),
        };
        Self(written.iter().enumerate().map(clock).collect())
    }

    /// A packet's place among the tracks that are written, and the packet on the muxer's clock; `None` if its track is not written.
    pub(crate) fn place(&self, packet: &Packet) -> Option<(usize, Packet)> {
        let position = self.0.iter().position(|clock| clock.track == packet.track)?;
        let Clock { from, to, .. } = self.0.get(position)?;
        let mut packet = packet.clone();
        packet.pts = packet.pts.map(|ticks| from.rescale(ticks, *to));
        packet.dts = packet.dts.map(|ticks| from.rescale(ticks, *to));
        packet.duration = from.rescale(packet.duration, *to);
        Some((position, packet))
    }
}
