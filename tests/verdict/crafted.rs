//! Files no encoder writes: others, changed byte by byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clips::{Clip, TONE, made};
use kit::run;

/// The clip the others are made of: two seconds, with a keyframe every half of one.
const BASE: Clip = Clip { name: "base.mp4", video: "320x240:r=30:d=2", audio: TONE, more: "-g 15" };

fn bytes(file: &Path) -> Vec<u8> {
    fs::read(file).expect("a file that can be read")
}

/// A file made of the bytes of another. `version` is counted up when `change` changes.
fn changed(name: &str, base: Clip, version: u32, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let base = base.make();
    made(name, &(base.clone(), version), |file| {
        fs::write(file, change(bytes(&base))).expect("a file in the directory");
    })
}

/// Replaces the bytes wherever they are; they must be there.
fn replace(mut data: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        data.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{from:x?} is not in the file");
    for at in places {
        data[at..at + to.len()].copy_from_slice(to);
    }
    data
}

fn find(data: &[u8], what: &[u8]) -> usize {
    data.windows(what.len()).position(|window| window == what).expect("such bytes")
}

/// A file by its name in the table.
pub(crate) fn make(name: &str) -> PathBuf {
    match name {
        "empty.mp4" => made(name, &0, |file| fs::write(file, b"").expect("a file")),
        "playlist.m3u8" => made(name, &0, |file| {
            let list = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n";
            fs::write(file, list).expect("a file");
        }),
        // The configuration of the codec is not where it should be.
        "no-sets.mp4" => changed(name, BASE, 0, |mut data| {
            // A record of no sequence and no picture parameter sets.
            let record = find(&data, b"avcC") + 4;
            data[record + 5..record + 7].copy_from_slice(&[0xE0, 0]);
            data
        }),
        "no-esds.mp4" => changed(name, BASE, 0, |data| replace(data, b"esds", b"free")),
        // Constrained Baseline without its constraint, in the record and in the parameter set; and Extended.
        "baseline.mp4" => changed(name, BASE, 0, |data| {
            let data = replace(data, &[1, 0x42, 0xC0], &[1, 0x42, 0x80]);
            replace(data, &[0x67, 0x42, 0xC0], &[0x67, 0x42, 0x80])
        }),
        "extended.mp4" => changed(name, BASE, 0, |data| {
            let data = replace(data, &[1, 0x42, 0xC0], &[1, 0x58, 0x00]);
            replace(data, &[0x67, 0x42, 0xC0], &[0x67, 0x58, 0x00])
        }),
        // libav's encoder says that there is no SBR; here there is.
        "he-aac.mp4" => {
            changed(name, BASE, 0, |data| replace(data, &[0x56, 0xE5, 0x00], &[0x56, 0xE5, 0x98]))
        }
        "cut.mp4" => {
            let base = Clip { name: "faststart.mp4", more: "-g 15 -movflags +faststart", ..BASE };
            changed(name, base, 0, |data| data[..data.len() * 7 / 10].to_vec())
        }
        // A length of a NAL unit that goes beyond its packet.
        "damaged.mp4" => changed(name, BASE, 0, |mut data| {
            let mdat = find(&data, b"mdat");
            let idr = mdat + find(&data[mdat..], &[0x65, 0x88]);
            data[idr - 4..idr].copy_from_slice(&[0x7F; 4]);
            data
        }),
        "twice.ts" => {
            changed(name, Clip { name: "base.ts", ..BASE }, 0, |data| [data.clone(), data].concat())
        }
        // Begins in the middle of a GOP.
        "headless.ts" => changed(name, Clip { name: "long-gop.ts", more: "-g 30", ..BASE }, 0, |data| {
            let start = data.len() / 4 / 188 * 188;
            data[start..].to_vec()
        }),
        "two-sizes.ts" => joined(name, "400x240:r=30:d=2", ""),
        "two-profiles.ts" => joined(name, "320x240:r=30:d=2", "-preset superfast"),
        "unordered.flv" => changed(name, Clip { name: "base.flv", ..BASE }, 0, shuffle),
        _ => panic!("{name} is not known"),
    }
}

/// A transport stream that goes on with another picture.
fn joined(name: &str, video: &'static str, more: &'static str) -> PathBuf {
    let first = Clip { name: "first.ts", ..BASE }.make();
    let more = format!("{more} -output_ts_offset 2.05").leak();
    let second = Clip { name: "second.ts", video, more, ..BASE }.make();
    made(name, &(first.clone(), second.clone(), 1), |file| {
        let both = file.with_extension("joined.ts");
        fs::write(&both, [bytes(&first), bytes(&second)].concat()).expect("a file in the directory");
        // Written again, so that the packets of the transport stream are counted through.
        let [from, to] = [&both, &file.to_owned()].map(|path| path.to_str().expect("UTF-8").to_owned());
        let arguments = ["-nostdin", "-v", "fatal", "-y", "-i", &from, "-c", "copy", &to];
        run("ffmpeg", arguments, Duration::from_secs(20));
        let _ = fs::remove_file(both);
    })
}

/// Gives some of an FLV's video tags the time of the one before.
fn shuffle(mut data: Vec<u8>) -> Vec<u8> {
    let (mut at, mut count, mut last) = (13, 0, [0; 4]);
    while at + 11 < data.len() {
        let size =
            usize::from(data[at + 1]) << 16 | usize::from(data[at + 2]) << 8 | usize::from(data[at + 3]);
        if data[at] == 9 {
            count += 1;
            if count % 10 == 0 {
                data[at + 4..at + 8].copy_from_slice(&last);
            }
            last.copy_from_slice(&data[at + 4..at + 8]);
        }
        at += 11 + size + 4;
    }
    data
}
