//! Protocol control and user control messages
//! ([RTMP 1.0, sections 5.4](https://rtmp.veriskope.com/docs/spec/#54protocol-control-messages) and
//! [7.1.7](https://rtmp.veriskope.com/docs/spec/#717user-control-message-events)).

use bytes::{BufMut, Bytes, BytesMut};

/// Message type ids.
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data, AMF3.
    pub const DATA_AMF3: u8 = 15;
    /// Shared object, AMF3.
    pub const SHARED_OBJECT_AMF3: u8 = 16;
    /// Command, AMF3.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data, AMF0.
    pub const DATA: u8 = 18;
    /// Shared object, AMF0.
    pub const SHARED_OBJECT: u8 = 19;
    /// Command, AMF0.
    pub const COMMAND: u8 = 20;
    /// Aggregate: several FLV tags in one message.
    pub const AGGREGATE: u8 = 22;
}

/// A message about the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Chunks hold this many bytes of payload from now on.
    SetChunkSize(u32),
    /// Forget the unfinished message of this chunk stream.
    Abort(u32),
    /// This many bytes were received since the connection began, modulo 2^32.
    Acknowledgement(u32),
    /// Acknowledge at least once per this many bytes.
    WindowAckSize(u32),
    /// Send no more than this many unacknowledged bytes.
    SetPeerBandwidth {
        /// Window, bytes.
        window: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit: u8,
    },
    /// A user control event.
    User(UserControl),
}

/// An event of a User Control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserControl {
    /// The message stream is ready.
    StreamBegin(u32),
    /// Playback of the message stream is over.
    StreamEof(u32),
    /// No more data for now.
    StreamDry(u32),
    /// The client buffers this much.
    SetBufferLength {
        /// Message stream.
        stream_id: u32,
        /// Buffer, milliseconds.
        millis: u32,
    },
    /// The message stream is a recording.
    StreamIsRecorded(u32),
    /// Are you there? Time of the asker, milliseconds.
    PingRequest(u32),
    /// Here I am; repeats the time of the request.
    PingResponse(u32),
    /// Any other event.
    Other(u16),
}

impl Control {
    /// Reads the body of a message of type 1 to 6; `None` for another type or a body that is too short.
    #[must_use]
    pub fn parse(type_id: u8, body: &[u8]) -> Option<Self> {
        let value = |at: usize| -> Option<u32> {
            body.get(at..)?.first_chunk::<4>().copied().map(u32::from_be_bytes)
        };
        Some(match type_id {
            type_id::SET_CHUNK_SIZE => Self::SetChunkSize(value(0)?),
            type_id::ABORT => Self::Abort(value(0)?),
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(value(0)?),
            type_id::WINDOW_ACK_SIZE => Self::WindowAckSize(value(0)?),
            type_id::SET_PEER_BANDWIDTH => {
                Self::SetPeerBandwidth { window: value(0)?, limit: body.get(4).copied().unwrap_or(2) }
            }
            type_id::USER_CONTROL => {
                let event = body.first_chunk::<2>().copied().map(u16::from_be_bytes)?;
                Self::User(match event {
                    0 => UserControl::StreamBegin(value(2)?),
                    1 => UserControl::StreamEof(value(2)?),
                    2 => UserControl::StreamDry(value(2)?),
                    3 => UserControl::SetBufferLength { stream_id: value(2)?, millis: value(6)? },
                    4 => UserControl::StreamIsRecorded(value(2)?),
                    6 => UserControl::PingRequest(value(2)?),
                    7 => UserControl::PingResponse(value(2)?),
                    other => UserControl::Other(other),
                })
            }
            _ => return None,
        })
    }

    /// Type id and body.
    #[must_use]
    pub fn encode(&self) -> (u8, Bytes) {
        let mut body = BytesMut::with_capacity(10);
        let type_id = match *self {
            Self::SetChunkSize(value) => put(&mut body, value, type_id::SET_CHUNK_SIZE),
            Self::Abort(value) => put(&mut body, value, type_id::ABORT),
            Self::Acknowledgement(value) => put(&mut body, value, type_id::ACKNOWLEDGEMENT),
            Self::WindowAckSize(value) => put(&mut body, value, type_id::WINDOW_ACK_SIZE),
            Self::SetPeerBandwidth { window, limit } => {
                body.put_u32(window);
                body.put_u8(limit);
                type_id::SET_PEER_BANDWIDTH
            }
            Self::User(event) => {
                event.encode(&mut body);
                type_id::USER_CONTROL
            }
        };
        (type_id, body.freeze())
    }
}

impl UserControl {
    fn encode(self, body: &mut BytesMut) {
        let (event, value) = match self {
            Self::StreamBegin(id) => (0, id),
            Self::StreamEof(id) => (1, id),
            Self::StreamDry(id) => (2, id),
            Self::SetBufferLength { stream_id, .. } => (3, stream_id),
            Self::StreamIsRecorded(id) => (4, id),
            Self::PingRequest(time) => (6, time),
            Self::PingResponse(time) => (7, time),
            Self::Other(event) => (event, 0),
        };
        body.put_u16(event);
        body.put_u32(value);
        if let Self::SetBufferLength { millis, .. } = self {
            body.put_u32(millis);
        }
    }
}

fn put(body: &mut BytesMut, value: u32, type_id: u8) -> u8 {
    body.put_u32(value);
    type_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_round_trip() {
        for control in [
            Control::SetChunkSize(60_000),
            Control::Abort(4),
            Control::Acknowledgement(u32::MAX),
            Control::WindowAckSize(2_500_000),
            Control::SetPeerBandwidth { window: 2_500_000, limit: 2 },
            Control::User(UserControl::StreamBegin(1)),
            Control::User(UserControl::StreamEof(1)),
            Control::User(UserControl::StreamDry(1)),
            Control::User(UserControl::SetBufferLength { stream_id: 1, millis: 3000 }),
            Control::User(UserControl::StreamIsRecorded(1)),
            Control::User(UserControl::PingRequest(77)),
            Control::User(UserControl::PingResponse(77)),
        ] {
            let (type_id, body) = control.encode();
            assert_eq!(Control::parse(type_id, &body), Some(control));
            for end in 0..body.len() {
                let cut = Control::parse(type_id, body.get(..end).unwrap_or_default());
                // The limit type of Set Peer Bandwidth is left out by some servers.
                assert!(cut.is_none() || cut == Some(control), "{control:?} cut at {end}");
            }
        }
    }
}
