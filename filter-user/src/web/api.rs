//! How pages ask and change things: through the very routes of the API, as the one who looks at the page. A page can do
//! nothing that the API does not offer, and nothing that its reader may not.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use filter_core::access::Role;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use super::{Web, gate};
use crate::control::{Author, Identity, Problem};

/// Largest answer that a page is made of, in bytes.
const ANSWER_LIMIT: usize = 1 << 30;

/// The API as one reader of pages may use it.
#[derive(Debug, Clone)]
pub(super) struct Api {
    router: Router,
    /// Who looks at the page.
    pub(super) identity: Identity,
}

impl FromRequestParts<Web> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>().cloned();
        let identity = identity.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "sign in first"))?;
        Ok(Self { router: web.api.clone(), identity })
    }
}

impl Api {
    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, Problem> {
        self.ask(Method::GET, route, Body::empty()).await
    }

    /// Adds or starts something.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| broken(&error))?;
        self.ask(Method::POST, route, body.into()).await
    }

    /// Removes something.
    pub(super) async fn delete<T: DeserializeOwned>(&self, route: &str) -> Result<T, Problem> {
        self.ask(Method::DELETE, route, Body::empty()).await
    }

    /// What every form must carry.
    pub(super) fn csrf(&self) -> &str {
        self.identity.csrf.as_deref().unwrap_or_default()
    }

    /// Whether the lists and sessions are the reader's to change.
    pub(super) fn can_change(&self) -> bool {
        self.identity.role >= Role::Operator
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, route: &str, body: Body) -> Result<T, Problem> {
        let mut request = Request::builder()
            .method(method)
            .uri(route)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| broken(&error))?;
        gate::permit(&self.identity, request.method(), request.uri().path())?;
        request.extensions_mut().insert(ConnectInfo(Author(self.identity.name.clone())));
        request.extensions_mut().insert(self.identity.clone());
        let Ok(response) = self.router.clone().oneshot(request).await;
        let is_success = response.status().is_success();
        let bytes = to_bytes(response.into_body(), ANSWER_LIMIT).await.map_err(|error| broken(&error))?;
        if is_success {
            return serde_json::from_slice(&bytes).map_err(|error| broken(&error));
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|error| broken(&error)))
    }
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!("the page and the API do not understand each other: {error}; please report this");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

/// A value as a part of a query.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
        encoded
    })
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_field_of_a_query() {
        assert_eq!(encode("2001:db8::/48"), "2001:db8::%2F48");
        assert_eq!(encode("a&b=c d%é"), "a%26b%3Dc%20d%25%C3%A9");
    }
}
