//! The service of `examples/embed.rs`, as the program or the person at its other end meets it.

use std::path::Path;

use kit::{Clip, FaultProxy, Need, Nginx, PATIENCE, Peer, directory, example, need, text, wait_until};

/// The service, and how much of what it wrote was read.
struct Service {
    peer: Peer,
    read: usize,
    /// Lines that came between answers.
    events: Vec<String>,
}

/// The lines of an answer, without its last; what follows `ok` in that.
struct Answered {
    lines: Vec<String>,
    rest: String,
}

impl Service {
    fn start(program: &Path, arguments: &[&str]) -> (Self, String) {
        let mut service = Self { peer: Peer::spawn(program, arguments), read: 0, events: Vec::new() };
        let address = service.answer().expect("it starts").rest;
        let address = address.strip_prefix("listening on ").expect("where it listens").to_owned();
        (service, address)
    }

    /// What it answers: all lines up to one that begins with `ok` or `error`.
    fn answer(&mut self) -> Result<Answered, String> {
        let mut lines = Vec::new();
        loop {
            let from = self.read;
            let whole = |peer: &Peer| peer.output().get(from..).is_some_and(|rest| rest.contains('\n'));
            let came = wait_until(PATIENCE, || whole(&self.peer) || !self.peer.is_running());
            assert!(came && whole(&self.peer), "no answer after {lines:?}\n{}", self.peer.report());
            let output = self.peer.output();
            let line = output[from..].lines().next().expect("a whole line");
            self.read += line.len() + 1;
            if line.starts_with("event ") {
                self.events.push(line.to_owned());
            } else if let Some(rest) = line.strip_prefix("ok") {
                return Ok(Answered { lines, rest: rest.trim().to_owned() });
            } else if let Some(rest) = line.strip_prefix("error ") {
                return Err(rest.to_owned());
            } else {
                lines.push(line.to_owned());
            }
        }
    }

    fn ask(&mut self, order: &str) -> Result<Answered, String> {
        self.peer.say(order);
        self.answer()
    }

    #[track_caller]
    fn does(&mut self, order: &str) -> String {
        self.ask(order).map_or_else(|error| panic!("{order}: {error}"), |answered| answered.rest)
    }

    /// The code it is refused with.
    #[track_caller]
    fn refuses(&mut self, order: &str) -> String {
        let error = self.ask(order).err().unwrap_or_else(|| panic!("{order} is not refused"));
        error.split(' ').next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn lines(&mut self, order: &str) -> String {
        self.ask(order).map_or_else(|error| panic!("{order}: {error}"), |answered| answered.lines.join("\n"))
    }

    /// All figures of a stream.
    #[track_caller]
    fn figures(&mut self, stream: &str) -> serde_json::Value {
        serde_json::from_str(&self.lines(&format!("show {stream}"))).expect("JSON")
    }

    /// The figures of an output, by its label.
    #[track_caller]
    fn output(&mut self, stream: &str, label: &str) -> serde_json::Value {
        let figures = self.figures(stream);
        let outputs = figures["outputs"].as_array().expect("a list");
        let found = outputs.iter().find(|output| output["label"] == label);
        found.unwrap_or_else(|| panic!("no output {label}: {figures}")).clone()
    }

    /// Waits until an output is as it should be.
    #[track_caller]
    fn wait_output(&mut self, label: &str, is_right: impl Fn(&serde_json::Value) -> bool) {
        let right = wait_until(PATIENCE, || is_right(&self.output("news", label)));
        assert!(right, "{}", self.output("news", label));
    }

    /// Waits for an event of this name, and gives it.
    #[track_caller]
    fn wait_event(&mut self, name: &str) -> serde_json::Value {
        let part = format!("\"event\":\"{name}\"");
        let came = wait_until(PATIENCE, || {
            self.does("list");
            self.events.iter().any(|event| event.contains(&part))
        });
        assert!(came, "no {name}: {:?}", self.events);
        let event = self.events.iter().find(|event| event.contains(&part)).expect("it came");
        serde_json::from_str(event.strip_prefix("event ").expect("its beginning")).expect("JSON")
    }
}

fn is_live(output: &serde_json::Value) -> bool {
    output["phase"] == "live"
        && output["last_error"].is_null()
        && output["bytes_sent"].as_u64() > Some(10_000)
}

#[test]
fn the_service_does_what_it_is_told_and_says_why_when_it_does_not() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let Some(program) = example("embed") else { return };
    let folder = directory();
    // So long that none comes to its end by itself.
    let clip = Clip { seconds: 60, size: (160, 90), ..Clip::default() };
    let [first, second] = ["first.mp4", "second.mp4"].map(|name| clip.make(folder.path(), name));
    let (first, second) = (text(&first), text(&second));
    let archive = folder.path().join("archive.flv");
    let nginx = Nginx::start(&["live"]);
    let proxy = FaultProxy::start(nginx.address);
    let (mut service, address) = Service::start(&program, &["--listen", "127.0.0.1:0"]);

    // Who may publish: taken and malformed are told apart.
    assert_eq!(service.does("key studio secret"), "");
    assert_eq!(service.refuses("key studio other"), "KEY_IN_USE");
    assert_eq!(service.refuses("key st/udio secret"), "KEY_INVALID");
    assert!(service.does("key guest").len() >= 32, "a random key is told once");

    // Whether a file fits.
    assert_eq!(service.refuses(&format!("judge {first} vimeo")), "NO_PLATFORM");
    assert_eq!(service.refuses("judge /nonexistent.mp4 youtube"), "INPUT_NOT_FOUND");
    assert!(service.does(&format!("judge {first} any")).contains("copy"));

