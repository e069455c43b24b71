//! What helps to tell what a client does: section `[detection]`.

use filter_core::detect::{Pattern, Recipients, ReplyPattern, Stage};
use filter_core::offence::Kind;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Detection {
    local_domains: Vec<Spanned<String>>,
    trap_recipients: Vec<Spanned<String>>,
    reply_patterns: Vec<Written>,
}

/// A pattern as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    command: Option<Stage>,
    pattern: Spanned<String>,
    event: Meaning,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the name of an event, as `gatepost check-config` lists them, or \"none\""
)]
enum Meaning {
    Offence(Kind),
    None(Nothing),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Nothing {
    None,
}

impl Detection {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<(Recipients, Vec<ReplyPattern>), ConfigError> {
        let domain = |text: &Spanned<String>| {
            let name = text.get_ref().trim_end_matches('.').to_lowercase();
            let message = format!("`{}` is not a domain; write it like \"example.net\"", text.get_ref());
            let good = !name.is_empty() && !name.contains(['@', ' ', '*']) && !name.starts_with('.');
            if good { Ok(name) } else { Err(place.value(Some(text.span()), "local_domains", message)) }
        };
        let trap = |text: &Spanned<String>| {
            let address = text.get_ref().to_lowercase();
            let good =
                address.split_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty());
            let message =
                format!("`{}` is not an address; write it like \"trap@example.net\"", text.get_ref());
            if good { Ok(address) } else { Err(place.value(Some(text.span()), "trap_recipients", message)) }
        };
        let pattern = |written: Written| {
            let compiled = Pattern::new(written.pattern.get_ref()).map_err(|error| {
                place.value(Some(written.pattern.span()), "reply_patterns", error.to_string())
            })?;
            let kind = match written.event {
                Meaning::Offence(kind) => Some(kind),
                Meaning::None(Nothing::None) => None,
            };
            Ok(ReplyPattern { stage: written.command, pattern: compiled, kind })
        };
        let recipients = Recipients {
            local_domains: self.local_domains.iter().map(domain).collect::<Result<_, _>>()?,
            traps: self.trap_recipients.iter().map(trap).collect::<Result<_, _>>()?,
        };
        Ok((recipients, self.reply_patterns.into_iter().map(pattern).collect::<Result<_, _>>()?))
    }
}
