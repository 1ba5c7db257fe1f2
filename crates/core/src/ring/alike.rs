//! Tags that every player is sent in the same form.

use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::flv::tag::Tag;

/// Whether all players that are sent the tag are sent it as it is.
pub(crate) fn is_alike(tag: &Tag) -> bool {
    is_plain(tag) || (tag.track() != 0 && !enhanced::has_mod_ex(tag))
}

/// Whether every player is sent the tag as it is.
pub(crate) fn is_plain(tag: &Tag) -> bool {
    if !enhanced::is_enhanced(tag.kind, &tag.body) {
        return enhanced::number_four_cc(tag).is_none();
    }
    let code = enhanced::four_cc(tag.kind, &tag.body);
    !enhanced::has_mod_ex(tag)
        && tag.track() == 0
        && code.is_none_or(|code| !enhanced::has_number(tag.kind, code))
}
