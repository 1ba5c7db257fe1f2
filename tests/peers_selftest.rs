//! The peers against each other, without flowcast: what fails here is not flowcast's doing.

use kit::{
    Clip, FaultProxy, FfmpegListen, Identity, Need, Nginx, PATIENCE, Peer, PeerServer, SilentDns, TlsProxy,
    alone, example, ffmpeg_play, ffmpeg_publish, frame_hashes, gst_play, gst_publish, laps, librtmp_publish,
    media, need, packet_count, peer_play, peer_publish, remux, role_arguments, rtmpdump, wait_until,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

fn clip(clip: Clip) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let file = clip.make(directory.path(), "clip.flv");
    (directory, file)
}

/// The recording is two laps of the file, from its first frame to its last.
fn assert_two_laps(recording: &Path, file: &Path) {
    let (recorded, frames) = (frame_hashes(recording), frame_hashes(file));
    let found = laps(&recorded, &frames).unwrap_or_else(|why| panic!("{}: {why}", recording.display()));
    assert_eq!((found.first, found.seams, recorded.len()), (0, 1, 2 * frames.len()), "{found}");
}

/// The recording is the whole file, once.
fn assert_same_frames(recording: &Path, file: &Path) {
    assert_eq!(frame_hashes(recording), frame_hashes(file));
}

#[test]
fn nginx_records_what_ffmpeg_publishes() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let nginx = Nginx::start(&["live", "other"]);
    for (app, b_frames) in [("live", 0), ("other", 2)] {
        let (_directory, file) = clip(Clip { b_frames, ..Clip::default() });
        ffmpeg_publish(&file, &nginx.url(app, "key"), 2).wait_success(PATIENCE);
        assert_two_laps(&nginx.recording(app, "key"), &file);
    }
}

#[test]
fn nginx_comes_back_at_its_address() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let (_directory, file) = clip(Clip { seconds: 1, ..Clip::default() });
    let mut nginx = Nginx::start(&["live"]);
    nginx.kill();
    assert!(TcpStream::connect(nginx.address).is_err());
    nginx.restart();
    ffmpeg_publish(&file, &nginx.url("live", "key"), 1).wait_success(PATIENCE);
    assert_same_frames(&nginx.recording("live", "key"), &file);
}

#[test]
fn ffmpeg_records_what_ffmpeg_publishes() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (_directory, file) = clip(Clip::default());
    let mut listener = FfmpegListen::start("live", "key");
    ffmpeg_publish(&file, &listener.url, 2).wait_success(PATIENCE);
    assert_two_laps(listener.finish(PATIENCE), &file);
}

fn peer_server_records(server: &'static str) {
    if !need(&[Need::Ffmpeg, Need::Peer(server)]) {
        return;
    }
    let (_directory, file) = clip(Clip::default());
    let mut server = PeerServer::start(server);
    ffmpeg_publish(&file, &server.url("live", "key"), 2).wait_success(PATIENCE);
    let recording = server.recording("live", "key");
    assert_two_laps(&recording, &file);
    assert_eq!(packet_count(&recording, "a"), 2 * packet_count(&file, "a"));
}

#[test]
fn xiu_records_what_ffmpeg_publishes() {
    peer_server_records("xiu_server");
}

#[test]
fn rml_records_what_ffmpeg_publishes() {
    peer_server_records("rml_server");
}

#[test]
fn every_server_records_footage_without_b_frames() {
    every_server_records("bigbuckbunny.mp4");
}

#[test]
fn every_server_records_footage_without_sound() {
    every_server_records("carphone_pristine.mp4");
}

fn every_server_records(file: &'static str) {
    let needs =
        [Need::Ffmpeg, Need::Nginx, Need::Peer("xiu_server"), Need::Peer("rml_server"), Need::Media(file)];
    if !need(&needs) {
        return;
    }
    let file = media(file).expect("a file that is there");
    let nginx = Nginx::start(&["live"]);
    let mut listener = FfmpegListen::start("live", "key");
    let (mut xiu, mut rml) = (PeerServer::start("xiu_server"), PeerServer::start("rml_server"));
    let urls =
        [nginx.url("live", "key"), listener.url.clone(), xiu.url("live", "key"), rml.url("live", "key")];
    let publishers = urls.map(|url| ffmpeg_publish(&file, &url, 2));
    for mut publisher in publishers {
        publisher.wait_success(PATIENCE);
    }
    assert_two_laps(&nginx.recording("live", "key"), &file);
    assert_two_laps(listener.finish(PATIENCE), &file);
    assert_two_laps(&xiu.recording("live", "key"), &file);
    assert_two_laps(&rml.recording("live", "key"), &file);
}

