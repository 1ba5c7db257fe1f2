//! Where the examples keep reels: `--reels`, `--max-reel-bytes`, `--no-reels`.

use flowcast::{ReelStore, WhenInUse};

use super::Result;
use super::args::Args;

/// The options that take a value.
pub const OPTIONS: [&str; 2] = ["--reels", "--max-reel-bytes"];
/// The option that takes none.
pub const NO_REELS: &str = "--no-reels";
/// What `--help` says of them.
pub const USAGE: &str = "  --reels DIR    keep reels there; otherwise in the temporary directory
  --max-reel-bytes N   let them take so many bytes, 10 GiB otherwise; those used longest ago go first
  --no-reels     read files directly through libav";

/// The store that was asked for. What another process of this example uses is left to it.
pub fn store(args: &Args) -> Result<Option<ReelStore>> {
    if args.has(NO_REELS) {
        return Ok(None);
    }
    let dir = args.last::<String>("--reels")?;
    let mut store = ReelStore::new(match dir {
        Some(dir) => dir.into(),
        None => std::env::temp_dir().join("flowcast-reels"),
    });
    store.when_in_use = WhenInUse::Subdirectory;
    if let Some(bytes) = args.last("--max-reel-bytes")? {
        store.max_bytes = bytes;
    }
    Ok(Some(store))
}
