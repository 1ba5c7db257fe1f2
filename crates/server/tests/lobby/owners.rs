//! Whose streams are counted for whom.

use std::collections::HashMap;
use std::sync::{Arc, Barrier, Mutex};

use flowcast_core::{Asker, Config, Denial, Engine, EventKind, Grant, KeyStore};
use flowcast_rtmp::error::Error as RtmpError;
use flowcast_rtmp::key::StreamKey;
use flowcast_server::{RefusalReason, RtmpServerExt};

use crate::support::{Client, Studio, header, picture, wait_until};

/// A key is the name; whose it is may change. Default `alice`.
#[derive(Debug, Clone, Default)]
struct Owners(Arc<Mutex<HashMap<String, String>>>);

impl Owners {
    fn give(&self, name: &str, owner: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), owner.to_owned());
    }
}

impl KeyStore for Owners {
    fn publisher(&self, key: &StreamKey, _: &Asker<'_>) -> Result<Grant, Denial> {
        let owners = self.0.lock().unwrap();
        let owner = owners.get(key.reveal()).map_or("alice", String::as_str);
        Ok(Grant::new(key.reveal()).owner(owner))
    }

    fn player(&self, _: &str, _: Option<&StreamKey>, _: &Asker<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

fn studio(limit: usize, owners: &Owners) -> Studio {
    let mut config = Config::default();
    config.max_streams_per_owner = limit;
    let engine = Engine::new(config).unwrap();
    let server = engine.rtmp_server("127.0.0.1:0").key_store(owners.clone()).start().unwrap();
    Studio { engine, server }
}

#[test]
fn of_many_at_once_as_many_get_on_the_air_as_their_owner_may_have() {
    const LIMIT: usize = 3;
    const MANY: usize = 12;
    let studio = studio(LIMIT, &Owners::default());
    let together = Barrier::new(MANY);
    // Nobody leaves before all have their answer.
    let clients: Vec<(Client, Result<bool, RtmpError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..MANY)
            .map(|number| {
                let (studio, together) = (&studio, &together);
                scope.spawn(move || {
                    let mut client = studio.publisher(&format!("name-{number}"));
                    together.wait();
                    let live = client.run_until(|client| client.session.is_live());
                    (client, live)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let live = clients.iter().filter(|(_, live)| matches!(live, Ok(true))).count();
    let refused = studio.stats().refused(RefusalReason::OwnerLimit);
    assert_eq!((live, refused), (LIMIT, (MANY - LIMIT) as u64), "{:?}", studio.stats());
}

#[test]
fn a_stream_that_another_owner_goes_on_with_counts_for_that_one() {
    let owners = Owners::default();
    let studio = studio(1, &owners);
    owners.give("bobs", "bob");
    let events = studio.engine.events();
    let mut first = studio.on_air("shared");
    first.send(&[header(), picture(0, true, 1, 100)]);
    let has_media =
        || studio.engine.hub().find("shared").is_some_and(|stream| stream.stats().video.is_some());
    assert!(wait_until(has_media));
    let bobs = studio.on_air("bobs");
    drop(first);
    assert!(wait_until(|| {
        std::iter::from_fn(|| events.try_next())
            .any(|event| matches!(event.kind, EventKind::PublisherLost { .. }))
    }));

    owners.give("shared", "bob");
    assert_eq!(studio.publisher("shared").refusal(), "NetStream.Publish.Denied", "bob has one already");
    assert_eq!(studio.stats().refused(RefusalReason::OwnerLimit), 1);
    let owner = |name: &str| {
        let active = studio.engine.keys().active();
        active.into_iter().find(|active| active.name == name).and_then(|active| active.owner)
    };
    assert_eq!(owner("shared").as_deref(), Some("alice"), "as before");

    drop(bobs);
    studio.engine.keys().take_off("bobs");
    assert!(wait_until(|| owner("bobs").is_none()));
    let _second = studio.on_air("shared");
    assert_eq!(owner("shared").as_deref(), Some("bob"));
    assert_eq!(studio.publisher("bobs").refusal(), "NetStream.Publish.Denied", "it counts for bob");
    let _alices = studio.on_air("alices");
}
