//! TLS for the self-benchmark: a key made for one run, known only to its two ends.
//!
//! A raw public key (RFC 7250) instead of a certificate: what is measured is the sending, and that is the same for both.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

use crate::error::Error;
use crate::net::random;
use crate::net::tls::TlsRoots;

/// A PKCS #8 version 1 structure for Ed25519 up to the 32 bytes of the key itself (RFC 8410 §7).
const ED25519: [u8; 16] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Who the receiver is, and whom the streams trust.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) roots: TlsRoots,
}

impl Identity {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`Error::Benchmark`]: no randomness, or the TLS library does not take the key.
    pub(crate) fn new() -> Result<Self, Error> {
        let fail = |reason: String| Error::Benchmark { reason };
        let secret = random::secret::<32>().ok_or_else(|| fail("no randomness for a key".to_owned()))?;
        let key = PrivatePkcs8KeyDer::from([&ED25519[..], &secret].concat());
        let tls = |error: rustls::Error| fail(format!("TLS: {error}"));
        let key = rustls::crypto::ring::sign::any_eddsa_type(&key).map_err(tls)?;
        let public = key.public_key().ok_or_else(|| fail("TLS: the key has no public half".to_owned()))?;
        let public = CertificateDer::from(public.as_ref().to_vec());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver =
            AlwaysResolvesServerRawPublicKeys::new(Arc::new(CertifiedKey::new(vec![public.clone()], key)));
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OneKey { public, provider }))
            .with_no_client_auth();
        Ok(Self { server: Arc::new(server), roots: TlsRoots::Only(Arc::new(client)) })
    }
}

/// Trusts one public key.
#[derive(Debug)]
struct OneKey {
    public: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.public {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
