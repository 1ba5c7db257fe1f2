//! Outputs of every kind, refused, stalled and slow, beside two that have no fault: those lose no frame.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use flowcast::stats::{OutputPhase, OutputStats};
use flowcast::{Config, Output, OutputId, StreamRef};

use crate::{Witness, stop_within};
use kit::rig::{Known, engine, push, quickly};
use kit::scripted::{Script, Scripted};
use kit::{
    Apart, Icecast, Need, PATIENCE, RtspServer, SmallDisk, SrtListener, alone, need, nft, own_address,
    wait_until,
};

/// Each step of connecting, and how far a peer may be behind.
const STEP: Duration = Duration::from_secs(1);
/// How long each fault lasts.
const LENGTH: Duration = Duration::from_secs(12);

const PEERS: [Need; 3] = [Need::Srt, Need::Icecast, Need::RtspServer];

fn impatient(config: &mut Config) {
    let connect = &mut config.connect;
    for step in
        [&mut connect.dns, &mut connect.tcp, &mut connect.tls, &mut connect.handshake, &mut connect.reply]
    {
        *step = STEP;
    }
    config.lag.drop_after = STEP;
    config.lag.disconnect_after = 2 * STEP;
    config.lag.stall_after = 3 * STEP;
}

/// The outputs that have a fault, by their kind.
struct Faulty<'a> {
    live: &'a StreamRef,
    outputs: Vec<(&'static str, OutputId)>,
}

impl Faulty<'_> {
    fn add(&mut self, kind: &'static str, output: Output) -> OutputId {
        let id = self.live.add_output(output.label(kind)).expect("it is added");
        self.outputs.push((kind, id));
        id
    }

    fn stats(&self, id: OutputId) -> Option<OutputStats> {
        self.live.stats().outputs.into_iter().find(|output| output.id == id)
    }

    fn print(&self) {
        for (kind, id) in &self.outputs {
            match self.stats(*id) {
                Some(it) => println!(
                    "  {kind}: {}, {} failures, {} drops, {} bytes, last error {:?}",
                    it.phase.as_str(),
                    it.failures,
                    it.drops,
                    it.bytes_sent,
                    it.last_error.as_ref().map(|error| error.code)
                ),
                None => println!("  {kind}: ended"),
            }
        }
    }
}

fn url(url: &str) -> Output {
    Output::url(url).reconnect(quickly())
}

fn watch(witness: &mut Witness, live: &StreamRef) {
    let end = Instant::now() + LENGTH;
    witness.watch(live, LENGTH, || Instant::now() >= end);
}

