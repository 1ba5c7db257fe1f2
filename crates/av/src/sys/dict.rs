//! Option and tag dictionaries.

use std::ffi::CString;
use std::ptr;

use super::check::{Failure, check};
use super::ffi;

/// An owned `AVDictionary`; null while empty.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Dict(*mut ffi::AVDictionary);

// SAFETY: an AVDictionary is plain heap data without ties to a thread; `Dict` is its only owner.
unsafe impl Send for Dict {}

impl Dict {
    pub(crate) const fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// Sets a key. Strings with a NUL are refused.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_dict_set");
        let key = CString::new(key).map_err(refuse)?;
        let value = CString::new(value).map_err(refuse)?;
        // SAFETY: both strings are NUL-terminated and copied by av_dict_set; the pointer is our own dictionary or null, and
        // may be replaced.
        check(unsafe { ffi::av_dict_set(&raw mut self.0, key.as_ptr(), value.as_ptr(), 0) }, "av_dict_set")?;
        Ok(())
    }

    /// What is in it.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        // SAFETY: null or our own dictionary, which nobody changes during the call.
        unsafe { pairs(self.0) }
    }

    /// The place libav takes the options from and leaves those it did not use in. It stays the owner.
    pub(super) fn as_mut(&mut self) -> *mut *mut ffi::AVDictionary {
        &raw mut self.0
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        // SAFETY: we are the only owner; av_dict_free accepts a pointer to null.
        unsafe { ffi::av_dict_free(&raw mut self.0) };
    }
}

/// All pairs of a dictionary that libav owns.
///
/// # Safety
/// `dict` is null or a dictionary that is not changed during the call.
pub(super) unsafe fn pairs(dict: *const ffi::AVDictionary) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut entry = ptr::null();
    loop {
        // SAFETY: an empty key with IGNORE_SUFFIX walks all entries; `entry` is null or the entry this gave last, and `dict` is
        // unchanged as the caller promises.
        entry = unsafe { ffi::av_dict_get(dict, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX) };
        if entry.is_null() {
            return pairs;
        }
        // SAFETY: entries hold two NUL-terminated strings that live as long as the dictionary is unchanged.
        if let (Some(key), Some(value)) = unsafe { (ffi::text((*entry).key), ffi::text((*entry).value)) } {
            pairs.push((key, value));
        }
    }
}
