//! What is made once goes to all streams that want it.
//!
//! In: tags, from the thread that makes them. Out: the same to each stream, which begins with the headers that hold and a keyframe. Nobody waits for a
//! stream that takes nothing: what it misses, up to a keyframe, is its own. Nor does one that ends take anything from the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowcast_rtmp::flv::tag::Tag;

use super::encoder::{Writer, place};
use crate::event::EventKind;
use crate::lap::{Closed, Finish};

/// The streams.
#[derive(Debug, Default)]
pub(super) struct Fan {
    members: Vec<Member>,
    /// Those that hold: of video, of audio, and the metadata.
    headers: Headers,
    /// Something was handed over.
    has_begun: bool,
    /// What is published now, to tell those who come.
    published: Option<EventKind>,
}

type Headers = [Option<Tag>; 3];

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    writer: Writer,
    /// It has the headers, and was given a keyframe.
    joined: bool,
    /// It was given some, and missed others.
    behind: bool,
    missed: Missed,
}

/// How many pictures a stream has missed because too much waited for it.
#[derive(Debug, Default, Clone)]
pub(super) struct Missed(Arc<AtomicU64>);

impl Missed {
    pub(super) fn pictures(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, tags: &[Tag]) {
        let pictures = tags.iter().filter(|tag| tag.is_video() && !tag.is_header()).count();
        self.0.fetch_add(pictures as u64, Ordering::Relaxed);
    }
}

/// Whether a tag says what the others are.
fn is_header(tag: &Tag) -> bool {
    tag.is_sequence_header() || tag.is_metadata()
}

impl Member {
    /// A stream that is written to; what it misses is counted in `missed`.
    pub(super) fn new(writer: Writer, missed: Missed) -> Self {
        Self { writer, joined: false, behind: false, missed }
    }

    fn give(&mut self, headers: &Headers, tags: &[Tag]) -> Result<(), Closed> {
        let (mut tags, mut news) = (tags, Vec::new());
        if !self.joined {
            let has_pictures = headers[0].is_some();
            let begins = |tag: &Tag| match has_pictures {
                true => tag.is_video() && !tag.is_header() && tag.is_keyframe(),
                false => !tag.is_header(),
            };
            let from = tags.iter().position(begins).unwrap_or(tags.len());
            let (before, after) = tags.split_at(from);
            if self.behind {
                self.missed.add(before);
            }
            tags = after;
            news = headers.iter().rev().flatten().cloned().collect();
        }
        if tags.is_empty() {
            return Ok(());
        }
        self.joined = self.writer.offer(news, tags)?;
        self.behind = !self.joined;
        if self.behind {
            self.missed.add(tags);
        }
        Ok(())
    }
}

impl Fan {
    /// Streams come; they begin with the next keyframe.
    pub(super) fn admit(&mut self, members: Vec<Member>) {
        for member in members {
            if let Some(published) = &self.published {
                member.writer.post(published.clone());
            }
            self.members.push(member);
        }
    }

    /// What follows has other headers than what came before, and begins with a keyframe.
    pub(super) fn begin(&mut self, headers: Vec<Tag>) {
        self.headers = [None, None, None];
        for header in headers {
            let place = place(&header);
            self.headers[place] = Some(header);
        }
        self.members.iter_mut().for_each(|member| member.joined = false);
    }

    /// Hands tags over to all. Never waits.
    pub(super) fn give(&mut self, tags: &[Tag]) {
        let mut rest = tags;
        while let Some(first) = rest.first() {
            if is_header(first) {
                self.headers[place(first)] = Some(first.clone());
            }
            // Up to the next header: those who join before it have to be told of the one before.
            let until = rest.iter().skip(1).position(is_header).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at(until);
            let headers = &self.headers;
            self.members.retain_mut(|member| member.give(headers, now).is_ok());
            self.has_begun |= now.iter().any(|tag| tag.is_video() && !tag.is_header());
            rest = later;
        }
    }

    /// Whether pictures were handed over.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Tells all of them.
    pub(super) fn notify(&mut self, notice: &EventKind) {
        match notice {
            EventKind::PublicationBegan { .. } => self.published = Some(notice.clone()),
            EventKind::PublicationEnded { .. } => self.published = None,
            _ => {}
        }
        self.members.iter().for_each(|member| member.writer.post(notice.clone()));
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self, finish: &Finish) {
        self.members.iter_mut().for_each(|member| member.writer.finish(finish.clone()));
    }
}
