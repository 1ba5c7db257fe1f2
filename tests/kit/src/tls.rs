//! TLS before a plain RTMP server: stunnel with certificates made for the test.

use super::PATIENCE;
use super::need::stunnel;
use super::net::own_address;
use super::process::{Peer, directory, text};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// Who the proxy says it is, as seen by a client that trusts the test's own authority and dials it by its address or as `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Itself, by the trusted authority.
    Right,
    /// Itself, by an authority nobody trusts.
    WrongAuthority,
    /// Another host, by the trusted authority.
    WrongHost,
}

/// A certificate authority made for one test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key pair");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate chain for these hosts and its key, in PEM.
    pub fn issue(&self, hosts: &[&str]) -> (String, String) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts.clone()).expect("host names");
        if let Some(host) = hosts.first() {
            params.distinguished_name.push(DnType::CommonName, host.as_str());
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem() + &self.pem, key.serialize_pem())
    }
}

/// stunnel in front of a server of this machine.
#[derive(Debug)]
pub struct TlsProxy {
    /// Where it listens.
    pub address: SocketAddr,
    directory: TempDir,
    process: Peer,
}

impl TlsProxy {
    /// Starts it before `upstream`.
    pub fn start(upstream: SocketAddr, identity: Identity) -> Self {
        let directory = directory();
        let trusted = Authority::new("flowcast test authority");
        let issuer = match identity {
            Identity::WrongAuthority => &Authority::new("an authority nobody trusts"),
            Identity::Right | Identity::WrongHost => &trusted,
        };
        let address = own_address();
        let host = address.ip().to_string();
        let hosts: &[&str] = match identity {
            Identity::WrongHost => &["elsewhere.invalid"],
            Identity::Right | Identity::WrongAuthority => &["localhost", "127.0.0.1", &host],
        };
        let (chain, key) = issuer.issue(hosts);
        let write = |name: &str, content: &str| {
            let file = directory.path().join(name);
            fs::write(&file, content).expect("a file in the new directory");
            file
        };
        write("ca.pem", trusted.pem());
        let (chain, key) = (write("chain.pem", &chain), write("key.pem", &key));
        let configuration = write(
            "stunnel.conf",
            &format!(
                "foreground = yes\npid =\ndebug = notice\nsyslog = no\n[rtmps]\naccept = {address}\n\
                 connect = {upstream}\ncert = {}\nkey = {}\n",
                chain.display(),
                key.display()
            ),
        );
        let mut process =
            Peer::spawn(&stunnel().expect("stunnel, which the test said it needs"), [text(&configuration)]);
        process.wait_listening(address, PATIENCE);
        Self { address, directory, process }
    }

    /// The URL of a stream.
    pub fn url(&self, app: &str, name: &str) -> String {
        format!("rtmps://{}/{app}/{name}", self.address)
    }

    /// The certificate of the authority a client should trust, for `SSL_CERT_FILE` or a setting.
    pub fn trusted(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The process, to freeze it or to see what it says.
    pub fn process(&self) -> &Peer {
        &self.process
    }
}
