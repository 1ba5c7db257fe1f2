//! TLS settings of outgoing connections.

use std::path::Path;
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
    /// Only the certificates given, see [`TlsRoots::from_pem_file`].
    Only(Arc<ClientConfig>),
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
        let fail =
            |reason: String| Error::Certificates { reason: format!("{}: {reason}", path.as_ref().display()) };
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(path.as_ref()).map_err(|error| fail(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(fail("no certificate in it".to_owned()));
        }
        Ok(Self::Only(client_config(roots)?))
    }

    /// The settings to connect with. The platform's certificates are read once for the process.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let Self::Only(config) = self {
            return Ok(config.clone());
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

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificates { reason: error.to_string() })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
