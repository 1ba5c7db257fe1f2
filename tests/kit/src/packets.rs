//! A recording's packets: their times, their bytes, and whether its sound follows the file's.

use super::process::{run, text};
use std::path::Path;
use std::time::Duration;

const READING: Duration = Duration::from_secs(60);

/// One packet's place in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacketTime {
    /// Presentation time, in milliseconds.
    pub pts: f64,
    /// Decoding time, in milliseconds.
    pub dts: f64,
    /// Whether it can be decoded on its own.
    pub keyframe: bool,
}

/// The times of a file's first track of a kind (`v` or `a`), in the order of the file.
pub fn packet_times(file: &Path, kind: &str) -> Vec<PacketTime> {
    let stream = format!("{kind}:0");
    let entries = "packet=pts_time,dts_time,flags";
    let arguments =
        ["-v", "error", "-select_streams", &stream, "-show_entries", entries, "-of", "csv=p=0", text(file)];
    let printed = run("ffprobe", arguments, READING);
    let parse = |line: &str| {
        let mut fields = line.split(',');
        let mut millis = || fields.next()?.parse::<f64>().ok().map(|seconds| seconds * 1000.0);
        let (pts, dts) = (millis()?, millis()?);
        Some(PacketTime { pts, dts, keyframe: fields.next()?.starts_with('K') })
    };
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("a packet without times: {line:?}"))).collect()
}

/// A hash of each packet's bytes in a file's first track of a kind (`v` or `a`), in the order of the file.
pub fn packet_hashes(file: &Path, kind: &str) -> Vec<String> {
    let stream = format!("{kind}:0");
    let wanted = ["-v", "error", "-select_streams", &stream, "-show_entries", "packet=data_hash"];
    let shown = ["-show_data_hash", "md5", "-of", "csv=p=0", text(file)];
    let printed = run("ffprobe", wanted.into_iter().chain(shown), READING);
    // Side data of a packet, such as priming, is a line or a field of its own.
    printed.split([',', '\n']).filter(|field| field.starts_with("MD5:")).map(str::to_owned).collect()
}

/// Checks that a recording's sound is the file's in order, lap after lap, from any packet on. A lap may end with any packet
/// from the file's packet `end` on, which may be sent twice; those that only warm a decoder up are left out where the next
/// lap begins. Returns how many seams it passed.
///
/// # Errors
///
/// The first packet that is not one that may come.
pub fn sound_laps(recorded: &[String], file: &[String], end: usize) -> Result<usize, String> {
    const PRIMING: usize = 2;
    let Some(first) = recorded.first() else { return Err("no sound at all".to_owned()) };
    let Some(mut place) = file.iter().position(|packet| packet == first) else {
        return Err("the first packet of the sound is none of the file's".to_owned());
    };
    let mut seams = 0;
    for (number, packet) in recorded.iter().enumerate().skip(1) {
        if file.get(place + 1) == Some(packet) {
            place += 1;
            continue;
        }
        let may_end = place >= end;
        let begin = file.iter().take(PRIMING + 1).position(|begin| begin == packet);
        match begin {
            Some(begin) if may_end => {
                place = begin;
                seams += 1;
            }
            _ if may_end && file.get(place) == Some(packet) => {}
            _ => {
                let which = match file.iter().position(|one| one == packet) {
                    Some(other) => format!("the file's packet {other}"),
                    None => "none of the file's".to_owned(),
                };
                let of = file.len();
                return Err(format!(
                    "sound packet {number}, {which}, does not follow the file's packet {place} of {of} (a lap ends from {end} on)"
                ));
            }
        }
    }
    Ok(seams)
}
