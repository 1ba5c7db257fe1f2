//! Streams that move: drained, balanced, declined, taken back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use flowcast_core::{Error, StreamRef};
use flowcast_redis::{
    Demand, DesiredStatus, DesiredStream, EngineStreams, Lease, RunStreams, RunnerOptions, StreamRunner,
};

use super::desired::*;
use super::nodes::*;

/// Offers last for this long, and half a minute: longer than a test waits.
fn slow() -> RunnerOptions {
    RunnerOptions::default().with(|options| options.stop = Duration::from_secs(300))
}

/// Waits until one node sees another that takes streams.
fn sees(member: &Member, name: &str) {
    let is_there = || member.nodes.list().unwrap().iter().any(|node| node.name == name && node.has_runner);
    assert!(wait_until(PATIENCE, is_there), "{:?}", member.nodes.list());
}

#[test]
fn a_node_is_drained_one_by_one_and_streams_move_on_purpose_only() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    // Each stream counts a tenth.
    for member in [&one, &two] {
        member.engine.set_limits(member.engine.limits().with(|limits| limits.total = 10)).unwrap();
    }
    let first = one.run();
    let all: BTreeSet<_> = (0..6).map(|number| format!("s-{number}")).collect();
    for name in &all {
        one.desired.put(name, &resting(name)).unwrap();
    }
    have(&[&first], &all);
    // One that runs nothing is no place for them.
    let _edge = CLUSTER.join(&store.url(), "edge", &[]);
    let nowhere = first.drain(Duration::from_millis(500));
    assert_eq!((nowhere.moved.len(), nowhere.left.len()), (0, 6), "{nowhere}");
    // Who looks from elsewhere is told why they stay.
    let status = two.desired.status("s-0").unwrap();
    let DesiredStatus::Running { node, reasons, .. } = &status else { panic!("{status}") };
    let [(who, why)] = &reasons[..] else { panic!("{status}") };
    assert!((node.as_str(), who.as_str()) == ("one", "one") && why.starts_with("it stays: "), "{status}");
    one.nodes.set_draining(false);
    let second = two.run();
    assert!(wait_until(PATIENCE, || {
        one.nodes.list().unwrap().iter().any(|node| node.name == "two" && node.has_runner)
    }));
    have(&[&first, &second], &all);
    assert_eq!(names(&first), all, "nothing moves by itself");
    // 6 and 0: with the fourth it would be 3 and 3, which is worth nothing.
    let report = first.rebalance(10).unwrap();
    assert!((2..=3).contains(&report.moved.len()), "{report}");
    assert!(report.moved.iter().all(|(_, node)| node == "two"), "{report}");
    have(&[&first, &second], &all);
    assert_eq!(names(&second).len(), report.moved.len());
    let report = first.drain(PATIENCE);
    assert!(report.left.is_empty() && one.nodes.is_draining(), "{report}");
    have(&[&second], &all);
    assert!(names(&first).is_empty());
    // It takes nothing, until it is said that it may.
    two.desired.put("late", &resting("late")).unwrap();
    two.runs_on("late", "two");
    drop(second);
    one.nodes.set_draining(false);
    one.runs_on("late", "one");
}

/// Takes nothing.
struct Unwilling;

impl RunStreams for Unwilling {
    fn demand(&self, _: &DesiredStream) -> Result<Demand, Error> {
        Err(Error::Config { name: "room", reason: "it is on holiday".into() })
    }

    fn start(&self, _: &DesiredStream, _: &Lease) -> Result<StreamRef, Error> {
        Err(Error::Ended)
    }
}

#[test]
fn what_a_node_was_offered_and_does_not_take_goes_to_another_at_once() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two, three] = ["one", "two", "three"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    // The second is where it fits best.
    three.engine.set_limits(three.engine.limits().with(|limits| limits.total = 2)).unwrap();
    let first = one.run_with(slow());
    one.desired.put("show", &resting("show")).unwrap();
    one.runs_on("show", "one");
    let _second = StreamRunner::start(&two.desired, &two.nodes, Unwilling, slow()).unwrap();
    let _third = three.run_with(slow());
    ["two", "three"].into_iter().for_each(|name| sees(&one, name));
    let report = first.drain(PATIENCE);
    assert_eq!(report.moved, [("show".to_owned(), "three".to_owned())], "{report}");
}

