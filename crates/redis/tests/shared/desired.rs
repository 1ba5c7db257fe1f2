//! Streams that should run: taken, changed, moved, given back, lost and found.

use std::collections::BTreeSet;
use std::time::Duration;

use flowcast_core::{Config, Engine, Output, Source, StreamRef, StreamSpec};
use flowcast_redis::{
    Budget, DesiredOptions, DesiredStatus, DesiredStreams, EngineStreams, LeaseIfAway, LeaseOptions, Leases,
    NodeOptions, Nodes, Redis, Room, RunnerOptions, StreamRunner,
};
use kit::FaultProxy;

use super::nodes::*;

/// So long that no pause of the machine loses a lease.
const LONG: Duration = Duration::from_secs(300);

/// A node that runs streams.
pub(crate) struct Member {
    pub(crate) engine: Engine,
    pub(crate) nodes: Nodes,
    pub(crate) leases: Leases,
    pub(crate) desired: DesiredStreams,
    pub(crate) redis: Redis,
}

/// What a cluster has in common.
pub(crate) struct Cluster {
    pub(crate) ttl: Duration,
    pub(crate) node_ttl: Duration,
    pub(crate) secret: &'static str,
    pub(crate) if_away: LeaseIfAway,
}

pub(crate) const CLUSTER: Cluster = Cluster {
    ttl: LONG,
    node_ttl: LONG,
    secret: "a secret of the cluster's nodes",
    if_away: LeaseIfAway::Stop,
};

impl Cluster {
    pub(crate) fn join(&self, url: &str, name: &str, labels: &[&str]) -> Member {
        let engine = Engine::new(Config::default().with(|config| config.max_streams = 100)).unwrap();
        self.join_with(url, name, labels, engine, None)
    }

    pub(crate) fn join_with(
        &self,
        url: &str,
        name: &str,
        labels: &[&str],
        engine: Engine,
        address: Option<String>,
    ) -> Member {
        let redis = Redis::new(url, quick()).unwrap();
        let node = NodeOptions::default().with(|options| {
            options.labels = labels.iter().map(ToString::to_string).collect();
            options.address = address;
            options.interval = Duration::from_millis(100);
            options.ttl = self.node_ttl;
            options.remember = self.node_ttl * 2;
        });
        let here = engine.clone();
        let nodes = Nodes::new(&redis, name, node, move || Room::of(&here)).unwrap();
        let lease =
            LeaseOptions::default().with(|options| (options.ttl, options.if_away) = (self.ttl, self.if_away));
        let leases = Leases::new(&redis, name, lease).unwrap();
        let options = DesiredOptions::default().with(|options| {
            options.secret = Some(self.secret.into());
            options.refresh = Duration::from_millis(50);
        });
        let desired = DesiredStreams::new(&redis, &leases, options).unwrap();
        Member { engine, nodes, leases, desired, redis }
    }
}

impl Member {
    pub(crate) fn run(&self) -> StreamRunner {
        self.run_with(RunnerOptions::default())
    }

    pub(crate) fn run_with(&self, options: RunnerOptions) -> StreamRunner {
        let runs = EngineStreams::new(&self.engine);
        StreamRunner::start(&self.desired, &self.nodes, runs, options).unwrap()
    }

    /// Waits until a stream stands so.
    #[track_caller]
    pub(crate) fn waits_for(&self, name: &str, is_so: impl Fn(&DesiredStatus) -> bool) -> DesiredStatus {
        let mut status = None;
        let in_time = wait_until(PATIENCE, || {
            status = self.desired.status(name).ok();
            status.as_ref().is_some_and(&is_so)
        });
        assert!(in_time, "{name}: {status:?}");
        status.unwrap()
    }

    #[track_caller]
    pub(crate) fn runs_on(&self, name: &str, node: &str) -> u64 {
        match self
            .waits_for(name, |status| matches!(status, DesiredStatus::Running { node: on, .. } if on == node))
        {
            DesiredStatus::Running { epoch, .. } => epoch,
            _ => 0,
        }
    }
}

