//! What streams share that were asked for the same thing.
//!
//! In: what a stream is made from, as far as it can be shared. Out: what another stream has made of the same, or what this one makes. It is kept by
//! those who share it, not here. On the threads that start streams.

use std::any::Any;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::described::Data;
use crate::error::Error;

/// What was made, by what it was made for.
#[derive(Default)]
pub(crate) struct Together(Mutex<Vec<Arc<Entry>>>);

struct Entry {
    key: Data,
    /// Locked while it is made.
    made: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

impl Entry {
    fn known<T: Any + Send + Sync>(made: Option<&Weak<dyn Any + Send + Sync>>) -> Option<Arc<T>> {
        made?.upgrade()?.downcast().ok()
    }

    /// Whether nobody has it any more, and nobody makes it.
    fn is_over(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self.made.try_lock().is_some_and(|made| made.as_ref().is_none_or(|it| it.strong_count() == 0))
    }
}

impl Together {
    /// What was made for a key of which `is_it` says that it is the same, if it `is_usable`; else what `make` makes for `key`. `is_it` is given what was
    /// made for it, if that is there already.
    ///
    /// # Errors
    ///
    /// What `make` says.
    ///
    /// # Blocking
    ///
    /// On another thread that makes the same.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what is encoded is shared"))]
    pub(crate) fn find_or_make<T: Any + Send + Sync>(
        &self,
        is_it: impl Fn(&Data, Option<&Arc<T>>) -> bool,
        key: &Data,
        is_usable: impl Fn(&Arc<T>) -> bool,
        make: impl FnOnce() -> Result<Arc<T>, Error>,
    ) -> Result<Arc<T>, Error> {
        let entry = {
            let mut entries = self.0.lock();
            entries.retain(|entry| !entry.is_over());
            let found = entries.iter().find(|entry| {
                let made = entry.made.try_lock();
                is_it(&entry.key, Entry::known(made.as_ref().and_then(|made| made.as_ref())).as_ref())
            });
            match found {
                Some(entry) => entry.clone(),
                None => {
                    let entry = Arc::new(Entry { key: key.clone(), made: Mutex::default() });
                    entries.push(entry.clone());
                    entry
                }
            }
        };
        let mut made = entry.made.lock();
        if let Some(known) = Entry::known(made.as_ref()).filter(is_usable) {
            return Ok(known);
        }
        let new = make()?;
        let kept: Arc<dyn Any + Send + Sync> = new.clone();
        *made = Some(Arc::downgrade(&kept));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_made_once_as_long_as_somebody_has_it() {
        let together = Together::default();
        let find = |key: &str, number: u32| {
            let key: Data = Arc::new(key.to_owned());
            let is_it = |other: &Data, _: Option<&Arc<u32>>| {
                other.downcast_ref::<String>() == key.downcast_ref::<String>()
            };
            together.find_or_make(is_it, &key, |known| **known != 9, || Ok(Arc::new(number)))
        };
        let first = find("a", 1).expect("it is made");
        assert_eq!((*find("a", 2).expect("it is found"), *find("b", 3).expect("it is made")), (1, 3));
        drop(first);
        let again = find("a", 9).expect("it is made again");
        assert_eq!((*again, *find("a", 5).expect("that one is of no use")), (9, 5));
        let failed = together.find_or_make(
            |_, _: Option<&Arc<u32>>| false,
            &(Arc::new(()) as Data),
            |_| true,
            || Err(Error::Ended),
        );
        assert!(failed.is_err());
        let _ = find("c", 7);
        assert_eq!(together.0.lock().len(), 1, "what nobody has is forgotten with the next");
    }
}
