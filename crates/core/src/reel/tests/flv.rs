//! FLV files.
