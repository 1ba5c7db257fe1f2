//! How a pull is written in a file: its URL, or a table with `url` and its settings.
//!
//! In: a [`Pull`]. Out: any serde format, and back. What is secret in the address is written as `****` unless it is asked for; a pull that
//! is read so is refused when it is checked. Unknown fields are refused by name.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, BadAddress};
use super::{Pull, Reach};
use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::net::tls::TlsRoots;
use crate::written::{Keys, is_default};

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged, expecting = "a pull is a URL, or a table with `url` and its settings")]
pub(crate) enum Written {
    Url(String),
    Table(Box<Table>),
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq)]
#[serde(rename = "pull", deny_unknown_fields)]
pub(crate) struct Table {
    url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    or: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    reach: Reach,
    #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    first_media: Option<Duration>,
    #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    silence: Option<Duration>,
    #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    hold: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reconnect: Option<ReconnectPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_roots: Option<PathBuf>,
}

impl Written {
    /// How `pull` is written, but for whether it ends with what is played.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(crate) fn of(pull: &Pull, keys: Keys) -> Result<Self, String> {
        let written = |address: &Result<Address, BadAddress>| {
            let address = address.as_ref().map_err(|bad| Error::from(bad.clone()).to_string())?;
            match keys {
                Keys::Hidden => Ok(address.to_string()),
                Keys::Shown => address
                    .reveal()
                    .ok_or_else(|| "an address that no URL gives cannot be written".to_owned()),
            }
        };
        let url = written(&pull.address)?;
        let usual = Pull::url(&url);
        let other = |own: Duration, usual: Duration| (own != usual).then_some(own);
        let table = Table {
            or: pull.others.iter().map(written).collect::<Result<_, String>>()?,
            first_media: pull.first_media,
            reach: pull.reach.clone(),
            silence: other(pull.silence, usual.silence),
            hold: other(pull.hold, usual.hold),
            reconnect: pull.reconnect.clone(),
            tls_roots: match &pull.roots {
                TlsRoots::Platform => None,
                TlsRoots::File(file) => Some(file.path().to_owned()),
                TlsRoots::Only(_) => {
                    return Err("certificates that come from no file cannot be written".to_owned());
                }
            },
            url,
        };
        let bare = Table {
            url: table.url.clone(),
            or: Vec::new(),
            first_media: None,
            reach: Reach::default(),
            silence: None,
            hold: None,
            reconnect: None,
            tls_roots: None,
        };
        Ok(if table == bare { Self::Url(table.url) } else { Self::Table(Box::new(table)) })
    }
}

impl From<Written> for Pull {
    fn from(written: Written) -> Self {
        let table = match written {
            Written::Url(url) => return Self::url(&url),
            Written::Table(table) => table,
        };
        let mut pull = Self::url(&table.url);
        pull.others = table.or.iter().map(|url| Address::parse(url)).collect();
        pull.reach = table.reach;
        pull.first_media = table.first_media;
        pull.silence = table.silence.unwrap_or(pull.silence);
        pull.hold = table.hold.unwrap_or(pull.hold);
        pull.reconnect = table.reconnect;
        pull.roots = table.tls_roots.map_or(pull.roots, TlsRoots::in_pem_file);
        pull
    }
}
