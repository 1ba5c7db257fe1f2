//! temporary
use flowcast::*;
use std::time::Duration;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("file")?;
    let seconds: u64 = args.next().ok_or("seconds")?.parse()?;
    let mut config = Config::default();
    config.max_streams = 1000;
    let engine = Engine::new(config)?;
    engine.on_event(|e| eprintln!("{} {:?}", e.stream, e.kind));
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    engine.keys().add("demo", "demo-key")?;
    eprintln!("{}", server.address());
    let mut b = engine.stream(Source::file(file).looped()).record("/tmp/t/rec.flv").to(Output::rtmp_url(&format!("rtmp://{}/live/demo-key", server.address())));
    for u in args { b = b.to(Output::rtmp_url(&u)); }
    let live = b.start()?;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        eprintln!("{}", live.stats());
    }
    eprintln!("{:#?}", live.stop(Duration::from_secs(5))?);
    eprintln!("{:?} stop {}", server.stats(), server.stop(Duration::from_secs(5)));
    Ok(())
}
