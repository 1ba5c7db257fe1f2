//! Helpers for the black-box tests: real peers (servers, publishers, players) as child processes, test media, and waiting
//! with deadlines. In: program names and files; out: recordings and their decoded frames.
//!
//! Every test says first what it needs: `if !need(&[Need::Ffmpeg, Need::Nginx]) { return; }`. With
//! `FLOWCAST_PEERS=required` a missing peer fails the test; without, it says `skipped` and why. `scripts/test.sh` installs and
//! requires them all.

#![allow(dead_code, unused_imports, reason = "each test uses its own part of these helpers")]

pub(crate) mod acted;
#[cfg(feature = "libav")]
pub(crate) mod bystander;
mod clients;
mod damage;
mod disk;
mod dns;
mod fault;
mod frames;
mod media;
mod need;
mod net;
mod packets;
mod process;
#[cfg(feature = "libav")]
pub(crate) mod rig;
pub(crate) mod scripted;
mod servers;
mod session;
mod tls;

pub(crate) use clients::{
    FfmpegPlay, FfmpegPublish, GstPlay, GstPublish, LibrtmpPublish, PeerClient, Rtmpdump, ffmpeg_play,
    ffmpeg_publish, gst_play, gst_publish, librtmp_publish, peer_play, peer_publish, rtmpdump,
};
pub(crate) use damage::damage;
pub(crate) use disk::SmallDisk;
pub(crate) use dns::SilentDns;
pub(crate) use fault::FaultProxy;
pub(crate) use frames::{Laps, decode, frame_hashes, laps, packet_count};
pub(crate) use media::{Clip, media, remux};
pub(crate) use need::{Need, ffmpeg7, need};
pub(crate) use net::{free_port, listening, wait_closed, wait_until};
pub(crate) use packets::{PacketTime, packet_hashes, packet_times, sound_laps};
pub(crate) use process::{Peer, directory, files, run, text};
pub(crate) use servers::{FfmpegListen, Nginx, PeerServer};
pub(crate) use session::{Session, tcp, tls_stream, tls_stream_of};
pub(crate) use tls::{Authority, Identity, TlsProxy};

use std::time::Duration;

/// Enough for any peer to start, answer or stop on a busy machine. Waiting ends as soon as the condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
