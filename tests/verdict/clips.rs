//! Small clips for the table, made with the `ffmpeg` program once and kept for later runs.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::run;

const ENCODING: Duration = Duration::from_secs(60);

/// A clip and how to make it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clip {
    /// The file's name; its extension says the container.
    pub(crate) name: &'static str,
    /// A moving picture, as options of libav's test source ("320x240:r=30:d=2"); empty for none.
    pub(crate) video: &'static str,
    /// Sound, as a source of libav's; empty for none.
    pub(crate) audio: &'static str,
    /// Further arguments, which come before the file's name and overrule the usual encoders.
    pub(crate) more: &'static str,
}

/// A tone of two seconds.
pub(crate) const TONE: &str = "sine=440:sample_rate=48000:d=2";

/// Where clips are kept.
pub(crate) fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verdict-clips");
    fs::create_dir_all(&directory).expect("a directory for clips");
    directory
}

impl Clip {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-nostdin", "-v", "error", "-y", "-bitexact"].iter().map(|word| (*word).to_owned()).collect();
        let mut add = |words: &str| arguments.extend(words.split_whitespace().map(str::to_owned));
        if !self.video.is_empty() {
            add(&format!("-f lavfi -i testsrc2=s={}", self.video));
        }
        if !self.audio.is_empty() {
            add(&format!("-f lavfi -i {}", self.audio));
        }
        add("-c:v libx264 -preset ultrafast -threads 1 -pix_fmt yuv420p -g 30 -c:a aac -b:a 96k -ac 2");
        add(self.more);
        arguments
    }

    /// The file, made if it is not there yet.
    pub(crate) fn make(&self) -> PathBuf {
        let arguments = self.arguments();
        made(self.name, &arguments, |file| {
            let file = file.to_str().expect("a path in UTF-8").to_owned();
            run("ffmpeg", arguments.iter().cloned().chain([file]), ENCODING);
        })
    }
}

/// A file that is kept as long as what it is made of (`recipe`) is the same.
pub(crate) fn made(name: &str, recipe: &impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let file = directory().join(format!("{:016x}-{name}", hasher.finish()));
    if !file.exists() {
        // Under another name until it is whole; the process's number keeps two runs apart.
        let unfinished = directory().join(format!("{}-{name}", std::process::id()));
        make(&unfinished);
        fs::rename(&unfinished, &file).expect("a file that was made");
    }
    file
}
