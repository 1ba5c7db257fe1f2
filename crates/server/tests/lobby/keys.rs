//! Keys, their rules, and who may play.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use flowcast_core::{Asker, BitRate, Config, Denial, Engine, Grant, KeyRules, KeyStore, Play};
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{RefusalReason, RtmpServerExt};

use crate::support::{Studio, header, picture, wait_until};

const BAD_NAME: &str = "NetStream.Publish.BadName";
const PLAY_FAILED: &str = "NetStream.Play.Failed";

#[test]
fn a_key_works_from_its_addresses_only_and_looks_unknown_elsewhere() {
    let studio = Studio::start(|server| server);
    let rules = KeyRules::new().publish_from(["127.0.0.2/32".parse().unwrap()]);
    studio.engine.keys().add_with("studio", "good-key", rules).unwrap();
    let from = |address, key| studio.client_from(address, ClientRole::Publish, "live", key);
    let elsewhere = Ipv4Addr::new(127, 0, 0, 3);
    assert_eq!(from(elsewhere, "good-key").refusal(), from(elsewhere, "no-key").refusal());
    let mut here = from(Ipv4Addr::new(127, 0, 0, 2), "good-key");
    here.go_live();
    let stats = studio.stats();
    assert_eq!((stats.refused(RefusalReason::Address), stats.refused(RefusalReason::Key)), (1, 1));
    let active = studio.engine.keys().active();
    assert_eq!(active[0].peer.map(|peer| peer.ip()), Some(Ipv4Addr::new(127, 0, 0, 2).into()));
}

#[test]
fn a_key_that_ends_takes_its_publisher_along() {
    let studio = Studio::start(|server| server);
    let keys = studio.engine.keys();
    let soon = keys.issue_with("guest", KeyRules::new().expires_in(Duration::from_millis(1500))).unwrap();
    keys.add_with("late", "late-key", KeyRules::new().expires_at(SystemTime::now())).unwrap();
    let stays = keys.issue("host").unwrap();
    let mut host = studio.on_air(stays.reveal());
    let mut guest = studio.on_air(soon.reveal());
    guest.send(&[header(), picture(0, true, 1, 100)]);
    guest.wait_closed();
    assert!(wait_until(|| !studio.has("guest")));
    assert_eq!(studio.publisher(soon.reveal()).refusal(), BAD_NAME);
    assert_eq!(studio.publisher("late-key").refusal(), BAD_NAME);
    assert_eq!(studio.stats().refused(RefusalReason::Expired), 2);
    assert!(studio.has("host") && matches!(host.turn(), Ok(true)), "the other goes on");
}

#[test]
fn a_token_is_asked_of_players_and_found_in_either_query() {
    let studio = Studio::start(|server| server);
    let keys = studio.engine.keys();
    let rules = |play| KeyRules::new().play(play);
    keys.add_with("paid", "paid-key", rules(Play::Token("ticket".into()))).unwrap();
    keys.add_with("closed", "closed-key", rules(Play::Nobody)).unwrap();
    let (_paid, _closed) = (studio.on_air("paid-key"), studio.on_air("closed-key"));
    for name in ["paid", "paid?token=", "paid?token=ticke", "paid?token=paid-key", "closed?token=closed-key"]
    {
        assert_eq!(studio.player(name).refusal(), PLAY_FAILED, "{name}");
    }
    studio.player("paid?token=ticket").go_live();
    studio.client(ClientRole::Play, "live?token=ticket", "paid").go_live();
    let stats = studio.stats();
    let refused = [RefusalReason::NoToken, RefusalReason::Token, RefusalReason::NotPlayable];
    assert_eq!(refused.map(|reason| stats.refused(reason)), [2, 2, 1]);
}

#[test]
fn an_owner_publishes_up_to_the_limit_and_others_are_not_touched() {
    let mut config = Config::default();
    config.max_streams_per_owner = 1;
    let engine = Engine::new(config).unwrap();
    let server = engine.rtmp_server("127.0.0.1:0").start().unwrap();
    let studio = Studio { engine, server };
    let keys = studio.engine.keys();
    let alice = || KeyRules::new().owner("alice");
    keys.add_with("first", "first-key", alice()).unwrap();
    keys.add_with("second", "second-key", alice()).unwrap();
    keys.add_with("other", "other-key", KeyRules::new().owner("bob")).unwrap();
    let first = studio.on_air("first-key");
    assert_eq!(studio.publisher("second-key").refusal(), "NetStream.Publish.Denied");
    assert_eq!(studio.stats().refused(RefusalReason::OwnerLimit), 1);
    let _other = studio.on_air("other-key");
    drop(first);
    keys.take_off("first");
    assert!(wait_until(|| keys.active().iter().all(|active| active.name != "first")));
    studio.on_air("second-key");
}

#[test]
fn who_is_on_the_air_is_told_in_figures() {
    let studio = Studio::start(|server| server);
    let rules = KeyRules::new().owner("alice");
    studio.engine.keys().add_with("studio", "good-key", rules).unwrap();
    let mut publisher = studio.on_air("good-key");
    publisher.send(&[header(), picture(0, true, 1, 50_000)]);
    let mut players = [studio.player("studio"), studio.player("studio")];
    players.iter_mut().for_each(|player| player.go_live());
    let active = || studio.engine.keys().active().pop().unwrap();
    assert!(wait_until(|| active().bit_rate > BitRate::ZERO), "{:?}", active());
    let seen = active();
    assert_eq!((seen.name.as_str(), seen.owner.as_deref(), seen.players), ("studio", Some("alice"), 2));
    assert_eq!(seen.video.map(|codec| codec.to_string()).as_deref(), Some("avc1"));
    assert_eq!((seen.audio, seen.peer), (None, publisher.socket.local_addr().ok()));
    drop(players);
    let mut millis = 0;
    let left = wait_until(|| {
        millis += 40;
        publisher.send(&[picture(millis, false, 1, 100)]);
        active().players == 0
    });
    assert!(left, "{:?}", active());
}

/// A store of the program's own: the key is the name, spelled backwards.
#[derive(Debug)]
struct Backwards;

impl KeyStore for Backwards {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        assert_eq!(asker.app, "live");
        let name: String = key.reveal().chars().rev().collect();
        name.strip_suffix("-own").map(Grant::new).ok_or(Denial::UnknownKey)
    }

    fn player(&self, name: &str, _token: Option<&StreamKey>, asker: &Asker<'_>) -> Result<(), Denial> {
        let local = |peer: SocketAddr| peer.ip().is_loopback();
        if name == "studio" && local(asker.peer) { Ok(()) } else { Err(Denial::NotPlayable) }
    }
}

#[test]
fn a_store_of_the_programs_own_is_asked_instead_of_the_engines() {
    let studio = Studio::start(|server| server.key_store(Backwards));
    studio.engine.keys().add("other", "other-key").unwrap();
    assert_eq!(studio.publisher("other-key").refusal(), BAD_NAME);
    let _publisher = studio.on_air("nwo-oiduts");
    assert_eq!(studio.player("other").refusal(), PLAY_FAILED);
    studio.player("studio").go_live();
}
