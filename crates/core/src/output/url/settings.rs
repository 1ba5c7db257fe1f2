//! What the query of an output's URL can set: the options of libav, by their names there, with the values that make sense.
//!
//! In: a query. Out: settings, each known and checked. What libav would ignore, or take for something else, is refused here.

use std::net::IpAddr;

use flowcast_rtmp::key::StreamKey;

use super::address::{Address, Mode, Protocol, decoded};

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The protocols that have it.
    of: &'static [Protocol],
    value: Value,
    /// It is shown nowhere.
    pub(super) is_secret: bool,
    /// Who takes it.
    pub(super) whose: Whose,
}

/// Who takes a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// libav's protocol, under the same name.
    Protocol,
    /// libav's muxer, under the same name.
    Muxer,
    /// The output itself.
    Own,
}

/// What a value may be.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    OneOf(&'static [&'static str]),
    Number(i64, i64),
    Text(usize, usize),
    /// Whole packets of MPEG-TS, up to this many bytes.
    TsPackets(i64),
    Address,
    /// Microseconds; a number that can only have been meant as milliseconds is refused.
    Micros,
}

const SRT: &[Protocol] = &[Protocol::Srt];
const UDP: &[Protocol] = &[Protocol::Udp];
const TS: &[Protocol] = &[Protocol::Srt, Protocol::Udp];
const ICECAST: &[Protocol] = &[Protocol::Icecast];
const FLAG: Value = Value::OneOf(&["0", "1"]);
const MOST_BITS: i64 = 1 << 32;

const fn own(name: &'static str, of: &'static [Protocol], value: Value) -> Setting {
    Setting { name, of, value, is_secret: false, whose: Whose::Own }
}

const fn passed(name: &'static str, of: &'static [Protocol], value: Value) -> Setting {
    Setting { name, of, value, is_secret: false, whose: Whose::Protocol }
}

const fn secret(name: &'static str, of: &'static [Protocol], value: Value) -> Setting {
    Setting { name, of, value, is_secret: true, whose: Whose::Protocol }
}

/// All of them. libsrt's limits are those of its API-socket-options.md.
static SETTINGS: [Setting; 41] = [
    passed("mode", SRT, Value::OneOf(&["caller", "listener"])),
    passed("latency", SRT, Value::Micros),
    passed("rcvlatency", SRT, Value::Micros),
    passed("peerlatency", SRT, Value::Micros),
    secret("passphrase", SRT, Value::Text(10, 79)),
    passed("pbkeylen", SRT, Value::OneOf(&["0", "16", "24", "32"])),
    passed("enforced_encryption", SRT, FLAG),
    secret("streamid", SRT, Value::Text(1, 512)),
    passed("connect_timeout", SRT, Value::Number(1, 60_000)),
    passed("maxbw", SRT, Value::Number(-1, MOST_BITS)),
    passed("inputbw", SRT, Value::Number(0, MOST_BITS)),
    passed("oheadbw", SRT, Value::Number(5, 100)),
    passed("tlpktdrop", SRT, FLAG),
    passed("snddropdelay", SRT, Value::Number(-1, 60_000_000)),
    passed("sndbuf", SRT, Value::Number(1 << 16, 1 << 30)),
    passed("rcvbuf", SRT, Value::Number(1 << 16, 1 << 30)),
    passed("send_buffer_size", SRT, Value::Number(1 << 12, 1 << 30)),
    passed("ffs", SRT, Value::Number(32, 1 << 20)),
    passed("mss", SRT, Value::Number(76, 9000)),
    passed("ipttl", SRT, Value::Number(1, 255)),
    passed("iptos", SRT, Value::Number(0, 255)),
    passed("lossmaxttl", SRT, Value::Number(0, 1000)),
    passed("nakreport", SRT, FLAG),
    passed("kmrefreshrate", SRT, Value::Number(0, 1 << 30)),
    passed("kmpreannounce", SRT, Value::Number(0, 1 << 30)),
    own("pkt_size", TS, Value::TsPackets(1456)),
    Setting {
        name: "muxrate",
        of: TS,
        value: Value::Number(10_000, 1_000_000_000),
        is_secret: false,
        whose: Whose::Muxer,
    },
    passed("ttl", UDP, Value::Number(1, 255)),
    passed("localaddr", UDP, Value::Address),
    passed("localport", UDP, Value::Number(1, 65535)),
    passed("buffer_size", UDP, Value::Number(1 << 12, 1 << 30)),
    passed("dscp", UDP, Value::Number(0, 63)),
    passed("broadcast", UDP, FLAG),
    own("ice_name", ICECAST, Value::Text(1, 256)),
    own("ice_description", ICECAST, Value::Text(1, 256)),
    own("ice_genre", ICECAST, Value::Text(1, 256)),
    own("ice_url", ICECAST, Value::Text(1, 256)),
    own("ice_public", ICECAST, FLAG),
    own("user_agent", ICECAST, Value::Text(1, 256)),
    own("legacy_icecast", ICECAST, FLAG),
    own("tls", ICECAST, FLAG),
];

