//! Where a stream is at the moment, for one that moves while it is pulled.
//!
//! In: addresses, from any thread. Out: the newest, for each dial. A pull that is connected stays so until that connection is lost.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::address::Address;
use crate::error::Error;

/// Where a stream is at the moment, for one that moves from server to server: [`Pull::following`](super::Pull::following) asks it before each
/// dial. Clones are the same.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::pull::{Pull, Whereabouts};
///
/// let show = Whereabouts::new("rtmp://origin-a.example.com/live/show")?;
/// let pull = Pull::following(&show);
/// // Later, when the program learns of it:
/// assert!(show.set("rtmp://origin-b.example.com/live/show")?);
/// # drop(pull);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Clone)]
pub struct Whereabouts(Arc<Mutex<Address>>);

impl Whereabouts {
    /// A stream that is at `url`, as of [`Pull::url`](super::Pull::url).
    ///
    /// # Errors
    ///
    /// What cannot be an address.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self(Arc::new(Mutex::new(Address::parse(url)?))))
    }

    /// The stream is at `url` from now on. `true` if it was elsewhere before. It counts when the stream is dialled next.
    ///
    /// # Errors
    ///
    /// What cannot be an address, and nothing is changed then.
    pub fn set(&self, url: &str) -> Result<bool, Error> {
        let address = Address::parse(url)?;
        let before = std::mem::replace(&mut *self.0.lock(), address.clone());
        Ok(before != address)
    }

    /// Whether anything else has it: a pull, or a clone.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(super) fn now(&self) -> Address {
        self.0.lock().clone()
    }
}

impl PartialEq for Whereabouts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Without what is secret in the address.
impl fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Whereabouts").field(&format_args!("{}", self.now())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_it_was_said_to_be_last() {
        let show = Whereabouts::new("rtmp://a.example.com/live/show?token=canary").expect("an address");
        assert!(!show.is_followed() && !format!("{show:?}").contains("canary"), "{show:?}");
        let pull = super::super::Pull::following(&show);
        assert!(show.is_followed());
        let moves = |url: &str| show.set(url).map_err(|error| error.code());
        assert_eq!(moves("rtmp://b.example.com/live/show"), Ok(true));
        assert_eq!(moves("rtmp://b.example.com/live/show"), Ok(false));
        assert!(moves("rtmp://").is_err());
        assert_eq!(show.now().host(), "b.example.com");
        drop(pull);
        assert!(!show.is_followed());
    }
}