#[test]
fn what_a_node_gave_away_comes_back_when_the_other_has_it_no_more() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    let (first, second) = (one.run_with(slow()), two.run_with(slow()));
    one.desired.put_where("show", &resting("show"), &[]).unwrap();
    one.waits_for("show", |status| matches!(status, DesiredStatus::Running { .. }));
    ["one", "two"].into_iter().for_each(|name| sees(&one, name));
    let [(from, there), (to, back)] = match names(&first).is_empty() {
        true => [(second, "one"), (first, "two")],
        false => [(first, "two"), (second, "one")],
    };
    let report = from.drain(PATIENCE);
    assert_eq!(report.moved, [("show".to_owned(), there.to_owned())], "{report}");
    [&one, &two].into_iter().for_each(|member| member.nodes.set_draining(false));
    drop(to);
    one.runs_on("show", back);
}

#[test]
fn a_stream_goes_on_where_only_its_labels_change_and_moves_where_it_may_not_stay() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[name]));
    let (first, _second) = (one.run(), two.run());
    let put = |name: &str, labels: &[&str]| {
        let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
        two.desired.put_where(name, &resting(name), &labels).unwrap();
    };
    put("show", &["one"]);
    one.runs_on("show", "one");
    let before = running(&[&first]);
    put("show", &[]);
    // What comes later is begun after the change was seen.
    put("later", &["one"]);
    one.runs_on("later", "one");
    let (_, show) = &before[0];
    assert!(running(&[&first]).iter().any(|(_, stream)| stream.id() == show.id()) && !show.has_ended());
    put("show", &["two"]);
    one.runs_on("show", "two");
    assert!(show.has_ended());
}

/// Says that it is to stop a stream, and does so when it is told to.
struct Told {
    streams: EngineStreams,
    asked: Sender<()>,
    may: Receiver<()>,
}

impl RunStreams for Told {
    fn start(&self, stream: &DesiredStream, lease: &Lease) -> Result<StreamRef, Error> {
        self.streams.start(stream, lease)
    }

    fn stop(&self, stream: &StreamRef, deadline: Duration) {
        let _ = self.asked.send(());
        let _ = self.may.recv_timeout(PATIENCE);
        self.streams.stop(stream, deadline);
    }
}

#[test]
fn what_is_being_started_anew_when_its_node_is_drained_begins_elsewhere_and_counts_as_moved() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    let ((asked, is_asked), (tell, may)) = (bounded(9), bounded(9));
    let streams = Told { streams: EngineStreams::new(&one.engine), asked, may };
    let first = StreamRunner::start(&one.desired, &one.nodes, streams, slow()).unwrap();
    one.desired.put("show", &resting("show")).unwrap();
    one.runs_on("show", "one");
    let _second = two.run();
    sees(&one, "two");
    one.desired.put("show", &resting("show").label("changed")).unwrap();
    assert!(is_asked.recv_timeout(PATIENCE).is_ok(), "it is started anew");
    let first = Arc::new(first);
    let drained = {
        let first = first.clone();
        std::thread::spawn(move || first.drain(PATIENCE))
    };
    // It was looked at, and could not be handed over.
    one.waits_for("show", |status| status.to_string().contains("it stays: it is ending"));
    tell.send(()).unwrap();
    let report = drained.join().unwrap();
    assert_eq!(report.moved, [("show".to_owned(), "two".to_owned())], "{report}");
    assert!(report.left.is_empty(), "{report}");
}

/// As the API and the page do it, which keep no log.
#[cfg(feature = "http")]
#[test]
fn a_node_that_is_drained_by_the_api_hands_over_until_its_runner_is_dropped() {
    use flowcast_http::Cluster as _;
    use flowcast_redis::HttpCluster;

    if !need(&[Need::Redis]) {
        return;
    }
    let store = store();
    let [one, two] = ["one", "two"].map(|name| CLUSTER.join(&store.url(), name, &[]));
    let first = Arc::new(one.run());
    let cluster = HttpCluster::new(&one.nodes, &one.desired, &first);
    one.desired.put("show", &resting("show")).unwrap();
    one.runs_on("show", "one");
    let second = two.run();
    sees(&one, "two");
    cluster.set_draining(true).unwrap();
    two.runs_on("show", "two");
    cluster.set_draining(false).unwrap();
    drop(second);
    one.runs_on("show", "one");
    // Now there is nobody who would take it.
    cluster.set_draining(true).unwrap();
    one.waits_for("show", |status| status.to_string().contains("it stays: "));
    drop(first);
    one.waits_for("show", |status| matches!(status, DesiredStatus::Waiting { .. }));
}
