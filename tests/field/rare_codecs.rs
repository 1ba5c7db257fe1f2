//! Codecs that a push passes on by their old numbers: those that nothing plays are told of, those that the server did not say it takes
//! are refused.

use crate::air::{Air, frames, headers, recorded, send, sink, tag, wait_pushed};
use flowcast::EventKind;
use flowcast::rtmp::flv::{Tag, TagKind};
use kit::PATIENCE;
use kit::rig::outputs;

#[test]
fn sound_that_hardly_anything_plays_is_told_of_once() {
    for (format, name) in [(8_u8, "mulaw"), (7, "alaw"), (11, "speex"), (6, "nellymoser"), (1, "adpcm")] {
        let air = Air::start();
        let server = sink();
        let (restream, _) = air.restream(&server, |push| push, |file| file);
        let mut publisher = air.publisher();
        let [header, _] = headers();
        send(&mut publisher, [header]);
        let body = [format << 4 | 2, 1, 2, 3];
        let mut n = 0;
        while n < 30 || server.visits().first().is_none_or(|visit| visit.tags.len() < 20) {
            let of_pictures = frames(n..n + 1, 0, 0).into_iter().filter(Tag::is_video);
            send(&mut publisher, of_pictures.chain([tag(TagKind::Audio, n * 40, &body)]));
            n += 1;
            assert!(n < 20_000, "{}", restream.stats());
        }
        wait_pushed(&server, TagKind::Audio, 5);
        let told = air.told(|kind| match kind {
            EventKind::OutputCodecRare { codec, .. } => Some(codec.clone()),
            _ => None,
        });
        assert!(told.contains(name), "{told}");
        restream.stop(PATIENCE).expect("it ends well");
        assert_eq!(air.count(|kind| matches!(kind, EventKind::OutputCodecRare { .. })), 1, "{told}");
    }
}

#[test]
fn hevc_by_its_number_is_hevc() {
    let air = Air::start();
    let server = sink();
    let (restream, path) = air.restream(&server, |push| push, |file| file);
    let push = outputs(&restream)[0];
    let mut publisher = air.publisher();
    let mut record = vec![0x1c, 0, 0, 0, 0];
    record.extend([1; 22]);
    record.push(2);
    for kind in [33, 34] {
        record.extend([kind, 0, 1, 0, 2, kind << 1, 1]);
    }
    let [_, sound] = headers();
    send(&mut publisher, [tag(TagKind::Video, 0, &record), sound]);
    let error = {
        let mut n = 0;
        loop {
            let head = if n % 10 == 0 { 0x1c } else { 0x2c };
            send(&mut publisher, [tag(TagKind::Video, n * 40, &[head, 1, 0, 0, 0, 9, 9])]);
            n += 1;
            assert!(n < 20_000, "{}", restream.stats());
            let stats = restream.stats();
            let error =
                stats.outputs.iter().find(|output| output.id == push).and_then(|o| o.last_error.clone());
            if let Some(error) = error.filter(|_| n > 60) {
                break error;
            }
        }
    };
    assert!(error.text.contains("hvc1") && error.code == "CODEC_NOT_TAKEN", "{error}");
    drop(publisher);
    let _ = restream.stop(PATIENCE);
    let recording = recorded(&path);
    let pictures: Vec<_> = recording.iter().filter(|tag| tag.is_video()).collect();
    let is_hvc1 = |tag: &&&Tag| tag.body.to_bytes().get(1..5) == Some(b"hvc1");
    assert!(pictures.len() > 5 && pictures.iter().filter(is_hvc1).count() == pictures.len(), "{pictures:?}");
}
