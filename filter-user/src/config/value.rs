//! Values that several sections know: times, sockets, networks, numbers with a lower bound.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use filter_core::notation::{parse_network, parse_networks};
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// Longest period or block time that the configuration takes: a year.
const LONGEST_SPAN: Duration = Duration::from_hours(24 * 365);

/// Networks as commas or as an array.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected addresses: a text with commas, or an array of texts")]
pub(super) enum Networks {
    Commas(String),
    Array(Vec<String>),
}

/// One address with its port, or an array of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected an address with its port in a text, or an array of them")]
pub(super) enum Addresses {
    One(String),
    Array(Vec<String>),
}

impl Addresses {
    /// Each of them, with the place of all.
    pub(super) fn into_texts(self, span: &Range<usize>) -> Vec<Spanned<String>> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Array(texts) => texts,
        };
        texts.into_iter().map(|text| Spanned::new(span.clone(), text)).collect()
    }
}

/// A number with a lower bound, and why there is one.
pub(super) fn at_least(
    setting: &'static str,
    number: Option<Spanned<u32>>,
    least: u32,
    standard: u32,
    why: &str,
    place: &Place<'_>,
) -> Result<u32, ConfigError> {
    match number {
        None => Ok(standard),
        Some(number) if *number.get_ref() >= least => Ok(number.into_inner()),
        Some(number) => {
            Err(place.value(Some(number.span()), setting, format!("it is {least} or more: {why}")))
        }
    }
}

pub(super) fn socket(
    setting: &'static str,
    text: &Spanned<String>,
    example: &str,
    place: &Place<'_>,
) -> Result<SocketAddr, ConfigError> {
    text.get_ref().parse().map_err(|_| {
        let message =
            format!("`{}` is not an address with a port; write it like \"{example}\"", text.get_ref());
        place.value(Some(text.span()), setting, message)
    })
}

pub(super) fn networks(
    setting: &'static str,
    list: Spanned<Networks>,
    place: &Place<'_>,
) -> Result<Vec<IpNet>, ConfigError> {
    let span = list.span();
    let read = match list.into_inner() {
        Networks::Commas(text) => parse_networks(&text),
        Networks::Array(texts) => texts.iter().map(|text| parse_network(text)).collect(),
    };
    read.map_err(|error| place.value(Some(span), setting, error.to_string()))
}

pub(super) fn span(
    setting: &'static str,
    text: Option<Spanned<String>>,
    shortest: Duration,
    place: &Place<'_>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    match humantime::parse_duration(text.get_ref()) {
        Ok(span) if (shortest..=LONGEST_SPAN).contains(&span) => Ok(Some(span)),
        Ok(_) => {
            let message = format!("`{}` is not between {shortest:?} and 365d", text.get_ref());
            Err(place.value(Some(text.span()), setting, message))
        }
        Err(_) => {
            let message =
                format!("`{}` is not a time; write it like \"30m\", \"90s\", \"1h 30m\"", text.get_ref());
            Err(place.value(Some(text.span()), setting, message))
        }
    }
}
