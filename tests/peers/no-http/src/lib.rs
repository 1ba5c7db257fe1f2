//! The part of reqwest's interface that the `rtmp` crate's HTTP notifier compiles against.
//!
//! The peers never configure that notifier. With the real crate they would build two TLS stacks from source (OpenSSL and
//! AWS-LC) and some hundred crates for it; nothing of the RTMP code under test goes through here.

use std::convert::Infallible;

/// Builds requests that go nowhere.
#[derive(Debug, Default)]
pub struct Client;

impl Client {
    /// A client without a connection.
    pub fn new() -> Self {
        Self
    }

    /// A request that will not be sent.
    pub fn post(&self, _url: impl AsRef<str>) -> Request {
        Request
    }
}

/// A request that goes nowhere.
#[derive(Debug)]
pub struct Request;

impl Request {
    /// Forgets the body.
    pub fn body(self, _body: impl Into<String>) -> Self {
        self
    }

    /// Answers itself.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn send(self) -> Result<Response, Infallible> {
        Ok(Response)
    }
}

/// The answer to a request that was not sent.
#[derive(Debug)]
pub struct Response;

impl Response {
    /// Always 200.
    pub fn status(&self) -> u16 {
        200
    }
}
