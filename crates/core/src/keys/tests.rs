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
    let digest = format!("{:?}", keys.keys.lock().salt.digest(&"canary-key".into()).bytes());
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

#[test]
fn a_key_is_replaced_and_the_one_before_is_accepted_for_a_while() {
    let keys = registry();
    let asker = asker("192.0.2.1:5000");
    let hour = Duration::from_secs(3600);
    let granted = |key: &str| keys.publisher(&key.into(), &asker).map(|grant| (grant.name, grant.owner));
    let studio = || Ok(("studio".to_owned(), Some("alice".to_owned())));
    keys.add_with("studio", "key-1", KeyRules::new().owner("alice")).expect("usable");
    keys.add("door", "key-of-door").expect("usable");
    keys.replace("studio", "key-2", hour).expect("the name has a key");
    keys.replace("studio", "key-3", Duration::ZERO).expect("and again");
    assert_eq!(granted("key-3"), studio());
    assert_eq!(granted("key-1"), studio(), "as was said when it was replaced");
    assert_eq!(granted("key-2"), Err(Denial::UnknownKey));
    let error = keys.replace("studio", "key-of-door", hour).expect_err("it is taken");
    assert_eq!(error.code(), "KEY_IN_USE", "{error}");
    assert!(keys.add("other", "key-1").is_err(), "an old key that is accepted is not free");
    assert!(matches!(keys.replace("nobody", "key-9", hour), Err(Error::NoKey { .. })));
    assert!(keys.replace("studio", "a/b", hour).is_err());
    // Back to the first one: it is no longer an old one that ends.
    keys.replace("studio", "key-1", Duration::ZERO).expect("its own old key");
    assert_eq!((granted("key-1"), granted("key-3")), (studio(), Err(Denial::UnknownKey)));
    keys.replace("studio", "key-1", Duration::ZERO).expect("the same key");
    assert_eq!(granted("key-1"), studio());
    keys.replace("studio", "key-4", Duration::MAX).expect("usable");
    assert!(keys.remove("studio"));
    assert_eq!((granted("key-1"), granted("key-4")), (Err(Denial::UnknownKey), Err(Denial::UnknownKey)));
    assert_eq!(keys.keys.lock().names.len(), 1, "only the door's is left");
}

#[test]
fn an_old_key_that_is_over_is_denied_as_such_and_free_for_others() {
    let keys = registry();
    let asker = asker("192.0.2.1:5000");
    keys.add("studio", "key-1").expect("usable");
    keys.replace("studio", "key-2", Duration::from_secs(3600)).expect("usable");
    keys.keys.lock().entries.get_mut("studio").expect("it is there").old[0].until = SystemTime::now();
    assert_eq!(keys.publisher(&"key-1".into(), &asker).map(|grant| grant.name), Err(Denial::Expired));
    assert_eq!(keys.name_of(&"key-1".into()), None);
    keys.add("door", "key-1").expect("the key is free");
    keys.replace("studio", "key-3", Duration::ZERO).expect("usable");
    assert_eq!(keys.name_of(&"key-1".into()).as_deref(), Some("door"));
    assert!(keys.remove("studio"));
    assert_eq!(keys.name_of(&"key-1".into()).as_deref(), Some("door"), "its own now");
}

#[cfg(feature = "serde")]
#[test]
fn keys_outlive_a_restart_as_hashes() {
    let keys = registry();
    let asker = asker("192.0.2.1:5000");
    let rules = KeyRules::new()
        .expires_in(Duration::from_secs(3600))
        .publish_from(["192.0.2.0/24".parse().expect("a range")])
        .play(Play::Token("canary-token".into()))
        .owner("alice");
    keys.add_with("studio", "canary-key-1", rules).expect("usable");
    keys.replace("studio", "canary-key-2", Duration::from_secs(600)).expect("usable");
    keys.add_with("door", "canary-key-3", KeyRules::new().play(Play::Nobody)).expect("usable");
    keys.add_with("gone", "canary-key-4", KeyRules::new().expires_in(Duration::ZERO)).expect("usable");
    let saved = keys.export();
    let text = serde_json::to_string(&saved).expect("it can be written");
    let shown = format!("{saved:?}");
    assert!(!text.contains("canary") && !text.contains("gone"), "{text}");
    let salt = text.split('"').find(|word| word.len() == 64).expect("the salt");
    assert!(shown.contains("studio") && !shown.contains(salt), "{shown}");

    let after = registry();
    let read: SavedKeys = serde_json::from_str(&text).expect("it can be read");
    assert_eq!(read, saved);
    after.import(&read).expect("there are no keys yet");
    for key in ["canary-key-1", "canary-key-2"] {
        let grant = after.publisher(&key.into(), &asker).expect("accepted");
        let before = keys.publisher(&key.into(), &asker).expect("accepted");
        assert_eq!((grant.name, grant.owner, grant.until), (before.name, before.owner, before.until));
    }
    let elsewhere = Asker::new("198.51.100.1:5000".parse().expect("an address"), "live");
    assert!(matches!(after.publisher(&"canary-key-2".into(), &elsewhere), Err(Denial::Address)));
    assert!(matches!(after.publisher(&"canary-key-4".into(), &asker), Err(Denial::UnknownKey)));
    assert_eq!(after.player("studio", Some(&"canary-token".into()), &asker), Ok(()));
    assert_eq!(after.player("studio", Some(&"canary-key-1".into()), &asker), Err(Denial::WrongToken));
    assert_eq!(after.player("door", None, &asker), Err(Denial::NotPlayable));
    assert_eq!(after.export(), saved, "and is written the same again");
    after.add("new", "canary-key-5").expect("the salt is that of the others");
    assert_eq!(after.name_of(&"canary-key-5".into()).as_deref(), Some("new"));
    assert!(after.import(&read).is_err(), "there are keys");
}

#[cfg(feature = "serde")]
#[test]
fn saved_keys_that_cannot_be_are_refused_and_nothing_is_taken_over() {
    let keys = registry();
    keys.add("studio", "canary-key-1").expect("usable");
    let saved = serde_json::to_value(keys.export()).expect("it can be written");
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = saved.clone();
        change(&mut changed);
        let after = registry();
        let error = match serde_json::from_value::<SavedKeys>(changed) {
            Err(error) => error.to_string(),
            Ok(read) => after.import(&read).expect_err("refused").to_string(),
        };
        assert!(after.keys.lock().entries.is_empty());
        error
    };
    assert!(refused(&|saved| saved["version"] = 2.into()).contains("version 2"));
    assert!(refused(&|saved| saved["colour"] = 2.into()).contains("colour"));
    assert!(refused(&|saved| saved["keys"][0]["name"] = "../x".into()).contains("a name is"));
    assert!(refused(&|saved| saved["keys"][0]["key"] = "abc".into()).contains("64 hexadecimal"));
    assert!(refused(&|saved| saved["keys"][0]["publish_from"] = vec!["all"].into()).contains("\"all\""));
    assert!(refused(&|saved| saved["keys"][0]["expires"] = "soon".into()).contains("time"));
    let twice = |saved: &mut serde_json::Value, name: &str| {
        let mut other = saved["keys"][0].clone();
        other["name"] = name.into();
        saved["keys"].as_array_mut().expect("a list").push(other);
    };
    assert!(refused(&|saved| twice(saved, "studio")).contains("twice"));
    assert!(refused(&|saved| twice(saved, "other")).contains("twice"));
}
