//! The client session against answers as servers give them.

use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::command::{Command, Request, Status};
use flowcast_rtmp::error::{Error, LoginError};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::message::{Control, UserControl};
use flowcast_rtmp::session::{ClientConfig, ClientEvent, ClientRole};

use crate::util::{Client, command, commands, message, video};

fn result(transaction: f64, value: Value) -> Vec<u8> {
    command("_result", transaction, vec![value], 0)
}

fn status(status: &Status, stream_id: u32) -> Vec<u8> {
    message(5, 20, &status.to_command().encode(), stream_id, 128)
}

/// Up to the sent `publish` or `play`, with a server that answers only what it must.
fn started(role: ClientRole) -> Client {
    let mut client = Client::new(role);
    client.sent();
    client.input(&result(1.0, Status::info("NetConnection.Connect.Success", "").to_value())).unwrap();
    client.input(&result(4.0, Value::from(5.0))).unwrap();
    assert_eq!(client.events(), [ClientEvent::Connected]);
    client
}

#[test]
fn connect_comes_first_and_says_what_encoders_say() {
    let mut client = Client::new(ClientRole::Publish);
    let sent = client.sent();
    let connect = Command::parse(20, &sent[0].payload, &Limits::before_auth()).unwrap().unwrap();
    assert_eq!((connect.name.as_str(), connect.transaction), ("connect", 1.0));
    let names: Vec<_> = connect.object.properties().unwrap().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app", "type", "flashVer", "tcUrl"]);
    let Request::Connect(connect) = Request::from_command(&connect) else { panic!("not connect") };
    assert_eq!((connect.app.as_str(), connect.tc_url.as_str()), ("live", "rtmp://host/live"));
    assert_eq!(connect.flash_ver, "FMLE/3.0 (compatible; flowcast)");
    assert_eq!(sent.len(), 1, "Set Chunk Size is applied by the reader");
}

#[test]
fn publishing_to_a_server_that_answers_only_what_it_must() {
    let mut client = Client::new(ClientRole::Publish);
    client.sent();
    client.input(&result(1.0, Value::Null)).unwrap();
    let sent = client.sent();
    let names: Vec<_> =
        commands(&sent).into_iter().map(|(name, transaction, ..)| (name, transaction)).collect();
    assert_eq!(
        names,
        [("releaseStream".to_owned(), 2.0), ("FCPublish".to_owned(), 3.0), ("createStream".to_owned(), 4.0)]
    );
    client.input(&result(4.0, Value::from(5.0))).unwrap();
    let sent = client.sent();
    let publish = Command::parse(20, &sent[0].payload, &Limits::before_auth()).unwrap().unwrap();
    assert_eq!((publish.name.as_str(), sent[0].stream_id), ("publish", 5));
    assert_eq!(publish.arguments, [Value::from("secret?token=1"), Value::from("live")]);
    client.session.send_tag(&video(0, true, 10));
    assert!(client.sent().is_empty(), "not live yet");
    client.input(&status(&Status::info("NetStream.Publish.Start", ""), 5)).unwrap();
    assert_eq!(client.events(), [ClientEvent::Connected, ClientEvent::Live]);
    assert_eq!(client.session.next_timeout(), None);
    client.session.send_tag(&video(0, true, 10));
    let sent = client.sent();
    assert_eq!((sent[0].type_id, sent[0].stream_id), (9, 5));
}

