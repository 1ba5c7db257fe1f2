//! What is made once goes to all streams that want it.
//!
//! In: tags, from the thread that makes them. Out: the same to each stream, which begins with the headers that hold and a keyframe. A stream that
//! ends takes nothing from the others.

use flowcast_rtmp::flv::tag::Tag;

use crate::event::EventKind;
use crate::lap::{Closed, Finish};
use crate::publish::encoder::{Writer, place};

/// The streams.
#[derive(Debug, Default)]
pub(super) struct Fan {
    members: Vec<Member>,
    /// Those that hold: of video, of audio, and the metadata.
    headers: [Option<Tag>; 3],
    /// Something was handed over.
    has_begun: bool,
}

#[derive(Debug)]
struct Member {
    writer: Writer,
    /// It has the headers, and was given a keyframe.
    joined: bool,
}

impl Member {
    fn give(&mut self, headers: &[Option<Tag>; 3], tags: &[Tag]) -> Result<(), Closed> {
        if self.joined {
            return self.writer.hand_over(tags.iter().cloned());
        }
        let begins = |tag: &Tag| tag.is_video() && !tag.is_header() && tag.is_keyframe();
        let Some(from) = tags.iter().position(begins) else { return Ok(()) };
        let Some(tags) = tags.get(from..) else { return Ok(()) };
        if let Some(first) = tags.first() {
            self.writer.tell(headers.iter().rev().flatten().cloned().collect(), first.timestamp)?;
        }
        self.joined = true;
        self.writer.hand_over(tags.iter().cloned())
    }
}

impl Fan {
    /// Streams come; they begin with the next keyframe.
    pub(super) fn admit(&mut self, writers: Vec<Writer>) {
        self.members.extend(writers.into_iter().map(|writer| Member { writer, joined: false }));
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

    /// Hands tags over to all.
    ///
    /// # Blocking
    ///
    /// While the queue of one of the streams is full.
    pub(super) fn give(&mut self, tags: &[Tag]) {
        let mut rest = tags;
        while let Some(first) = rest.first() {
            if first.is_sequence_header() || first.is_metadata() {
                self.headers[place(first)] = Some(first.clone());
            }
            // Up to the next header: those who join before it have to be told of the one before.
            let is_header = |tag: &Tag| tag.is_sequence_header() || tag.is_metadata();
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
    pub(super) fn notify(&self, notice: &EventKind) {
        self.members.iter().for_each(|member| member.writer.notify(notice.clone()));
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self, finish: &Finish) {
        self.members.iter_mut().for_each(|member| member.writer.finish(finish.clone()));
    }
}
