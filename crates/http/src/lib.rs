//! HTTP for flowcast: what runs on an engine, seen and steered from elsewhere.
//!
//! [`router`] gives a router for axum, to be nested in a program's own server; [`serve`] is a server for programs that have none. Both have the same places:
//!
//! | | |
//! |---|---|
//! | `/` | a page for people (feature `page`): what runs, with buttons for it |
//! | `/healthz`, `/readyz` | whether the engine is alive, and takes new streams |
//! | `/metrics` | figures for Prometheus |
//! | `/api/v1/…` | streams, outputs, playlists, keys, schedules, recordings, capacity, verdicts, other machines; events and figures as they come |
//! | `/live/NAME.flv`, `/live/NAME/index.m3u8`, `/live/NAME.jpg`, `/live/NAME.json` | what is on the air under a name: HTTP-FLV, HLS, a picture, what is playing |
//! | `/openapi.json` | the document of all that ([`openapi`]) |
//!
//! # Who may
//!
//! Nobody, until the program gives out [`Token`]s ([`Options::tokens`]), each with [`Scope`]s. Clients send them as `Authorization: Bearer …`. A wrong one
//! is answered late, and an address that sends many is turned away for a while, as on the RTMP server. What is under `/live` follows the rules of
//! the stream keys. Who may operate may have the server read and write any file that the process can, and send to any address: give that scope as
//! you would give a login.
//!
//! # Threads
//!
//! The engine's streams do not know of any of this. Handlers run on a tokio runtime: that of the program, or one of two threads that [`serve`] starts. Calls
//! of the engine that block run where the runtime lets code block, at most 64 at a time. A stream that is played by HTTP-FLV is written once, on
//! its own thread, for all its players; a client that does not read costs its connection, and no other client anything.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![allow(unused_qualifications, reason = "utoipa's macro writes paths in full")]

mod answer;
mod api;
mod cluster;
mod document;
mod error;
mod events;
mod figures;
mod guard;
mod house;
mod keys;
mod live;
mod metrics;
mod options;
#[cfg(feature = "page")]
mod page;
mod probes;
mod problem;
mod request;
mod router;
mod saving;
mod serve;
mod tokens;
mod views;

pub use cluster::{
    Cluster, ClusterBudget, ClusterError, ClusterNode, ClusterNodeState, ClusterReason, ClusterRoom,
    ClusterStream, ClusterStreamState,
};
pub use error::Error;
pub use keys::KeyBook;
pub use options::Options;
pub use router::{openapi, router};
pub use serve::{HttpServer, serve};
pub use tokens::{Scope, Token};

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The programs in docs/jobs/http.md, compiled as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs/http.md")]
mod job {}
