//! How a list is written in a file: `["a.mp4", "b.mp4"]`, or a table with one of `files`, `dir` and `m3u` and how it is played.
//!
//! In: a [`Playlist`]. Out: any serde format, and back. Nothing is read from disk: a directory or a list file is read when a
//! stream starts. A list that was edited is written with its files.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::order::Order;
use super::{NothingPlays, Origin, ParameterChange, Playlist};
use crate::written::is_default;

/// A file, with its weight if that is not 1.
struct Item(PathBuf, u32);

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "item", deny_unknown_fields)]
struct Weighted {
    file: PathBuf,
    weight: u32,
}

/// A table.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename = "list", default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    m3u: Option<PathBuf>,
    #[serde(skip_serializing_if = "is_default")]
    shuffled: bool,
    #[serde(skip_serializing_if = "is_default")]
    once: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    on_change: ParameterChange,
    #[serde(skip_serializing_if = "is_default")]
    nothing_plays: NothingPlays,
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self(file, 1) => file.serialize(to),
            Self(file, weight) => Weighted { file: file.clone(), weight: *weight }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file, or a table of `file` and `weight`")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Item, E> {
                Ok(Item(path.into(), 1))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let Weighted { file, weight } = Weighted::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Item(file, weight))
            }
        }

        from.deserialize_any(Either)
    }
}

impl Serialize for Playlist {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let list = self.shared.list.lock();
        let files = || Some(list.items.iter().map(|item| Item(item.path.clone(), item.weight)).collect());
        let (files, dir, m3u) = match list.origin.clone() {
            Some(Origin::Dir(path)) => (None, Some(path), None),
            Some(Origin::List(path)) => (None, None, Some(path)),
            None => (files(), None, None),
        };
        let written = Written {
            files,
            dir,
            m3u,
            shuffled: list.rules.order == Order::Shuffled,
            once: list.rules.once,
            seed: list.seed,
            on_change: list.on_change,
            nothing_plays: list.nothing_plays,
        };
        drop(list);
        written.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Playlist {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Playlist;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files, or a table with one of `files`, `dir` and `m3u`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Playlist, A::Error> {
                let files = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
                playlist(Written { files: Some(files), ..Written::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Playlist, A::Error> {
                playlist(Written::deserialize(MapAccessDeserializer::new(map))?)
            }
        }

        from.deserialize_any(Either)
    }
}

fn playlist<E: Error>(written: Written) -> Result<Playlist, E> {
    let Written { files, dir, m3u, shuffled, once, seed, on_change, nothing_plays } = written;
    let list = match (files, dir, m3u) {
        (Some(files), None, None) => {
            let list = Playlist::new();
            for Item(path, weight) in files {
                list.shared.list.lock().insert(usize::MAX, path, weight);
            }
            list
        }
        (None, Some(path), None) => Playlist::of(Origin::Dir(path)),
        (None, None, Some(path)) => Playlist::of(Origin::List(path)),
        (None, None, None) => return Err(E::custom("a list has one of `files`, `dir` and `m3u`")),
        _ => return Err(E::custom("a list has only one of `files`, `dir` and `m3u`")),
    };
    let list = if shuffled { list.shuffled() } else { list };
    let list = if once { list.once() } else { list };
    let list = list.on_change(on_change).nothing_plays(nothing_plays);
    Ok(match seed {
        Some(seed) => list.seed(seed),
        None => list,
    })
}