fn nginx_records(needs: &[Need], publish: impl Fn(&Path, &str) -> Peer) {
    if !need(&[Need::Ffmpeg, Need::Nginx]) || !need(needs) {
        return;
    }
    let (_directory, file) = clip(Clip::default());
    let nginx = Nginx::start(&["live"]);
    let mut publisher = publish(&file, &nginx.url("live", "key"));
    publisher.wait_success(PATIENCE);
    let recording = nginx.recording("live", "key");
    assert_eq!(frame_hashes(&recording), frame_hashes(&file), "{}", publisher.report());
    assert!(packet_count(&recording, "a") + 2 >= packet_count(&file, "a"), "{}", publisher.report());
}

#[test]
fn nginx_records_what_gstreamer_publishes() {
    nginx_records(&[Need::Gstreamer], gst_publish);
}

#[test]
fn nginx_records_what_librtmp_publishes() {
    nginx_records(&[Need::Peer("librtmp_publish")], librtmp_publish);
}

#[test]
fn nginx_records_what_xiu_publishes() {
    nginx_records(&[Need::Peer("xiu_client")], |file, url| peer_publish("xiu_client", file, url));
}

#[test]
fn nginx_records_what_rml_publishes() {
    nginx_records(&[Need::Peer("rml_client")], |file, url| peer_publish("rml_client", file, url));
}

/// A player joins while ffmpeg publishes a loop; what it wrote is the file's frames from some frame on.
fn plays_from_nginx(needs: &[Need], play: impl Fn(&str, &Path) -> Peer) {
    if !need(&[Need::Ffmpeg, Need::Nginx]) || !need(needs) {
        return;
    }
    let (directory, file) = clip(Clip::default());
    let nginx = Nginx::start(&["live"]);
    let url = nginx.url("live", "key");
    // Until it is killed: a player may take long to start.
    let mut publisher = ffmpeg_publish(&file, &url, 500);
    assert!(wait_until(PATIENCE, || !nginx.recordings("live", "key").is_empty()), "{}", publisher.report());
    let played = directory.path().join("played.flv");
    let mut player = play(&url, &played);
    let enough = || std::fs::metadata(&played).is_ok_and(|facts| facts.len() > 100_000);
    assert!(wait_until(PATIENCE, enough), "{}", player.report());
    player.interrupt(PATIENCE);
    publisher.kill();
    let (recorded, frames) = (kit::decode(&played).frames, frame_hashes(&file));
    let found = laps(&recorded, &frames).unwrap_or_else(|why| panic!("{why}\n{}", player.report()));
    assert_eq!(found.first % 25, 0, "{found}: it must begin with a keyframe");
}

#[test]
fn ffmpeg_plays_from_nginx() {
    plays_from_nginx(&[], |url, file| ffmpeg_play(url, file, None));
}

#[test]
fn rtmpdump_plays_from_nginx() {
    plays_from_nginx(&[Need::Rtmpdump], |url, file| rtmpdump(url, file, None));
}

#[test]
fn gstreamer_plays_from_nginx() {
    plays_from_nginx(&[Need::Gstreamer], gst_play);
}

#[test]
fn xiu_plays_from_nginx() {
    plays_from_nginx(&[Need::Peer("xiu_client")], |url, file| peer_play("xiu_client", url, file));
}

#[test]
fn rml_plays_from_nginx() {
    plays_from_nginx(&[Need::Peer("rml_client")], |url, file| peer_play("rml_client", url, file));
}

/// Whether `openssl` takes the proxy for `localhost` when it trusts the test's authority.
fn is_trusted(proxy: &TlsProxy) -> bool {
    let status = Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            "-servername",
            "localhost",
        ])
        .arg("-CAfile")
        .arg(proxy.trusted())
        .arg("-connect")
        .arg(proxy.address.to_string())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl")
        .status;
    status.success()
}

#[test]
fn tls_proxy_is_who_it_should_be() {
    if !need(&[Need::Ffmpeg, Need::Nginx, Need::Stunnel, Need::Openssl]) {
        return;
    }
    let nginx = Nginx::start(&["live"]);
    assert!(!is_trusted(&TlsProxy::start(nginx.address, Identity::WrongAuthority)));
    assert!(!is_trusted(&TlsProxy::start(nginx.address, Identity::WrongHost)));
    let proxy = TlsProxy::start(nginx.address, Identity::Right);
    assert!(is_trusted(&proxy));
    let (_directory, file) = clip(Clip { seconds: 1, ..Clip::default() });
    ffmpeg_publish(&file, &proxy.url("live", "key"), 1).wait_success(PATIENCE);
    assert_same_frames(&nginx.recording("live", "key"), &file);
}

/// A connection through a fault proxy to a server that keeps its end open: the proxy, and both ends.
fn through_a_fault_proxy() -> (FaultProxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let proxy = FaultProxy::start(listener.local_addr().expect("an address"));
    let client = TcpStream::connect(proxy.address()).expect("the proxy");
    let (server, _) = listener.accept().expect("the proxy's connection");
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    }
    (proxy, client, server)
}

