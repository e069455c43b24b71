//! How pages ask and change things: through the very routes of the API, as the one who looks at the page. A page can do
//! nothing that the API does not offer, and nothing that its reader may not.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
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
