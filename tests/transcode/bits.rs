//! How many bits a recording's picture has in each window of time.

use std::path::Path;
use std::time::Duration;

use kit::run;

/// How long a window is, in milliseconds.
const WINDOW: f64 = 2000.0;

/// The windows of a recording.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// The fewest bits in a window, in thousands a second.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
    /// When the window of the most begins, in milliseconds.
    pub(crate) most_at: f64,
    /// Over all.
    pub(crate) mean: f64,
}

/// All windows of two seconds that begin with a picture at or after `from` milliseconds.
pub(crate) fn windows(recording: &Path, from: f64) -> Windows {
    let file = recording.to_str().expect("a path in UTF-8");
    let entries = "packet=dts_time,size";
    let printed = run(
        "ffprobe",
        ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0", file],
        Duration::from_secs(60),
    );
    let packets: Vec<(f64, f64)> = printed
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(',').filter_map(|field| field.parse::<f64>().ok());
            Some((fields.next()? * 1000.0, fields.next()? * 8.0))
        })
        .collect();
    let step = packets.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
    let last = packets.last().map_or(0.0, |packet| packet.0) + step;
    let mut found = Windows { least: f64::MAX, most: 0.0, most_at: 0.0, mean: 0.0 };
    for (number, (begin, _)) in packets.iter().enumerate() {
        // Times are whole milliseconds.
        let end = begin + WINDOW - 1.5;
        if *begin < from || end > last {
            continue;
        }
        let inside = packets[number..].iter().take_while(|packet| packet.0 < end);
        let kbps = inside.map(|packet| packet.1).sum::<f64>() / WINDOW;
        if kbps > found.most {
            (found.most, found.most_at) = (kbps, *begin);
        }
        found.least = found.least.min(kbps);
    }
    let first = packets.first().map_or(0.0, |packet| packet.0);
    found.mean = packets.iter().map(|packet| packet.1).sum::<f64>() / (last - first);
    found
}
