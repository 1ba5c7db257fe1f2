use std::net::SocketAddr;
use std::time::Duration;

use super::*;

fn asker(peer: &str) -> Asker<'static> {
    let peer: SocketAddr = peer.parse().expect("an address");
    Asker::new(peer, "live")
}

fn registry() -> KeyRegistry {
    KeyRegistry::new(Hub::default())
}

#[test]
fn keys_find_their_name_and_removed_ones_do_not() {
    let keys = registry();
    keys.add("studio", "s3cret").expect("both are usable");
    let issued = keys.issue("door").expect("the name is free");
    assert_eq!(issued.reveal().len(), 32);
    assert_eq!(keys.name_of(&"s3cret".into()).as_deref(), Some("studio"));
    assert_eq!(keys.name_of(&issued).as_deref(), Some("door"));
    assert_eq!(keys.name_of(&"studio".into()), None, "a name is no key");
    assert!(keys.remove("door") && !keys.remove("door"));
    assert_eq!(keys.name_of(&issued), None);
}

#[test]
fn doubles_and_unusable_names_are_refused_without_showing_the_key() {
    let keys = registry();
    keys.add("a", "topsecret").expect("both are usable");
    for (name, key) in
        [("a", "other-key"), ("b", "topsecret"), ("", "good-key"), ("../x", "good-key"), ("c", "a/b/c")]
    {
        let error = keys.add(name, key).expect_err("refused");
        assert!(!error.to_string().contains(key), "{error}");
    }
    let spaced = KeyRules::new().play(Play::Token("a token&".into()));
    assert!(keys.add_with("d", "good-key", spaced).is_err());
    assert_eq!(keys.name_of(&"topsecret".into()).as_deref(), Some("a"), "still the first");
}

#[test]
fn what_is_kept_shows_no_secret() {
    let keys = registry();
    let rules = KeyRules::new().play(Play::Token("canary-token".into())).owner("alice");
    assert!(!format!("{rules:?}").contains("canary"));
    keys.add_with("studio", "canary-key", rules).expect("usable");
    let shown = format!("{keys:?} {keys:#?}");
    assert!(shown.contains("studio") && !shown.contains("canary"), "{shown}");
    let digest = format!("{:?}", keys.salt.digest(&"canary-key".into()).bytes());
    assert!(!shown.contains(&digest), "{shown}");
}

#[test]
fn a_key_is_granted_within_its_time_and_range_only() {
    let keys = registry();
    let soon = KeyRules::new().expires_in(Duration::from_secs(3600)).owner("alice");
    let soon = soon.publish_from(["192.0.2.0/24".parse().expect("a range")]);
    let expires = soon.expires;
    keys.add_with("studio", "good-key", soon).expect("usable");
    keys.add_with("old", "old-key", KeyRules::new().expires_at(SystemTime::now())).expect("usable");
    let ask = |key: &str, peer| keys.publisher(&key.into(), &asker(peer));
    let grant = ask("good-key", "192.0.2.9:1").expect("all is right");
    assert_eq!((grant.name.as_str(), grant.owner.as_deref()), ("studio", Some("alice")));
    assert_eq!(grant.until, expires);
    assert_eq!(ask("good-key", "198.51.100.1:1"), Err(Denial::Address));
    assert_eq!(ask("old-key", "192.0.2.9:1"), Err(Denial::Expired));
    assert_eq!(ask("no-key", "192.0.2.9:1"), Err(Denial::UnknownKey));
    assert_eq!(keys.name_of(&"old-key".into()), None);
    keys.add("old", "new-key").expect("a key that has ended is in nobody's way");
    assert_eq!(ask("old-key", "192.0.2.9:1"), Err(Denial::UnknownKey));
    assert!(ask("new-key", "192.0.2.9:1").is_ok());
}

#[test]
fn who_may_play_is_another_question_than_who_may_publish() {
    let keys = registry();
    let rules = |play| KeyRules::new().play(play);
    keys.add("open", "open-key").expect("usable");
    keys.add_with("paid", "paid-key", rules(Play::Token("ticket".into()))).expect("usable");
    keys.add_with("closed", "closed-key", rules(Play::Nobody)).expect("usable");
    let ask = |name, token: Option<&str>| {
        keys.player(name, token.map(StreamKey::from).as_ref(), &asker("192.0.2.9:1"))
    };
    assert_eq!((ask("open", None), ask("nobody's", None)), (Ok(()), Ok(())));
    assert_eq!(ask("paid", Some("ticket")), Ok(()));
    assert_eq!(ask("paid", None), Err(Denial::NoToken));
    for wrong in ["ticke", "tickets", "paid-key", ""] {
        assert_eq!(ask("paid", Some(wrong)), Err(Denial::WrongToken), "{wrong}");
    }
    assert_eq!(ask("closed", Some("closed-key")), Err(Denial::NotPlayable));
    keys.set_play("closed", &Play::Token("later".into())).expect("the name has a key");
    assert_eq!(ask("closed", Some("later")), Ok(()));
    assert!(keys.set_play("nobody's", &Play::Public).is_err());
}

#[test]
fn keys_that_have_ended_do_not_pile_up() {
    let keys = registry();
    for number in 0..10_000 {
        let over = KeyRules::new().expires_at(SystemTime::UNIX_EPOCH);
        keys.issue_with(&format!("guest-{number}"), over).expect("a free name");
    }
    let kept = keys.keys.lock();
    assert!(kept.entries.len() <= SWEEP_FROM && kept.names.len() <= SWEEP_FROM, "{}", kept.entries.len());
}

#[test]
fn removing_a_key_hides_its_stream_at_once() {
    let hub = Hub::default();
    let keys = KeyRegistry::new(hub.clone());
    keys.add_with("studio", "good-key", KeyRules::new().owner("alice")).expect("usable");
    let claim = hub.claim("studio", None).expect("the name is free");
    assert_eq!(keys.active().len(), 1);
    assert!(keys.remove("studio") && hub.find("studio").is_none());
    assert!(keys.take_off("studio"), "its claim is there still");
    drop(claim);
    assert!(!keys.take_off("studio") && keys.active().is_empty());
}