/// A server that is old enough to grant leases.
pub(crate) fn store() -> RedisServer {
    let store = RedisServer::start();
    let _: () = say(&store, &["SET", "fc:{flowcast}:leases:born", "1"]);
    store
}

/// A stream that waits for a publisher: it needs no file.
pub(crate) fn resting(name: &str) -> StreamSpec {
    StreamSpec::new(Source::published(format!("from-{name}"))).without_outputs()
}

pub(crate) fn names(runner: &StreamRunner) -> BTreeSet<String> {
    runner.running().into_iter().map(|(name, _)| name).collect()
}

pub(crate) fn running(runners: &[&StreamRunner]) -> Vec<(String, StreamRef)> {
    runners.iter().flat_map(|runner| runner.running()).collect()
}

/// Waits until all together have all, each once.
#[track_caller]
pub(crate) fn have(runners: &[&StreamRunner], all: &BTreeSet<String>) {
    let seen = || runners.iter().map(|runner| names(runner)).collect::<Vec<_>>();
    let in_time = wait_until(PATIENCE, || {
        let sum: usize = seen().iter().map(BTreeSet::len).sum();
        let union: BTreeSet<_> = seen().into_iter().flatten().collect();
        sum == all.len() && union == *all
    });
    assert!(in_time, "{:?}", seen());
}

#[test]
fn a_list_has_revisions_and_no_secret_in_redis() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    let stranger =
        Cluster { secret: "another secret, of others", ..CLUSTER }.join(&store.url(), "three", &[]);
    let spec = resting("rain").to(Output::rtmp("rtmp://live.example.com/app", "canary-key"));
    assert_eq!(one.desired.put("rain", &spec).unwrap(), 1);
    assert_eq!(two.desired.put("rain", &spec).unwrap(), 1, "nothing is changed");
    let changed = spec.clone().owner("alice");
    assert_eq!(two.desired.put("rain", &changed).unwrap(), 2);
    let labels = ["gpu".to_owned()];
    assert_eq!(two.desired.put_where("rain", &changed, &labels).unwrap(), 3);
    assert!(wait_until(PATIENCE, || one.desired.get("rain").is_some_and(|stream| stream.revision == 3)));
    let stream = one.desired.get("rain").unwrap();
    assert_eq!((stream.spec, stream.labels.as_slice()), (changed, &labels[..]));
    let text: String = say(&store, &["HGET", "fc:{flowcast}:desired", "rain"]);
    assert!(!text.contains("canary") && !text.contains("example.com"), "{text}");
    assert!(wait_until(PATIENCE, || stranger.desired.names() == ["rain"]));
    assert_eq!(stranger.desired.get("rain"), None);
    let status = one.waits_for("rain", |status| matches!(status, DesiredStatus::Waiting { .. }));
    assert_eq!(status.to_string(), "it waits for a node; none has said why it does not run it");
    // Without a secret, nothing that is one can be put.
    let open = DesiredStreams::new(&one.redis, &one.leases, DesiredOptions::default()).unwrap();
    let error = open.put("snow", &spec).unwrap_err();
    assert!(error.code() == "CONFIG_INVALID" && !error.to_string().contains("canary"), "{error}");
    assert_eq!(open.put("snow", &resting("snow")).unwrap(), 1);
    assert_eq!(code(open.put("a/b", &resting("snow"))), "CONFIG_INVALID");
    assert_eq!(code(open.put("snow", &StreamSpec::new(Source::published("x")))), "SPEC_INVALID");
    let short = DesiredOptions::default().with(|options| options.secret = Some("short".into()));
    assert_eq!(code(DesiredStreams::new(&one.redis, &one.leases, short)), "CONFIG_INVALID");
    assert!(two.desired.remove("rain").unwrap() && !one.desired.remove("rain").unwrap());
    one.waits_for("rain", |status| *status == DesiredStatus::Unknown);
    assert_eq!(one.desired.put("rain", &spec).unwrap(), 1, "another stream of this name");
    let other = EngineStreams::new(&two.engine);
    assert_eq!(
        code(StreamRunner::start(&one.desired, &two.nodes, other, RunnerOptions::default())),
        "CONFIG_INVALID"
    );
}

