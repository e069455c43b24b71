//! What a question about a part of a long list may ask for: the sessions and the block list have it in common.

use axum::http::StatusCode;
use filter_core::notation::parse_network;
use filter_core::open::{PAGE_LIMIT, SEARCH_LIMIT};
use ipnet::IpNet;

use super::Problem;

/// The network and the words, or why they or the number of entries cannot be asked for. What is empty is not asked for.
pub(super) fn check(
    network: Option<String>,
    words: Option<String>,
    limit: Option<usize>,
) -> Result<(Option<IpNet>, Option<String>), Problem> {
    let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let network = network.filter(|text| !text.is_empty());
    let network = network.as_deref().map(parse_network).transpose();
    let words = words.filter(|text| !text.is_empty());
    if words.as_ref().is_some_and(|words| words.len() > SEARCH_LIMIT) {
        return Err(wrong(format!("`q` has at most {SEARCH_LIMIT} bytes")));
    }
    if limit.is_some_and(|limit| !(1..=PAGE_LIMIT).contains(&limit)) {
        return Err(wrong(format!("`limit` goes from 1 to {PAGE_LIMIT}")));
    }
    Ok((network.map_err(|error| wrong(error.to_string()))?, words))
}
