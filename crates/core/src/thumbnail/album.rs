//! JPEGs that were made lately, by what they were made of.
//!
//! In: the bytes of a keyframe, and how its JPEG is to be. Out: the JPEG, if it was made before. A loop shows the same keyframes lap after
//! lap, and a digest of one costs a hundredth of decoding it.

use std::collections::VecDeque;

use flowcast_av::{Jpeg, Packet, TrackInfo};

use super::ThumbnailOptions;

/// Bytes of JPEGs that are kept.
const MOST_BYTES: usize = 8 << 20;
/// How many are kept: those of a hundred loops with ten keyframes each.
const MOST: usize = 1000;

/// What a JPEG is made of, and how: a SHA-256.
pub(super) type Key = [u8; 32];

/// Those that were made, oldest first.
#[derive(Debug, Default)]
pub(super) struct Album {
    kept: VecDeque<(Key, Jpeg)>,
    bytes: usize,
}

/// The key of a keyframe's JPEG.
pub(super) fn key(track: &TrackInfo, packet: &Packet, options: &ThumbnailOptions) -> Key {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let config = track.config.as_deref().unwrap_or_default();
    digest.update(track.codec.name().as_bytes());
    for length in [
        u64::from(options.max_width),
        u64::from(options.max_height),
        options.quality.into(),
        config.len() as u64,
    ] {
        digest.update(&length.to_le_bytes());
    }
    digest.update(config);
    digest.update(&packet.data);
    let mut key = Key::default();
    key.copy_from_slice(digest.finish().as_ref());
    key
}

impl Album {
    /// The JPEG of this key; the next ones to go are others.
    pub(super) fn find(&mut self, key: &Key) -> Option<Jpeg> {
        let place = self.kept.iter().rposition(|(kept, _)| kept == key)?;
        let found = self.kept.remove(place)?;
        self.kept.push_back(found.clone());
        Some(found.1)
    }

    /// Keeps one.
    pub(super) fn keep(&mut self, key: Key, jpeg: &Jpeg) {
        self.bytes += jpeg.data.len();
        self.kept.push_back((key, jpeg.clone()));
        while (self.bytes > MOST_BYTES || self.kept.len() > MOST)
            && let Some((_, gone)) = self.kept.pop_front()
        {
            self.bytes -= gone.data.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_was_not_looked_at_for_the_longest_time_goes_first() {
        let of = |bytes: usize| Jpeg { data: Bytes::from(vec![0; bytes]), width: 2, height: 2 };
        let key = |number: u16| {
            let mut key = Key::default();
            key[..2].copy_from_slice(&number.to_le_bytes());
            key
        };
        let mut album = Album::default();
        for number in 0..8 {
            album.keep(key(number), &of(1 << 20));
        }
        assert!(album.find(&key(0)).is_some());
        album.keep(key(8), &of(1));
        assert!(album.find(&key(0)).is_some() && album.find(&key(1)).is_none());
        album.keep(key(9), &of(9 << 20));
        assert_eq!((album.kept.len(), album.bytes), (0, 0), "it is larger than all there is");
        for number in 0..1100 {
            album.keep(key(number), &of(10));
        }
        assert_eq!((album.kept.len(), album.bytes), (MOST, MOST * 10));
    }
}