#[test]
fn nodes_share_streams_and_take_what_is_given_back() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let members = ["one", "two", "three"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    let [one, two, three] = &members;
    let all: BTreeSet<_> = (0..12).map(|number| format!("s-{number}")).collect();
    for name in &all {
        one.desired.put(name, &resting(name)).unwrap();
    }
    let runners = members.each_ref().map(Member::run);
    have(&runners.each_ref(), &all);
    let [first, second, third] = runners;
    // What is changed is started anew where it runs, behind the same lease.
    let (name, before) = running(&[&first, &second, &third]).pop().unwrap();
    let epoch = |member: &Member| match member
        .waits_for(&name, |status| matches!(status, DesiredStatus::Running { .. }))
    {
        DesiredStatus::Running { node, epoch, .. } => (node, epoch),
        _ => unreachable!("it waits for it"),
    };
    let was = epoch(two);
    two.desired.put(&name, &resting(&name).label("changed")).unwrap();
    assert!(wait_until(PATIENCE, || {
        let all = running(&[&first, &second, &third]);
        all.iter().any(|(now, stream)| *now == name && stream.label() == Some("changed"))
    }));
    assert!(before.has_ended() && epoch(two) == was);
    // What should not run any more ends, in order.
    let (gone, stream) = running(&[&first, &second, &third]).pop().unwrap();
    assert!(three.desired.remove(&gone).unwrap());
    assert!(wait_until(PATIENCE, || stream.has_ended()));
    assert_eq!(stream.stop(PATIENCE).map(drop).map_err(|error| error.code()), Ok(()));
    let mut all = all;
    all.remove(&gone);
    have(&[&first, &second, &third], &all);
    // One that ended by itself is begun again, by whichever node.
    let (name, stream) = running(&[&first, &second, &third]).pop().unwrap();
    stream.stop(PATIENCE).unwrap();
    assert!(wait_until(PATIENCE, || {
        let all = running(&[&first, &second, &third]);
        all.iter().any(|(now, again)| *now == name && !again.has_ended())
    }));
    have(&[&first, &second, &third], &all);
    // Those of a node that goes are taken by the others.
    assert!(third.stop(PATIENCE));
    have(&[&first, &second], &all);
    drop(first);
    have(&[&second], &all);
    assert!(names(&second).iter().all(|name| {
        two.engine
            .streams()
            .iter()
            .any(|stream| stream.label() == Some(name) || stream.label() == Some("changed"))
    }));
}

#[test]
fn what_fits_nowhere_says_why_and_is_taken_when_there_is_room() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let one = CLUSTER.join(&store.url(), "one", &[]);
    let two = CLUSTER.join(&store.url(), "two", &["gpu"]);
    one.engine.set_limits(one.engine.limits().with(|limits| limits.total = 1)).unwrap();
    let _first = one.run();
    one.desired.put("a", &resting("a")).unwrap();
    one.runs_on("a", "one");
    one.desired.put("b", &resting("b")).unwrap();
    one.desired.put_where("c", &resting("c"), &["gpu".to_owned()]).unwrap();
    let says = |name: &str, what: &str| {
        one.waits_for(name, |status| {
            matches!(status, DesiredStatus::Waiting { .. }) && status.to_string().contains(what)
        })
    };
    says("b", "one: there is not enough room (streams: 1 of 1 in use, 1 needed)");
    says("c", "one: the node does not have the label gpu");
    // A start that fails is told, too, and does not keep others from it.
    one.engine.set_limits(one.engine.limits().with(|limits| limits.total = 10)).unwrap();
    one.runs_on("b", "one");
    let missing = StreamSpec::new(Source::file("/nowhere/show.mp4").looped()).without_outputs();
    one.desired.put("d", &missing).unwrap();
    says("d", "one: it could not be started: ");
    let second = two.run();
    one.runs_on("c", "two");
    says("d", "two: it could not be started: ");
    // What is changed so that it does not fit any more goes where it does.
    one.desired.put_where("a", &resting("a"), &["gpu".to_owned()]).unwrap();
    one.runs_on("a", "two");
    // Mended, it runs.
    one.desired.put("d", &resting("d")).unwrap();
    one.waits_for("d", |status| matches!(status, DesiredStatus::Running { .. }));
    drop(second);
    one.waits_for("c", |status| matches!(status, DesiredStatus::Waiting { .. }));
}