    // On the air. The name and the number mean the same stream.
    let start =
        format!("start news {first} {second} --to youtube=rtmp://{}/live/secret-key", proxy.address());
    let number = service.does(&start);
    assert_eq!(number, "s1");
    assert_eq!(service.refuses(&start), "NAME_TAKEN");
    assert_eq!(service.refuses("start news"), "USAGE");
    assert_eq!(service.refuses(&format!("start {} {first}", "x".repeat(200))), "CONFIG_INVALID");
    assert_eq!(service.refuses("show nothing"), "NO_STREAM");
    assert_eq!(service.figures(&number)["label"], "news");

    // Outputs come while it runs, are shown from their first moment, and are found again.
    assert_eq!(service.does(&format!("add news archive {}", text(&archive))), "o1");
    assert_eq!(service.output("news", "archive")["transport"], "file");
    assert_eq!(service.does("add s1 hall publish:hall"), "o2");
    assert_eq!(service.refuses("add news hall publish:lobby"), "LABEL_IN_USE");
    assert_eq!(service.refuses("add news again publish:hall"), "NAME_IN_USE");
    assert_eq!(service.refuses("add news web http://127.0.0.1/live/key"), "URL_INVALID");
    for label in ["youtube", "archive"] {
        service.wait_output(label, is_live);
    }
    service.wait_output("youtube", |output| output["bit_rate"].as_u64() > Some(10_000));

    // What plays now, and what comes next.
    let playing = service.does("playing news");
    assert!(
        playing.starts_with("i1 ") && playing.contains("/60.0 s ") && playing.ends_with("first.mp4"),
        "{playing}"
    );
    service.does("next news");
    let next = wait_until(PATIENCE, || {
        let playing = service.does("playing news");
        playing.starts_with("i2 ") && playing.ends_with("second.mp4")
    });
    assert!(next, "{}", service.does("playing news"));
    let playing = &service.figures("news")["playing"];
    assert!(
        playing["position_seconds"].is_f64() && playing["length_seconds"].as_f64() > Some(59.0),
        "{playing}"
    );

    // A failure is told with its code and its time, and is gone once the output has recovered.
    service.does("watch on");
    proxy.refuse(true);
    proxy.reset();
    service.wait_output("youtube", |output| output["last_error"]["code"].is_string());
    let failed = service.output("news", "youtube");
    assert!(failed["last_error"]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{failed}");
    proxy.refuse(false);
    service.wait_output("youtube", is_live);
    let again = service.output("news", "youtube");
    assert!(again["failures"].as_u64() >= Some(1) && again["reconnects"].as_u64() >= Some(1), "{again}");
    let retrying = service.wait_event("output_retrying");
    assert_eq!((&retrying["stream"], &retrying["label"]), (&"s1".into(), &"news".into()));
    assert_eq!(retrying["output_label"], "youtube");
    let live = service.wait_event("output_live");
    assert!(live["at"].as_str() > retrying["at"].as_str(), "{live} after {retrying}");
    let errors = service.lines("errors news");
    let code = failed["last_error"]["code"].as_str().expect("it has failed");
    assert!(errors.contains(&format!("{code} output_retrying: ")), "{errors}");

    // Everything in one text for Prometheus.
    let metrics = service.lines("metrics");
    for part in [
        "output_live{stream=\"s1\",label=\"news\",output=\"o0\",output_label=\"youtube\",transport=\"rtmp\"} 1",
        "output_live{stream=\"s1\",label=\"news\",output=\"o1\",output_label=\"archive\",transport=\"file\"} 1",
        "# TYPE encoder",
        "# EOF",
    ] {
        assert!(metrics.contains(part), "no {part} in\n{metrics}");
    }

    // Outputs go; a callback that was taken off says nothing any more.
    service.does("watch off");
    service.events.clear();
    assert_eq!(service.does("remove news youtube"), "o0");
    assert_eq!(service.refuses("remove news youtube"), "NO_OUTPUT");
    service.does("remove news o2");
    let gone = wait_until(PATIENCE, || {
        let list = service.lines("list");
        list.contains("archive live") && list.contains("youtube ended") && list.contains("hall ended")
    });
    assert!(gone, "{}", service.lines("list"));
    assert!(service.events.is_empty(), "{:?}", service.events);

    // No key is in anything it has written.
    let written = service.peer.output() + &service.peer.errors();
    assert!(!written.contains("secret"), "{written}");
    assert!(address.starts_with("rtmp://127.0.0.1:"), "{address}");

    assert!(service.does("stop news").contains("MB sent in"));
    assert_eq!(service.refuses("stop news"), "NO_STREAM");
    assert!(kit::packet_count(&archive, "v") > 50);
    service.does(&format!("start late {first}"));
    service.peer.say("quit");
    assert_eq!(service.answer().expect("its last words").rest, "stopped 1, abandoned 0");
    service.peer.wait_success(PATIENCE);
}

#[test]
fn the_end_of_its_input_and_ctrl_c_are_orderly_ends() {
    let Some(program) = example("embed") else { return };
    let (mut service, _) = Service::start(&program, &["--listen", "127.0.0.1:0"]);
    assert!(service.lines("help").contains("start"), "what can be said");
    service.peer.hang_up();
    assert_eq!(service.answer().expect("its last words").rest, "stopped 0, abandoned 0");
    service.peer.wait_success(PATIENCE);

    let (mut service, _) = Service::start(&program, &["--listen", "127.0.0.1:0"]);
    assert!(service.peer.interrupt(PATIENCE).success(), "{}", service.peer.report());
    assert_eq!(service.answer().expect("its last words").rest, "stopped 0, abandoned 0");
}
