//! Cutovers from a connection that is behind.

use super::server::Lets;
use super::*;

#[test]
fn the_new_connection_begins_at_a_keyframe_from_before_it_was_let_in_if_the_old_one_is_behind_that() {
    let (mut slow, mut other) = (Server::new(Lets::All), Server::new(Lets::All));
    let output = Output::rtmp(&slow.url(), "a-key");
    let mut rig = Rig::new(output, patient);
    rig.until(&mut [&mut slow], |rig, _| rig.is_live());
    rig.second(&mut [&mut slow]);
    rig.drain(&mut [&mut slow]);
    // Until the kernel's buffers are full.
    rig.fall_behind(&mut slow);
    let newest = rig.ring.newest_join().expect("a keyframe");
    assert!(rig.driver.cursor().expect("it is on the air") < newest, "it is behind the newest keyframe");
    rig.replace(&Output::rtmp(&other.url(), "a-key"));
    rig.until(&mut [&mut slow, &mut other], |rig, _| rig.count("output_replaced") == 1);
    assert!(rig.driver.cursor().expect("both have more to send") < newest);
    // No keyframe has come since.
    let begins = rig.pictures - GOP / 2;
    rig.until(&mut [&mut slow, &mut other], |_, servers| {
        servers[1].visits[0].tags.first().is_some_and(|tag| (tag.0, tag.2) == (TagKind::Video, begins))
    });
    slow.is_deaf = false;
    rig.until(&mut [&mut slow, &mut other], |_, servers| servers[0].visits[0].said_goodbye);
    rig.drain(&mut [&mut slow, &mut other]);
    assert_eq!((slow.visits.len(), other.visits.len(), rig.stats().drops), (1, 1, 0));
    rig.assert_whole(slow.visits.iter().chain(&other.visits));
}
