//! TLS settings of outgoing connections.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// Whom an RTMPS output trusts. Certificates and host names are always checked; there is no way to switch that off.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum TlsRoots {
    /// The platform's root certificates (and `SSL_CERT_FILE`, `SSL_CERT_DIR`).
    #[default]
    Platform,
    /// Only the certificates of a file, see [`TlsRoots::from_pem_file`].
    File(RootsFile),
    /// Only those of these settings.
    Only(Arc<ClientConfig>),
}

/// A PEM file with the certificates that are trusted.
#[derive(Debug, Clone)]
pub struct RootsFile {
    path: PathBuf,
    /// What was in it; `None` if it is read when it is needed.
    config: Option<Arc<ClientConfig>>,
}

impl RootsFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the same certificates are trusted: those of the same file, or the very same settings.
impl PartialEq for TlsRoots {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Platform, Self::Platform) => true,
            (Self::File(one), Self::File(other)) => one.path == other.path,
            (Self::Only(one), Self::Only(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl TlsRoots {
    /// Trusts only the certificates of a PEM file: a private authority.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no certificate in it.
    ///
    /// # Blocking
    ///
    /// On reading the file.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self::File(RootsFile { path: path.to_owned(), config: Some(read(path)?) }))
    }

    /// As [`from_pem_file`](Self::from_pem_file), but the file is not read before it is [loaded](Self::loaded).
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "what is read from a file says so"))]
    pub(crate) fn in_pem_file(path: PathBuf) -> Self {
        Self::File(RootsFile { path, config: None })
    }

    /// With the file read, if there is one that was not.
    ///
    /// # Errors
    ///
    /// As [`from_pem_file`](Self::from_pem_file).
    ///
    /// # Blocking
    ///
    /// On the file: where an output is opened, and not where it is dialled, which serves all outputs.
    pub(crate) fn loaded(self) -> Result<Self, Error> {
        match self {
            Self::File(RootsFile { path, config: None }) => Self::from_pem_file(path),
            loaded => Ok(loaded),
        }
    }

    /// The settings to connect with. The platform's certificates are read once for the process.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        match self {
            Self::Only(config) => return Ok(config.clone()),
            Self::File(RootsFile { config: Some(config), .. }) => return Ok(config.clone()),
            Self::File(RootsFile { path, config: None }) => return read(path),
            Self::Platform => {}
        }
        if let Some(config) = PLATFORM.get() {
            return Ok(config.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, unusable) = roots.add_parsable_certificates(found.certs);
        log::debug!("{added} platform root certificates, {unusable} unusable");
        if roots.is_empty() {
            let reason =
                found.errors.first().map_or_else(|| "the platform has none".to_owned(), ToString::to_string);
            return Err(Error::Certificates { reason });
        }
        let config = client_config(roots)?;
        Ok(PLATFORM.get_or_init(|| config).clone())
    }
}

/// The settings that trust the certificates of a PEM file.
fn read(path: &Path) -> Result<Arc<ClientConfig>, Error> {
    let fail = |reason: String| Error::Certificates { reason: format!("{}: {reason}", path.display()) };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("no certificate in it".to_owned()));
    }
    client_config(roots)
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificates { reason: error.to_string() })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
