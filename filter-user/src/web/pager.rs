//! Long lists, a page at a time.

use maud::{Markup, html};

use super::value::number;

/// Rows of a page.
pub(super) const ROWS: usize = 100;

/// A part of a list, and how long all of it is.
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    pub(super) total: usize,
    pub(super) offset: usize,
}

/// Where one is, and the ways on and back.
pub(super) fn links<T>(part: &Part<T>, link: impl Fn(usize) -> String) -> Markup {
    let (first, last) = (part.offset + 1, part.offset + part.items.len());
    html! {
        nav.check aria-label="Pages of the list" {
            span.muted { (number(first as u64)) "–" (number(last as u64)) " of " (number(part.total as u64)) }
            @if part.offset > 0 { a.button href=(link(part.offset.saturating_sub(ROWS))) { "Back" } }
            @if last < part.total { a.button href=(link(part.offset + ROWS)) { "On" } }
        }
    }
}
