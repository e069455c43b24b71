//! Messages refused for what is attached to them, and messages cut into parts.
//!
//! The mail server behind us may have a list of its own. Its words are those of amavis (`BANNED`), of Exim's usual ACLs and of
//! Postfix's usual `mime_header_checks`.

use super::words::Words;

/// Whether a message was refused for the name or type of an attachment.
pub(super) fn banned(words: &Words) -> bool {
    words.say_any(&[
        "attachment",
        "attached file",
        "file extension",
        "filename",
        "file name",
        "file type",
        "banned",
    ])
}

/// Whether a message was refused because it is a part of one (RFC 2046 section 5.2.2).
pub(super) fn partial(words: &Words) -> bool {
    words.say_any(&["message/partial", "partial message", "fragmented message"])
}
