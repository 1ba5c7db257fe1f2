//! A small disk of a test's own.

use super::PATIENCE;
use super::process::Peer;
use std::path::Path;
use tempfile::TempDir;

/// A disk of one megabyte or a few, gone with the value.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, and a word about it, where this machine does not let a test mount one.
    pub fn mount() -> Option<Self> {
        Self::mount_of(1)
    }

    /// The same, of this many megabytes.
    pub fn mount_of(megabytes: u32) -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let mounted = rustix::process::geteuid().is_root()
            && mount("tmpfs", &["-o", &format!("size={megabytes}m")], directory.path());
        if !mounted {
            eprintln!("skipped: this machine mounts no disk for a test");
        }
        mounted.then_some(Self(directory))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Nothing can be written to it any more, not by root either.
    pub fn make_read_only(&self) {
        assert!(mount("tmpfs", &["-o", "remount,ro"], self.path()), "a disk of ours can be mounted again");
    }
}

fn mount(kind: &str, options: &[&str], place: &Path) -> bool {
    let place = place.to_str().expect("UTF-8");
    let arguments = ["-t", kind].into_iter().chain(options.iter().copied()).chain([kind, place]);
    Peer::spawn(Path::new("mount"), arguments).wait(PATIENCE).success()
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let place = self.path().to_str().expect("UTF-8");
        Peer::spawn(Path::new("umount"), ["--lazy", place]).wait(PATIENCE);
    }
}