/// The settings of a query.
///
/// # Errors
///
/// What is wrong, without the value of a secret.
pub(super) fn parse(protocol: Protocol, query: &str) -> Result<Vec<(&'static Setting, StreamKey)>, String> {
    let mut found: Vec<(&'static Setting, StreamKey)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = SETTINGS.iter().find(|setting| setting.name == name && setting.of.contains(&protocol));
        let Some(setting) = known else {
            let name: String = name.chars().take(32).filter(char::is_ascii_graphic).collect();
            return Err(format!("{} URLs have no setting `{name}`", protocol.scheme()));
        };
        if found.iter().any(|(other, _)| std::ptr::eq(*other, setting)) {
            return Err(format!("the URL sets `{name}` twice"));
        }
        let value = decoded(value)?;
        if value != crate::output::HIDDEN {
            setting.check(&value)?;
        }
        found.push((setting, StreamKey::new(value)));
    }
    Ok(found)
}

impl Setting {
    fn check(&self, value: &str) -> Result<(), String> {
        let name = self.name;
        let number = || value.parse::<i64>().ok();
        let within = |least: i64, most: i64| number().is_some_and(|number| (least..=most).contains(&number));
        let is_good = match &self.value {
            Value::OneOf(words) if !words.contains(&value) => {
                return Err(format!("`{name}` in the URL is none of {}", words.join(", ")));
            }
            Value::OneOf(_) => true,
            Value::Number(least, most) if !within(*least, *most) => {
                return Err(format!("`{name}` in the URL is no number from {least} to {most}"));
            }
            Value::Number(..) => true,
            Value::Text(least, most) if !(*least..=*most).contains(&value.len()) => {
                return Err(format!("`{name}` in the URL has not {least} to {most} bytes"));
            }
            // It would be a line of its own in a request.
            Value::Text(..) => !value.contains(['\r', '\n']),
            Value::TsPackets(most) => within(188, *most) && number().is_some_and(|number| number % 188 == 0),
            Value::Address => value.parse::<IpAddr>().is_ok(),
            Value::Micros if within(1, 999) => {
                return Err(format!(
                    "`{name}` in the URL is less than a millisecond: it is in microseconds, as ffmpeg has it"
                ));
            }
            Value::Micros => within(0, 60_000_000),
        };
        if is_good { Ok(()) } else { Err(format!("`{name}` in the URL cannot be that")) }
    }
}

/// What settings of SRT cannot be together.
pub(super) fn check_srt(address: &Address) -> Result<(), String> {
    let has = |name| address.setting(name).is_some();
    if (has("pbkeylen") || has("enforced_encryption")) && !has("passphrase") {
        return Err("`pbkeylen` and `enforced_encryption` have no effect without `passphrase`".to_owned());
    }
    if address.mode() == Mode::Listener && (has("streamid") || has("connect_timeout")) {
        return Err(
            "`streamid` and `connect_timeout` have no effect on a listener: the caller has them".to_owned()
        );
    }
    Ok(())
}
