//! The one cookie: what a signed-in browser shows. No script can read it, and no other site makes a browser send it.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::control::SIGN_IN_LASTS;

const NAME: &str = "gatepost";

/// What a browser shows, if it shows anything.
pub(super) fn read(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, value)| value.to_owned())
}

/// Tells a browser what to show from now on.
pub(super) fn write(secret: &str, is_private: bool) -> Option<HeaderValue> {
    let secure = if is_private { "; Secure" } else { "" };
    let age = SIGN_IN_LASTS.as_secs();
    let text = format!("{NAME}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Tells a browser to forget it.
pub(super) const fn forget() -> HeaderValue {
    HeaderValue::from_static("gatepost=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_others_and_secure_where_it_can_be() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; gatepost=x1; c=d"));
        assert_eq!(read(&headers).as_deref(), Some("x1"));
        assert_eq!(read(&HeaderMap::new()), None);
        let text = |is_private| write("x1", is_private).unwrap().to_str().unwrap().to_owned();
        assert!(text(false).contains("HttpOnly; SameSite=Strict") && !text(false).contains("Secure"));
        assert!(text(true).ends_with("; Secure"));
    }
}
