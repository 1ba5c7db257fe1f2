//! Decisions of the program.

use std::io::Write;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use flowcast_core::Grant;
use flowcast_rtmp::session::{ClientRole, Reject};
use flowcast_server::{Admission, AdmissionKind, RefusalReason, RtmpServerBuilder};

use crate::support::{PATIENCE, Studio, header, picture, wait_until};

const DENIED: &str = "NetStream.Publish.Denied";

/// A server whose publishers wait for what the receiver's owner answers.
fn asked(change: impl FnOnce(RtmpServerBuilder) -> RtmpServerBuilder) -> (Studio, Receiver<Admission>) {
    let (send, receive) = mpsc::channel();
    let play = send.clone();
    let studio = Studio::start(|server| {
        let server = server.on_publish(move |admission| send.send(admission).unwrap());
        change(server.on_play(move |admission| play.send(admission).unwrap()))
    });
    (studio, receive)
}

/// What the next one to be decided is.
fn next(admissions: &Receiver<Admission>) -> Admission {
    admissions.recv_timeout(PATIENCE).expect("somebody asks")
}

#[test]
fn a_publisher_waits_for_another_threads_yes_and_loses_nothing_meanwhile() {
    let (studio, admissions) = asked(|server| server);
    studio.engine.keys().add("studio", "canary-key").unwrap();
    let mut publisher = studio.client(ClientRole::Publish, "live", "canary-key?pass=canary");
    let mut segment = publisher.wish();
    let local = publisher.socket.local_addr().unwrap();
    // What a publisher sends before it hears yes, as some do: a session of its own that thinks it is live makes it.
    let plain = Studio::start(|server| server);
    plain.engine.keys().add("plain", "canary-key").unwrap();
    let mut twin = plain.on_air("canary-key");
    for tag in [header(), picture(0, true, 7, 30_000)] {
        twin.session.send_tag(&tag);
    }
    segment.extend(twin.take_wire());
    publisher.socket.write_all(&segment).unwrap();
    let admission = next(&admissions);
    assert_eq!(
        (admission.kind(), admission.peer(), admission.app()),
        (AdmissionKind::Publish, local, "live")
    );
    assert_eq!(
        (admission.name(), admission.query(), admission.is_tls()),
        (Some("studio"), "pass=canary", false)
    );
    assert_eq!(admission.key().unwrap().reveal(), "canary-key");
    let shown = format!("{admission:?}");
    assert!(!shown.contains("canary") && shown.contains("studio"), "{shown}");
    assert!(admission.is_waiting() && !studio.has("studio"));
    std::thread::spawn(move || admission.accept()).join().unwrap();
    publisher.go_live();
    let stream = studio.engine.hub().find("studio").unwrap();
    assert!(wait_until(|| stream.stats().video.is_some()), "the media is there: {}", stream.stats());
}

#[test]
fn yes_does_not_make_a_wrong_key_right_but_a_name_does() {
    let (studio, admissions) = asked(|server| server);
    let publisher = studio.publisher("wrong-key");
    let waits = std::thread::spawn(|| publisher.refusal());
    let admission = next(&admissions);
    assert_eq!(admission.name(), None);
    admission.accept();
    assert_eq!(waits.join().unwrap(), "NetStream.Publish.BadName");
    assert_eq!(studio.stats().refused(RefusalReason::Key), 1);

    let mut publisher = studio.publisher("wrong-key");
    let decides = std::thread::spawn(move || {
        next(&admissions).accept_as(Grant::new("guests").owner("alice"));
        admissions
    });
    publisher.go_live();
    let admissions = decides.join().unwrap();
    assert_eq!(studio.engine.keys().active()[0].owner.as_deref(), Some("alice"));

    let mut player = studio.player("door-17");
    let decides = std::thread::spawn(move || {
        let admission = next(&admissions);
        assert_eq!((admission.kind(), admission.name()), (AdmissionKind::Play, Some("door-17")));
        assert!(admission.key().is_none());
        admission.accept_as("guests");
        admissions
    });
    player.go_live();
    let admissions = decides.join().unwrap();
    let publisher = studio.publisher("another-key");
    let waits = std::thread::spawn(|| publisher.refusal());
    next(&admissions).accept_as("no/name");
    assert_eq!(waits.join().unwrap(), DENIED);
}

#[test]
fn no_is_told_in_the_programs_words_and_silence_is_a_no() {
    let (studio, admissions) = asked(|server| server.options(|o| o.admission = Duration::from_millis(300)));
    studio.engine.keys().add("studio", "good-key").unwrap();
    let refused = |answer: Box<dyn FnOnce(Admission) -> Option<Admission>>| {
        let publisher = studio.publisher("good-key");
        let waits = std::thread::spawn(|| publisher.refusal());
        let kept = answer(next(&admissions));
        let code = waits.join().unwrap();
        assert!(kept.as_ref().is_none_or(|admission| !admission.is_waiting()));
        // Too late to matter.
        if let Some(admission) = kept {
            admission.accept();
        }
        code
    };
    let custom = Reject::Custom { code: "Live.NotPaid".to_owned(), description: "pay first".to_owned() };
    assert_eq!(
        refused(Box::new(|admission| {
            admission.refuse(custom);
            None
        })),
        "Live.NotPaid"
    );
    assert_eq!(
        refused(Box::new(|admission| {
            admission.refuse(Reject::Busy);
            None
        })),
        "NetStream.Publish.BadName"
    );
    assert_eq!(
        refused(Box::new(|admission| {
            drop(admission);
            None
        })),
        DENIED
    );
    assert_eq!(refused(Box::new(Some)), DENIED);
    let stats = studio.stats();
    assert_eq!((stats.refused(RefusalReason::Denied), stats.refused(RefusalReason::NoAnswer)), (3, 1));
    assert!(!studio.has("studio") && stats.publishers == 0);
}

#[test]
fn a_hook_that_panics_refuses_and_the_server_goes_on() {
    let studio = Studio::start(|server| {
        server.on_publish(|admission| {
            assert_ne!(admission.query(), "panic", "as asked");
            admission.accept();
        })
    });
    studio.engine.keys().add("studio", "good-key").unwrap();
    assert_eq!(studio.publisher("good-key?panic").refusal(), DENIED);
    studio.on_air("good-key");
}

#[test]
fn who_hangs_up_while_waiting_leaves_no_trace() {
    let (studio, admissions) = asked(|server| server);
    let mut publisher = studio.publisher("good-key");
    let wish = publisher.wish();
    publisher.socket.write_all(&wish).unwrap();
    let admission = next(&admissions);
    drop(publisher);
    assert!(wait_until(|| studio.stats().connections == 0), "{:?}", studio.stats());
    assert!(!admission.is_waiting());
    admission.accept_as("studio");
    studio.player("studio");
    assert!(!studio.has("studio"));
}

#[test]
fn a_server_that_stops_tells_those_who_wait() {
    let (studio, admissions) = asked(|server| server);
    let mut publisher = studio.publisher("good-key");
    let wish = publisher.wish();
    publisher.socket.write_all(&wish).unwrap();
    let admission = next(&admissions);
    let waits = std::thread::spawn(|| publisher.refusal());
    let Studio { engine, server } = studio;
    assert_eq!(server.stop(PATIENCE).abandoned, 0);
    assert_eq!(waits.join().unwrap(), "NetStream.Publish.Failed");
    assert!(!admission.is_waiting());
    admission.accept();
    drop(engine);
}
