//! What a form carried, field by field; a name may stand for several values.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};

use super::Web;

/// Most characters of a number, which is all that [`Fields::number`] reads.
const NUMBER_LIMIT: usize = 20;

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl FromRequest<Web> for Fields {
    type Rejection = FormRejection;

    async fn from_request(request: Request, web: &Web) -> Result<Self, FormRejection> {
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, web).await?;
        Ok(Self(pairs))
    }
}

impl Fields {
    /// The first value of a name, without spaces around it; empty: there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// Whether a box is checked.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// A number, if one was typed.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let shown: String = text.chars().take(NUMBER_LIMIT).collect();
        text.parse().map(Some).map_err(|_| format!("`{shown}` is not a number of {name}"))
    }

    /// Where to go when it is done: a page of ours, never another site.
    pub(super) fn back(&self, otherwise: &str) -> String {
        let back = self.text("back");
        let is_ours = back.starts_with('/') && !back.starts_with("//") && !back.contains(['\\', '\r', '\n']);
        if is_ours { back } else { otherwise }.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_no_other_site() {
        let back = |value: &str| Fields(vec![("back".to_owned(), value.to_owned())]).back("/blocks");
        assert_eq!(back("/client?address=192.0.2.7"), "/client?address=192.0.2.7");
        for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", ""] {
            assert_eq!(back(elsewhere), "/blocks", "{elsewhere}");
        }
    }
}
