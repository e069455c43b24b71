//! What pages load: in the program itself, named after what is in it, so that browsers may keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

/// One file.
pub(super) struct Asset {
    kind: &'static str,
    content: &'static str,
    /// Where it is; changes with its content.
    pub(super) path: LazyLock<String>,
}

pub(super) static STYLE: Asset = Asset {
    kind: "text/css; charset=utf-8",
    content: include_str!("assets/gatepost.css"),
    path: LazyLock::new(|| path("css", include_str!("assets/gatepost.css"))),
};
pub(super) static SCRIPT: Asset = Asset {
    kind: "text/javascript; charset=utf-8",
    content: include_str!("assets/gatepost.js"),
    path: LazyLock::new(|| path("js", include_str!("assets/gatepost.js"))),
};
pub(super) static ICON: Asset = Asset {
    kind: "image/svg+xml",
    content: include_str!("assets/gatepost.svg"),
    path: LazyLock::new(|| path("svg", include_str!("assets/gatepost.svg"))),
};

fn path(extension: &str, content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    let name = digest.iter().take(8).fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
    format!("/assets/{name}.{extension}")
}

pub(super) async fn show(Path(name): Path<String>) -> Response {
    let wanted = format!("/assets/{name}");
    let Some(asset) = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| *asset.path == wanted) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = asset.content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, for_good);
    response
}
