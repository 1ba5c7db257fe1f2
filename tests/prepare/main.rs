//! Files of all kinds are prepared for YouTube and Twitch; what comes out is judged, decoded by the `ffmpeg` program and looped.
//! And what becomes of the output when something fails on the way.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what becomes of each file is shown with --nocapture")]

mod crafted;
mod examples;
mod failures;
mod killed;

use std::fs;
use std::path::{Path, PathBuf};

use flowcast::av::Interrupt;
use flowcast::prepare::Prepared;
use flowcast::{Encoding, Platform, Prepare};
use kit::files;

/// Encoding as it is done unless said otherwise, but as fast as it gets.
fn quickly() -> Encoding {
    let mut encoding = Prepare::default_encoding();
    encoding.preset = Some("ultrafast".to_owned());
    encoding
}

/// For YouTube and Twitch.
fn preparing(input: &Path, output: &Path) -> Prepare {
    let both = Prepare::new(input, output).platform(Platform::youtube()).platform(Platform::twitch());
    both.encoding(quickly())
}

fn prepare(input: &Path, output: &Path) -> Prepared {
    let prepared = preparing(input, output).run(|_| {}, &Interrupt::new());
    prepared.unwrap_or_else(|error| panic!("{}: {}", input.display(), flowcast::error::chain(&error)))
}

/// Names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let name = |file: PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files(directory).into_iter().map(name).collect()
}

/// An MP4's boxes, outermost only.
fn boxes(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).expect("a file that was made");
    let (mut boxes, mut at) = (Vec::new(), 0);
    while let Some([a, b, c, d, kind @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        boxes.push(String::from_utf8_lossy(kind).into_owned());
        at += u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    }
    boxes
}
