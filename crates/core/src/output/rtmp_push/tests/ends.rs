//! How a push ends while one of its connections is leaving.

use super::server::Lets;
use super::*;

#[test]
fn one_that_ends_lets_what_is_leaving_say_goodbye() {
    let (mut slow, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let mut rig = Rig::new(Output::rtmp(&slow.url(), "a-key"), patient);
    rig.until(&mut [&mut slow], |rig, _| rig.is_live());
    rig.second(&mut [&mut slow]);
    rig.drain(&mut [&mut slow]);
    rig.fall_behind(&mut slow);
    rig.replace(&Output::rtmp(&other.url(), "a-key"));
    rig.until(&mut [&mut slow, &mut other], |rig, _| rig.count("output_replaced") == 1);
    rig.finish();
    // This one closes at once, as many servers do.
    other.cut();
    rig.until(&mut [&mut slow, &mut other], |rig, _| rig.ended || rig.stats().phase == OutputPhase::Ended);
    assert!(!rig.ended && !rig.driver.is_finished());
    slow.is_deaf = false;
    rig.until(&mut [&mut slow, &mut other], |_, servers| servers[0].visits[0].said_goodbye);
    let began = Instant::now();
    while !rig.driver.is_finished() {
        rig.turn(&mut [&mut slow, &mut other]);
        assert!(began.elapsed() < PATIENCE, "it does not end");
    }
}

#[test]
fn one_that_is_not_on_the_air_is_away() {
    let mut server = Server::new(Lets::All);
    let mut rig = Rig::new(Output::rtmp(&server.url(), "a-key"), patient);
    assert!(rig.driver.is_away());
    rig.until(&mut [&mut server], |rig, _| rig.is_live());
    assert!(!rig.driver.is_away());
    server.cut();
    rig.until(&mut [&mut server], |rig, _| rig.driver.is_away());
    rig.until_after_waits(&mut [&mut server], Duration::from_secs(60));
    assert!(!rig.driver.is_away());
}

#[test]
fn one_that_is_dialled_while_it_ends_ends_although_the_source_rests_then() {
    let mut server = Server::new(Lets::Undecided);
    let mut rig = Rig::new(Output::rtmp(&server.url(), "a-key"), |_| {});
    rig.until(&mut [&mut server], |_, servers| {
        servers[0].visits.first().is_some_and(|visit| visit.has_asked)
    });
    rig.finish();
    rig.rest(true);
    assert_eq!(rig.stats().phase, OutputPhase::Connecting, "its answer is waited for");
    let began = Instant::now();
    while !rig.driver.is_finished() {
        rig.turn(&mut [&mut server]);
        assert!(began.elapsed() < PATIENCE, "it does not end");
    }
    rig.until(&mut [&mut server], |_, servers| !servers[0].summary()[0].2);
}
