//! Colours: only on a terminal, and never against `NO_COLOR` (no-color.org: set, and not empty).

use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether colours are wanted there.
pub(crate) fn is_wanted(place: &impl IsTerminal) -> bool {
    place.is_terminal() && is_allowed(std::env::var_os("NO_COLOR").as_deref())
}

fn is_allowed(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_when_it_is_not_empty() {
        assert!(is_allowed(None) && is_allowed(Some(OsStr::new(""))));
        assert!(!is_allowed(Some(OsStr::new("1"))));
    }
}