#[test]
fn a_stream_that_gets_another_owner_takes_one_of_his_places() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let one = CLUSTER.join(&store.url(), "one", &[]);
    let options = RunnerOptions::default().with(|options| options.most_per_owner = Some(1));
    let _runner = one.run_with(options);
    one.desired.put("a", &resting("a").owner("alice")).unwrap();
    one.desired.put("b", &resting("b")).unwrap();
    let first = one.runs_on("a", "one");
    let second = one.runs_on("b", "one");
    // Changed, and still his.
    one.desired.put("a", &resting("a").owner("alice").label("changed")).unwrap();
    assert!(wait_until(PATIENCE, || one
        .engine
        .streams()
        .iter()
        .any(|stream| stream.label() == Some("changed"))));
    assert_eq!(one.runs_on("a", "one"), first, "behind the same lease");
    one.desired.put("b", &resting("b").owner("alice")).unwrap();
    one.waits_for("b", |status| matches!(status, DesiredStatus::Waiting { .. }));
    // His place is free with the owner of the first.
    one.desired.put("a", &resting("a").owner("bob")).unwrap();
    assert!(
        one.waits_for(
            "b",
            |status| matches!(status, DesiredStatus::Running { epoch, .. } if *epoch > second)
        ) != DesiredStatus::Unknown
    );
    assert!(wait_until(PATIENCE, || one.runs_on("a", "one") > first));
}

#[test]
fn a_list_that_redis_has_lost_ends_nothing_and_is_put_back() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let proxy = FaultProxy::start(store.address);
    // Leases are put back within a quarter of their time, and none is granted before it is over.
    let cluster = Cluster { ttl: Duration::from_secs(20), if_away: LeaseIfAway::KeepRunning, ..CLUSTER };
    let [one, two] =
        ["one", "two"].map(|name| cluster.join(&format!("redis://{}", proxy.address()), name, &[]));
    let (first, second) = (one.run(), two.run());
    let all: BTreeSet<_> = (0..4).map(|number| format!("s-{number}")).collect();
    for name in &all {
        one.desired.put(name, &resting(name)).unwrap();
    }
    have(&[&first, &second], &all);
    let streams = running(&[&first, &second]);
    assert!(wait_until(PATIENCE, || two.desired.names().len() == 4));
    let _: () = say(&store, &["FLUSHALL"]);
    assert!(wait_until(PATIENCE, || code_of(&one, "late") == "DESIRED_EMPTIED"));
    assert_eq!(two.desired.restore().unwrap(), 4);
    assert_eq!(one.desired.restore().unwrap(), 0, "it is there");
    one.desired.put("late", &resting("late")).unwrap();
    let mut all = all;
    all.insert("late".into());
    have(&[&first, &second], &all);
    // While it is away, what runs goes on, and what should is not known to have gone.
    proxy.refuse(true);
    proxy.reset();
    assert!(wait_until(PATIENCE, || code_of(&one, "later") == "REDIS_AWAY"));
    assert!(streams.iter().all(|(_, stream)| !stream.has_ended()));
    proxy.refuse(false);
    assert!(wait_until(PATIENCE, || one.desired.put("later", &resting("later")).is_ok()));
    all.insert("later".into());
    have(&[&first, &second], &all);
    assert!(streams.iter().all(|(_, stream)| !stream.has_ended()));
    assert!(
        one.nodes.room().streams.is_some_and(|Budget { used, .. }| used >= 1.0) || names(&first).is_empty()
    );
}

fn code_of(member: &Member, name: &str) -> &'static str {
    member.desired.put(name, &resting(name)).err().map_or("", |error| error.code())
}
