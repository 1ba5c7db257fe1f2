//! What arrives before the server has decided, and addresses as they are in the wild.

use super::*;

/// `publish` and media in one write: all of it comes out at the other end.
fn publish_and_media_at_once(clip: Clip, size: std::ops::Range<usize>) {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let tags = media_tags(&studio.clip(clip));
    let mut client = Client::connect(ClientRole::Publish, &studio.publish_url());
    let mut segment = client.publish_command();
    segment.extend(on_the_wire(&tags));
    assert!(size.contains(&segment.len()), "{} bytes", segment.len());
    client.socket.write_all(&segment).expect("an open connection");
    let accepted = client.run_until(|client| client.session.is_live());
    assert!(matches!(accepted, Ok(true)), "{accepted:?}");
    let last = tags.iter().map(|tag| tag.timestamp).max().expect("tags");
    let (stream, recording) = studio.record();
    let all = wait_until(PATIENCE, || stream.stats().media_time == last);
    assert!(all, "{} of {last:?}", stream.stats());
    client.session.finish();
    client.send();
    studio.wait_off_air(&stream);
    let key = |tag: &Tag| (tag.kind, tag.timestamp.as_millis(), tag.body.to_bytes());
    let (sent, recorded) = (tags.iter().map(key).collect::<Vec<_>>(), media_tags(&recording));
    let recorded: Vec<_> = recorded.iter().map(key).collect();
    assert_eq!(recorded.len(), sent.len());
    assert!(recorded == sent, "other tags");
}

#[test]
fn publish_and_media_in_one_segment_lose_nothing() {
    let clip = Clip { seconds: 1, gop: 25, size: (160, 90), ..Clip::default() };
    publish_and_media_at_once(clip, 10_000..65_000);
}

#[test]
fn publish_and_a_lot_of_media_at_once_lose_nothing() {
    let clip = Clip { seconds: 3, gop: 75, size: (960, 540), ..Clip::default() };
    publish_and_media_at_once(clip, 400_000..8_000_000);
}

/// Starts a publisher of a server's URL, which ends when the value is dropped.
type Publish<'a> = &'a dyn Fn(&str) -> Box<dyn std::any::Any>;

/// Addresses as they are in the wild: IPv6, a query behind the key, a slash behind the app.
#[test]
fn addresses_with_queries_and_ipv6_are_understood() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 on this machine");
        return;
    }
    let server = studio
        .engine
        .rtmp_server("[::1]:0")
        .options(|options| options.publisher_grace = Duration::ZERO)
        .start()
        .expect("a free port");
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let publish: [Publish<'_>; 2] =
        [&|url| Box::new(ffmpeg_publish(&file, &format!("{url}/{KEY}?token=a%2Fb&backup=1"), 500)), &|url| {
            let output = Output::rtmp(&format!("{url}/"), format!("{KEY}?token=a%2Fb&backup=1"));
            let looped = engine.stream(Source::file(&file).looped()).to(output);
            Box::new(looped.start().expect("a stream of the clip"))
        }];
    for publish in publish {
        for address in [server.address(), studio.server.address()] {
            let url = format!("rtmp://{address}/live");
            let publisher = publish(&url);
            let stream = studio.on_air();
            let mut player = Client::connect(ClientRole::Play, &format!("{url}/{NAME}?user=me"));
            let is_video = |event: &ClientEvent| matches!(event, ClientEvent::Tag(tag) if tag.is_keyframe());
            let playing = player.run_until(|client| client.events.iter().any(is_video));
            assert!(matches!(playing, Ok(true)), "{address}: {playing:?}");
            drop(publisher);
            studio.wait_off_air(&stream);
        }
    }
}
