//! `gatepost report`: what a person, or a script, tells of a client.

use std::time::Duration;

use clap::Args;
use filter_core::offence::Kind;
use filter_core::report::Request;

use super::table;
use super::{Failure, Output, address};
use crate::clock;
use crate::control::{Client, Heard};

#[derive(Debug, Args)]
pub(super) struct Told {
    /// The client's address
    address: String,
    /// Where it happened, such as webmail
    #[arg(long, value_name = "NAME")]
    service: String,
    /// What happened: the name of an offence, as `check-config` lists them
    #[arg(long, value_name = "NAME", default_value = "failed-login")]
    kind: String,
    /// Whose account it was
    #[arg(long, default_value = "", hide_default_value = true)]
    account: String,
    /// Anything that helps to understand it later
    #[arg(long, default_value = "", hide_default_value = true)]
    detail: String,
    /// What one of them costs [default: the multiplier of its kind]
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// How many it stands for
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// How long ago it happened, such as 5m [default: now]
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    ago: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn tell(client: &Client, told: Told) -> Result<(), Failure> {
    let who = address(&told.address)?;
    let kind = Kind::named(&told.kind).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Failure::usage(format!("there is no such offence; there are {}", names.join(", ")))
    })?;
    let request = Request {
        address: who.to_string(),
        service: told.service,
        kind: Some(kind),
        account: told.account,
        detail: told.detail,
        weight: told.weight,
        count: told.count,
        time: told.ago.map(|span| clock::now().wall.before(span)),
        credentials: None,
    };
    let heard: Vec<Heard> = client.post("/api/v1/reports", &request).await?;
    if told.output.json {
        return table::json(&heard);
    }
    for Heard { detail, .. } in &heard {
        table::line(detail)?;
    }
    Ok(())
}
