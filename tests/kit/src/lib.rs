//! Helpers for the black-box tests: real peers (servers, publishers, players) as child processes, test media, and waiting
//! with deadlines. In: program names and files; out: recordings and their decoded frames.
//!
//! Every test says first what it needs: `if !need(&[Need::Ffmpeg, Need::Nginx]) { return; }`. With
//! `FLOWCAST_PEERS=required` a missing peer fails the test; without, it says `skipped` and why. `scripts/test.sh` installs and
//! requires them all.

pub mod acted;
mod apart;
#[cfg(feature = "libav")]
pub mod bystander;
mod clients;
mod damage;
mod disk;
mod dns;
mod fault;
mod flv;
mod frames;
mod media;
mod need;
mod net;
mod packets;
mod process;
mod receivers;
#[cfg(feature = "libav")]
pub mod rig;
mod role;
pub mod scripted;
mod servers;
mod session;
mod tls;
mod turn;
mod web;

pub use apart::{Apart, nft, tc, uptime};
pub use clients::{
    ffmpeg_play, ffmpeg_publish, gst_play, gst_publish, librtmp_publish, peer_play, peer_publish, rtmpdump,
};
pub use damage::damage;
pub use disk::SmallDisk;
pub use dns::SilentDns;
pub use fault::FaultProxy;
pub use flv::{flv_tags, whole_flv_tags, write_flv};
pub use frames::{Decoded, Laps, Shown, decode, frame_hashes, laps, packet_count, shown};
pub use media::{Clip, box_at, make, media, remux};
pub use need::{Need, faketime, ffmpeg7, need};
pub use net::{listening, own_address, wait_closed, wait_for, wait_until};
pub use packets::{PacketTime, packet_hashes, packet_times, sound_laps};
pub use process::{Peer, directory, example, files, run, text};
pub use receivers::{Icecast, RtspServer, SrtListener, UdpQueue, bound_udp, python, udp_queue};
pub use role::{alone, ran, role_arguments, run_alone};
pub use servers::{FfmpegListen, Nginx, PeerServer, RedisServer};
pub use session::{Session, tcp, tls_stream, tls_stream_of};
pub use tls::{Authority, Identity, TlsProxy};
pub use turn::turn;
pub use web::Web;

use std::path::Path;
use std::time::Duration;

/// Enough for any peer to start, answer or stop on a busy machine. Waiting ends as soon as the condition holds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the checkout is.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the kit is in tests/kit")
}