#[test]
fn outputs_of_every_kind_that_are_refused_harm_no_other() {
    if !need(&[Need::Icecast]) {
        return;
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(impatient);
    let icecast = Icecast::start();
    let live = witness.start(&engine, &clip, None);
    let mut faulty = Faulty { live: &live, outputs: Vec::new() };
    let closed = own_address();
    let tried = [
        faulty.add("rtmp", Output::rtmp(&format!("rtmp://{closed}/live"), "key")),
        faulty.add("rtmps", Output::rtmp(&format!("rtmps://{closed}/live"), "key")),
        faulty.add("srt", url(&format!("srt://{closed}"))),
        faulty.add("icecast", url(&format!("icecast://source:hush-hush@{closed}/live.aac"))),
        faulty.add("rtsp", url(&format!("rtsp://{closed}/live"))),
    ];
    let udp = faulty.add("udp", url(&format!("udp://{closed}")));
    // A directory cannot be where a file is.
    let refused = live.add_output(Output::hls(clip.file.join("hls").as_path())).map_err(|error| error.code());
    assert_eq!(refused.err(), Some("HLS_FAILED"));
    let wrong = faulty.add("icecast, wrong password", url(&icecast.source_url("wrong-wrong", "live.aac")));
    watch(&mut witness, &live);
    let failed = |id| faulty.stats(id).is_some_and(|it| it.failures > 0 && it.phase != OutputPhase::Ended);
    assert!(wait_until(PATIENCE, || tried.iter().all(|id| failed(*id))), "{}", live.stats());
    faulty.print();
    // Nobody says that there is nobody.
    assert!(faulty.stats(udp).is_some_and(|it| it.phase == OutputPhase::Live && it.bytes_sent > 0));
    assert!(faulty.stats(wrong).is_none_or(|it| it.phase == OutputPhase::Ended));
    stop_within(live, Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}

#[test]
fn outputs_of_every_kind_that_stall_and_a_full_disk_harm_no_other() {
    if !need(&PEERS) {
        return;
    }
    let Some(disk) = SmallDisk::mount() else { return };
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(impatient);
    let (deaf, mute) = (Scripted::start(Script::Deaf), Scripted::start(Script::Mute));
    let (mut srt, mut icecast, mut rtsp) =
        (SrtListener::start("latency=200"), Icecast::start(), RtspServer::start());
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let live = witness.start(&engine, &clip, None);
    let mut faulty = Faulty { live: &live, outputs: Vec::new() };
    let pushes = [
        faulty.add("rtmp", push(&deaf)),
        faulty.add("rtmps", Output::rtmp(&mute.url().replace("rtmp://", "rtmps://"), "key")),
    ];
    let srt_output = faulty.add("srt", url(&format!("srt://{}?latency=200000", srt.address())));
    let others = [
        faulty.add("icecast", url(&icecast.source_url("hush-hush", "live.aac"))),
        faulty.add("rtsp", url(&rtsp.url("live"))),
        faulty.add("udp", url(&format!("udp://{}", udp.local_addr().expect("it is bound")))),
    ];
    let full = faulty.add("record", Output::record(disk.path().join("full.flv")));
    let hls = faulty.add("hls", Output::hls(disk.path().join("hls").as_path()));
    let sends = |id: &OutputId| {
        faulty.stats(*id).is_some_and(|it| it.phase == OutputPhase::Live && it.bytes_sent > 0)
    };
    let are_on_air = || others.iter().chain([&srt_output]).all(sends);
    assert!(witness.watch(&live, PATIENCE, are_on_air), "{}", live.stats());
    srt.process().freeze();
    icecast.process().freeze();
    rtsp.process().freeze();
    let hls_fails = || faulty.stats(hls).is_some_and(|it| it.failures > 0 && it.phase != OutputPhase::Ended);
    watch(&mut witness, &live);
    let failed = |id: OutputId| faulty.stats(id).is_some_and(|it| it.failures > 0);
    // What the kernel takes for a server that has stopped reading sound is many seconds of it.
    assert!(
        wait_until(PATIENCE, || pushes.iter().chain([&srt_output]).all(|id| failed(*id))),
        "{}",
        live.stats()
    );
    assert!(
        wait_until(PATIENCE * 2, || faulty.stats(full).is_none_or(|it| it.phase == OutputPhase::Ended)),
        "the disk is not full: {}",
        live.stats()
    );
    // It loses segments, and waits for room.
    assert!(wait_until(PATIENCE, hls_fails), "{}", live.stats());
    faulty.print();
    stop_within(live, Duration::from_secs(5));
    witness.assert_unharmed(&clip);
}

#[test]
fn outputs_of_every_kind_that_are_slow_harm_no_other() {
    if !alone("slow-kinds") {
        if need(&[Need::Apart(Apart::Network)]) && need(&PEERS) {
            let test = "protocols::outputs_of_every_kind_that_are_slow_harm_no_other";
            print!("{}", Apart::Network.run("slow-kinds", test, Duration::from_secs(120)));
        }
        return;
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(impatient);
    let rtmp = Scripted::start(Script::Record);
    let (srt, icecast, rtsp) = (SrtListener::start("latency=200"), Icecast::start(), RtspServer::start());
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let udp_address = udp.local_addr().expect("it is bound");
    let live = witness.start(&engine, &clip, None);
    let mut faulty = Faulty { live: &live, outputs: Vec::new() };
    let ids = [
        faulty.add("rtmp", push(&rtmp)),
        faulty.add("srt", url(&format!("srt://{}?latency=200000", srt.address()))),
        faulty.add("rtsp", url(&rtsp.url("live"))),
        faulty.add("udp", url(&format!("udp://{udp_address}"))),
        faulty.add("icecast", url(&icecast.source_url("hush-hush", "live.aac"))),
    ];
    let sends = |id: &OutputId| {
        faulty.stats(*id).is_some_and(|it| it.phase == OutputPhase::Live && it.bytes_sent > 0)
    };
    assert!(witness.watch(&live, PATIENCE, || ids.iter().all(sends)), "{}", live.stats());
    // Beyond this rate every packet is dropped: less than any of the streams has.
    nft("add table inet slow");
    nft("add chain inet slow passing { type filter hook input priority 0; }");
    let ports = [rtmp.address(), rtsp.address(), icecast.address()].map(|address| ("tcp", address.port()));
    for (kind, port) in ports.into_iter().chain([("udp", srt.address().port()), ("udp", udp_address.port())])
    {
        nft(&format!("add rule inet slow passing {kind} dport {port} limit rate over 4 kbytes/second drop"));
    }
    watch(&mut witness, &live);
    faulty.print();
    let suffers = |it: OutputStats| it.failures > 0 || it.drops > 0 || !it.lag.is_zero();
    assert!(faulty.stats(ids[0]).is_some_and(suffers), "{}", live.stats());
    stop_within(live, Duration::from_secs(5));
    witness.assert_unharmed(&clip);
}
