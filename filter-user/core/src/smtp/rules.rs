//! What an administrator has decided about sessions and messages.

use alloc::vec::Vec;

use crate::detect::{Recipients, ReplyPattern};
use crate::smtp::attachments::Attachments;

/// Everything that is the same for all sessions of a service.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Whose mail ends here, and who never existed.
    pub recipients: Recipients,
    /// What the mail server's replies mean where their codes do not tell.
    pub reply_patterns: Vec<ReplyPattern>,
    /// Which attachments are not wanted; none: nobody looks at them.
    pub attachments: Option<Attachments>,
}