#[test]
fn a_chatty_server() {
    let mut client = started(ClientRole::Publish);
    client.sent();
    let mut bytes = message(2, 5, &5_000_000_u32.to_be_bytes(), 0, 128);
    bytes.extend(message(2, 6, &[0, 0x4C, 0x4B, 0x40, 2], 0, 128));
    bytes.extend(command("onBWDone", 0.0, vec![Value::from(8192.0)], 0));
    bytes.extend(command("_error", 2.0, vec![Status::error("NetConnection.Call.Failed", "").to_value()], 0));
    bytes.extend(command("_result", 3.0, vec![Value::Undefined], 0));
    bytes.extend(command(
        "onFCPublish",
        0.0,
        vec![Status::info("NetStream.Publish.Start", "").to_value()],
        0,
    ));
    bytes.extend(message(2, 4, &[0, 0, 0, 0, 0, 5], 0, 128));
    bytes.extend(message(2, 4, &[0, 6, 0, 0, 0, 1], 0, 128));
    bytes.extend(message(2, 4, &[0, 31, 0, 0], 0, 128));
    bytes.extend(message(3, 99, &[1, 2, 3], 0, 128));
    client.input(&bytes).unwrap();
    assert_eq!(client.events(), [ClientEvent::StreamBegin]);
    let sent = client.sent();
    let pong = Control::parse(sent[0].type_id, &sent[0].payload);
    assert_eq!((sent.len(), pong), (1, Some(Control::User(UserControl::PingResponse(1)))));
    client.input(&status(&Status::info("NetStream.Publish.Start", ""), 5)).unwrap();
    assert!(client.session.is_live());
}

