//! What the integration tests share: a directory that goes away, clips, and digests of packets.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flowcast_av::{Demuxer, Error, Interrupt, Muxer, OpenOptions, Packet, SampleSpec, sample_clip};

/// A directory of one test, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("flowcast-av-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file of these bytes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a sample clip.
    pub(crate) fn clip(&self, name: &str, spec: &SampleSpec) -> PathBuf {
        let path = self.file(name);
        sample_clip(&path, spec).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A small clip with sound.
pub(crate) fn small() -> SampleSpec {
    SampleSpec { width: 160, height: 90, seconds: 2.0, bitrate: 150_000, ..SampleSpec::default() }
}

pub(crate) fn open(path: &Path) -> Result<Demuxer, Error> {
    Demuxer::open(path, &OpenOptions::default(), &Interrupt::new())
}

/// Every packet that is left.
pub(crate) fn packets(input: &mut Demuxer) -> Vec<Packet> {
    std::iter::from_fn(|| input.read().unwrap()).collect()
}

pub(crate) fn of_track(packets: &[Packet], track: usize) -> Vec<Packet> {
    packets.iter().filter(|packet| packet.track == track).cloned().collect()
}

/// A digest of everything in a run of packets.
pub(crate) fn digest(packets: &[Packet]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for packet in packets {
        (packet.track, packet.pts, packet.dts, packet.duration, packet.keyframe).hash(&mut hasher);
        (&packet.data, &packet.config, packet.skip_start, packet.skip_end, packet.discard).hash(&mut hasher);
    }
    hasher.finish()
}

/// Copies the playable tracks of `from` into `to`, whose extension says the container.
pub(crate) fn remux(from: &Path, to: &Path) {
    remux_as(from, to, None);
}

pub(crate) fn remux_as(from: &Path, to: &Path, format: Option<&str>) {
    let mut input = open(from).unwrap();
    let mut output = Muxer::create(to, format, &input.media().tracks).unwrap();
    while let Some(packet) = input.read().unwrap() {
        output.write(&packet).unwrap();
    }
    output.finish().unwrap();
}

/// The real files that come with a development machine, if they are there.
pub(crate) fn real_media() -> Option<PathBuf> {
    let named = std::env::var_os("FLOWCAST_TEST_MEDIA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media");
    named.or(Some(beside)).filter(|path| path.is_dir())
}