fn read(end: &mut TcpStream) -> Result<usize, ErrorKind> {
    end.read(&mut [0; 16]).map_err(|error| error.kind())
}

#[test]
fn fault_proxy_stalls_and_resumes() {
    let (proxy, mut client, mut server) = through_a_fault_proxy();
    client.write_all(b"one").expect("an open connection");
    assert_eq!(read(&mut server), Ok(3));
    proxy.stall();
    // What the pump was already waiting for may still pass: let it.
    client.write_all(b"two").expect("an open connection");
    let passed = read(&mut server);
    client.write_all(b"three").expect("an open connection");
    assert!(passed == Ok(3) || passed == Err(ErrorKind::WouldBlock), "{passed:?}");
    assert_eq!(read(&mut server), Err(ErrorKind::WouldBlock));
    proxy.resume();
    assert!(wait_until(PATIENCE, || proxy.bytes_from_clients() == 11));
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn fault_proxy_resets_finishes_and_refuses() {
    let (proxy, mut client, mut server) = through_a_fault_proxy();
    proxy.finish();
    assert_eq!(read(&mut client), Ok(0));
    proxy.reset();
    assert!(wait_until(PATIENCE, || read(&mut server) == Err(ErrorKind::ConnectionReset)));
    assert!(wait_until(PATIENCE, || client.write(b"x").is_err()));
    proxy.refuse(true);
    let refused = |address: SocketAddr| TcpStream::connect(address).map(|mut end| read(&mut end));
    assert!(matches!(refused(proxy.address()), Ok(Err(ErrorKind::ConnectionReset)) | Err(_)));
    let (proxy, client, mut server) = through_a_fault_proxy();
    client.shutdown(Shutdown::Both).expect("an open connection");
    assert_eq!(read(&mut server), Ok(0));
    drop(proxy);
}

#[test]
fn silent_dns_keeps_a_program_waiting() {
    if !need(&[Need::SilentDns]) {
        return;
    }
    let dns = SilentDns::start();
    let mut lookup = dns.spawn(Path::new("getent"), &["hosts", "flowcast.invalid"]);
    assert!(wait_until(PATIENCE, || dns.was_asked()), "{}", lookup.report());
    assert!(lookup.is_running());
}

#[test]
fn containers_hold_the_same_frames() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (directory, file) = clip(Clip::default());
    for name in ["clip.mp4", "clip.mkv", "clip.ts", "clip.mov"] {
        assert_same_frames(&remux(&file, directory.path(), name), &file);
    }
    if let Some(real) = media("bigbuckbunny.mp4") {
        assert_same_frames(&remux(&real, directory.path(), "real.flv"), &real);
    }
}

#[test]
fn laps_are_told_from_mistakes() {
    let hashes = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    let file = hashes("abcdefgh");
    let whole = laps(&hashes("abcdefghabcdefgh"), &file).expect("two laps");
    assert_eq!((whole.first, whole.seams, whole.cut), (0, 1, 0));
    let joined = laps(&hashes("efghabcdefghab"), &file).expect("a late start");
    assert_eq!((joined.first, joined.seams), (4, 2));
    let cut = laps(&hashes("abcdefghabcdg"), &file).expect("an open end");
    assert_eq!((cut.first, cut.seams, cut.cut), (0, 1, 1));
    for wrong in ["abcdefghbcdefghabc", "abcdefghaabcdefgh", "abcefghabcdefgh", ""] {
        assert!(laps(&hashes(wrong), &file).is_err(), "{wrong}");
    }
}

#[test]
fn a_peer_dies_with_its_handle() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let listener = FfmpegListen::start("live", "key");
    let address = listener.address;
    let is_free = || TcpListener::bind(address).is_ok();
    assert!(!is_free());
    drop(listener);
    assert!(is_free());
}

#[test]
fn an_example_that_is_not_built_fails_its_test_where_nothing_may_be_missing() {
    if alone("example") {
        assert_eq!(example("none-of-this-name"), None);
        return;
    }
    let test = "an_example_that_is_not_built_fails_its_test_where_nothing_may_be_missing";
    let (program, arguments) = role_arguments("example", test);
    for (peers, ends_well) in [("required", false), ("as they are", true)] {
        let peers = format!("FLOWCAST_PEERS={peers}");
        let mut alone =
            Peer::spawn(&program, [peers.as_str()].into_iter().chain(arguments.iter().map(String::as_str)));
        assert_eq!(alone.wait(PATIENCE).success(), ends_well, "{peers}");
        assert!((alone.output() + &alone.errors()).contains("the example none-of-this-name is not built"));
    }
}