#[test]
fn playing() {
    let mut client = started(ClientRole::Play);
    let sent = client.sent();
    let names: Vec<_> = commands(&sent).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["createStream", "play"]);
    let last = sent.last().unwrap();
    let buffer = Control::parse(last.type_id, &last.payload);
    assert_eq!(buffer, Some(Control::User(UserControl::SetBufferLength { stream_id: 5, millis: 3000 })));
    client.input(&status(&Status::info("NetStream.Play.Reset", "reset secret"), 5)).unwrap();
    let events = client.events();
    let [ClientEvent::Status { code, description, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((code.as_str(), description.as_str()), ("NetStream.Play.Reset", "reset ****"));
    client.input(&status(&Status::info("NetStream.Play.Start", ""), 5)).unwrap();
    client.input(&message(6, 9, &[0x17, 1, 0, 0, 0, 9], 5, 128)).unwrap();
    let events = client.events();
    assert!(matches!(events.as_slice(), [ClientEvent::Live, ClientEvent::Tag(_)]), "{events:?}");
    client.session.finish();
    let sent = commands(&client.sent());
    assert_eq!(sent[0].0, "deleteStream");
}

#[test]
fn media_without_a_start_status() {
    let mut client = started(ClientRole::Play);
    client.input(&message(6, 9, &[0x17, 1, 0, 0, 0, 9], 5, 128)).unwrap();
    let events = client.events();
    assert!(matches!(events.as_slice(), [ClientEvent::Live, ClientEvent::Tag(_)]), "{events:?}");
}

#[test]
fn refusals_at_every_step() {
    let refuse = |error: Error| match error {
        Error::Rejected { code, description } => (code, description),
        other => panic!("{other}"),
    };
    // connect, with information in the wrong place and as bare text.
    let info = Status::error("NetConnection.Connect.Rejected", "no secret here");
    let answers = [
        (command("_error", 1.0, vec![info.to_value()], 0), "NetConnection.Connect.Rejected", "no **** here"),
        (
            message(3, 20, &Command::with_object("_error", 1.0, info.to_value(), vec![]).encode(), 0, 128),
            "NetConnection.Connect.Rejected",
            "no **** here",
        ),
        (command("_error", 1.0, vec![Value::from("denied")], 0), "NetConnection.Connect.Rejected", "denied"),
        (
            status(&Status::error("NetConnection.Connect.InvalidApp", ""), 0),
            "NetConnection.Connect.InvalidApp",
            "",
        ),
    ];
    for (answer, code, description) in answers {
        let mut client = Client::new(ClientRole::Publish);
        let refusal = refuse(client.input(&answer).unwrap_err());
        assert_eq!(refusal, (code.to_owned(), description.to_owned()));
        assert!(client.session.is_finished());
        assert_eq!(client.session.next_timeout(), None);
    }
    // createStream, publish, and a publisher that is thrown out later.
    let mut client = Client::new(ClientRole::Publish);
    client.input(&result(1.0, Value::Null)).unwrap();
    let refusal = refuse(client.input(&command("_error", 4.0, vec![], 0)).unwrap_err());
    assert_eq!(refusal.0, "NetConnection.Call.Failed");
    let bad_name = Status { level: String::new(), ..Status::error("NetStream.Publish.BadName", "") };
    let mut client = started(ClientRole::Publish);
    let refusal = refuse(client.input(&status(&bad_name, 5)).unwrap_err());
    assert_eq!(refusal.0, "NetStream.Publish.BadName");
    let mut client = started(ClientRole::Publish);
    client.input(&status(&Status::info("NetStream.Publish.Start", ""), 5)).unwrap();
    refuse(client.input(&status(&bad_name, 5)).unwrap_err());
    assert!(!client.session.is_live());
}

#[test]
fn rml_rtmp_refuses_with_transaction_0() {
    let mut client = started(ClientRole::Play);
    let info = Status::error("NetStream.Play.Failed", "this server only records").to_value();
    let error = client.input(&command("_error", 0.0, vec![info.clone()], 5)).unwrap_err();
    assert_eq!(error.code(), "RTMP_REJECTED");
    // Once live, an answer to nothing is nothing.
    let mut client = started(ClientRole::Publish);
    client.input(&status(&Status::info("NetStream.Publish.Start", ""), 5)).unwrap();
    client.input(&command("_error", 0.0, vec![info], 5)).unwrap();
    assert!(client.session.is_live());
}

#[test]
fn redirects() {
    let ex = Value::object([("code", Value::from(302.0)), ("redirect", Value::from("rtmp://other/live"))]);
    let info = Value::object([
        ("level", Value::from("error")),
        ("code", Value::from("NetConnection.Connect.Rejected")),
        ("ex", ex),
    ]);
    let mut client = Client::new(ClientRole::Play);
    client.input(&command("_error", 1.0, vec![info], 0)).unwrap();
    assert_eq!(client.events(), [ClientEvent::Redirect { url: "rtmp://other/live".into() }]);
    assert!(client.session.is_finished());
}

#[test]
fn endings() {
    for (role, code) in [
        (ClientRole::Publish, "NetStream.Unpublish.Success"),
        (ClientRole::Publish, "NetConnection.Connect.Closed"),
        (ClientRole::Play, "NetStream.Play.UnpublishNotify"),
        (ClientRole::Play, "NetStream.Play.Stop"),
        (ClientRole::Play, "NetStream.Play.Complete"),
    ] {
        let mut client = started(role);
        let start = if role == ClientRole::Play { "NetStream.Play.Start" } else { "NetStream.Publish.Start" };
        client.input(&status(&Status::info(start, ""), 5)).unwrap();
        client.input(&status(&Status::info(code, ""), 5)).unwrap();
        assert_eq!(client.events().last(), Some(&ClientEvent::Closed { code: code.into() }));
        assert!(client.session.is_finished());
    }
    let mut client = started(ClientRole::Publish);
    client.input(&command("close", 0.0, vec![], 0)).unwrap();
    assert!(client.session.is_finished());
}

#[test]
fn texts_of_the_server_are_clipped() {
    let mut client = started(ClientRole::Publish);
    let long = Status::error(&"é".repeat(1000), &"ü".repeat(5000));
    let Err(Error::Rejected { code, description }) = client.input(&status(&long, 5)) else {
        panic!("not rejected")
    };
    assert_eq!((code.len(), description.len()), (256, 1024));
}

/// What a client says in `connect`: app and tcUrl.
fn connected_to(client: &mut Client) -> (String, String) {
    let sent = client.sent();
    let connect = Command::parse(20, &sent[0].payload, &Limits::before_auth()).unwrap().unwrap();
    let Request::Connect(connect) = Request::from_command(&connect) else { panic!("not connect") };
    (connect.app, connect.tc_url)
}

#[test]
fn a_login_takes_three_connections() {
    let url = "rtmp://joe:SECRET@host/live/key";
    let questions = [
        "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ",
        "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=joe&salt=s&challenge=c&opaque=o",
    ];
    let mut config = ClientConfig::default();
    let mut apps = Vec::new();
    for (number, question) in questions.into_iter().enumerate() {
        let mut client = Client::of(ClientRole::Publish, url, config.clone());
        apps.push(connected_to(&mut client));
        let info = Status::error("NetConnection.Connect.Rejected", question);
        // Some say it as an answer, some as a status.
        let answer = match number {
            0 => command("_error", 1.0, vec![info.to_value()], 0),
            _ => status(&info, 0),
        };
        client.input(&answer).unwrap();
        assert!(client.session.is_finished());
        // What follows on that connection is not heard any more.
        client.input(&command("close", 0.0, Vec::new(), 0)).unwrap();
        let events = client.events();
        let [ClientEvent::Login(answer)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(format!("{events:?}"), "[Login(LoginAnswer(****))]");
        config.login = Some(answer.clone());
    }
    let mut client = Client::of(ClientRole::Publish, url, config.clone());
    apps.push(connected_to(&mut client));
    for ((app, tc_url), begins) in apps.iter().zip([
        "live",
        "live?authmod=adobe&user=joe",
        "live?authmod=adobe&user=joe&challenge=01010101&response=",
    ]) {
        assert!(app.starts_with(begins) && !app.contains("SECRET"), "{app}");
        assert_eq!(*tc_url, format!("rtmp://host/{app}"));
    }
    client.input(&result(1.0, Value::Null)).unwrap();
    assert_eq!(client.events(), [ClientEvent::Connected]);

    // The proof is not taken, and the server repeats what it must not.
    let mut client = Client::of(ClientRole::Publish, url, config);
    let info = Status::error(
        "NetConnection.Connect.Rejected",
        "authmod=adobe ?reason=authfailed SECRET joe:SECRET key",
    );
    let error = client.input(&command("_error", 1.0, vec![info.to_value()], 0)).unwrap_err();
    let Error::Login { reason, description } = &error else { panic!("{error}") };
    assert_eq!(
        (*reason, error.code(), error.is_retryable()),
        (LoginError::Refused, "RTMP_LOGIN_FAILED", false)
    );
    assert_eq!(description, "authmod=adobe ?reason=authfailed **** **** ****");
    // A later refusal in such words is a refusal.
    let mut client = started(ClientRole::Publish);
    let error =
        client.input(&status(&Status::error("NetStream.Publish.Denied", "authmod=adobe"), 5)).unwrap_err();
    assert_eq!(error.code(), "RTMP_REJECTED");
}

#[test]
fn what_a_server_repeats_of_an_address_is_blotted_out_and_its_code_stays() {
    let refused = |url: &str, code: &str, text: &str| {
        let mut client = Client::of(ClientRole::Publish, url, ClientConfig::default());
        let info = Status::error(code, text).to_value();
        match client.input(&command("_error", 1.0, vec![info], 0)).unwrap_err() {
            Error::Rejected { code, description } => (code, description),
            other => panic!("{other}"),
        }
    };
    let (code, text) = refused(
        "rtmp://host/live/key?token=abcdef&x=1",
        "NetConnection.Connect.Rejected",
        "key?token=abcdef&x=1, abcdef, 401",
    );
    assert_eq!((code.as_str(), text.as_str()), ("NetConnection.Connect.Rejected", "****?****, ****, 401"));
    // A key of one letter does not change what is done.
    let (code, text) = refused("rtmp://host/live/e", "NetConnection.Connect.Rejected", "denied");
    assert_eq!((code.as_str(), text.as_str()), ("NetConnection.Connect.Rejected", "d****ni****d"));
    let (code, _) = refused("rtmp://host/live/e", "Vendor.e", "");
    assert_eq!(code, "V****ndor.****");
    // Where the app names the stream, it is the key.
    let (_, text) =
        refused("rtmp://host/live/stream/", "NetConnection.Connect.InvalidApp", "no app live/stream");
    assert_eq!(text, "no app ****");
}
