//! TLS of a service: settings `tls`, `certificates` and their kin of `[smtp]` and of each `[services.NAME]`.

use std::path::PathBuf;

use filter_core::smtp::session::Tls;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use crate::tls::{CertificateFiles, OldestVersion, is_server_name};

/// Certificates of one service, or of the web admin.
const CERTIFICATES_LIMIT: usize = 100;

/// TLS of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// What it does for its clients.
    pub clients: Tls,
    /// What it presents to them, if it does anything itself.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that it speaks with them.
    pub oldest: OldestVersion,
    /// What it does towards its mail servers.
    pub mail_servers: MailServerTls,
    /// Whether those must prove who they are.
    pub verify: bool,
    /// Who vouches for them; none: the CAs that the system trusts.
    pub ca: Option<PathBuf>,
    /// The name in their certificates; none: their addresses.
    pub name: Option<String>,
}

/// TLS towards the mail servers of a service.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailServerTls {
    /// None of ours.
    #[default]
    None,
    /// STARTTLS if it is offered, whoever answers.
    Opportunistic,
    /// STARTTLS, or nothing.
    Starttls,
    /// From the first byte.
    Implicit,
}

/// What a service does for its clients, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Choice {
    PassThrough,
    Terminate,
    Implicit,
    None,
}

/// The settings of a service as they are written.
pub(super) struct Written {
    pub(super) tls: Option<Spanned<Choice>>,
    pub(super) certificates: Option<Spanned<Vec<CertificateFiles>>>,
    pub(super) tls_oldest: Option<OldestVersion>,
    pub(super) auth_without_tls: Option<bool>,
    pub(super) mail_server_tls: Option<Spanned<MailServerTls>>,
    pub(super) mail_server_verify: Option<bool>,
    pub(super) mail_server_ca: Option<PathBuf>,
    pub(super) mail_server_name: Option<Spanned<String>>,
}

/// The certificates of a service, or of the web admin.
pub(super) fn certificates(
    list: Option<Spanned<Vec<CertificateFiles>>>,
    place: &Place<'_>,
) -> Result<Vec<CertificateFiles>, ConfigError> {
    let span = list.as_ref().map(Spanned::span);
    let list = list.map(Spanned::into_inner).unwrap_or_default();
    if list.len() > CERTIFICATES_LIMIT {
        let message = format!("name at most {CERTIFICATES_LIMIT} certificates; one may be for many names");
        return Err(place.value(span, "certificates", message));
    }
    Ok(list)
}

impl Written {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<TlsConfig, ConfigError> {
        let certificates = certificates(self.certificates, place)?;
        let span = self.tls.as_ref().map(Spanned::span);
        let standard = if certificates.is_empty() { Choice::PassThrough } else { Choice::Terminate };
        let choice = self.tls.map_or(standard, Spanned::into_inner);
        if matches!(choice, Choice::Terminate | Choice::Implicit) && certificates.is_empty() {
            let message = "it needs a certificate, such as certificates = [{ certificate = \"/etc/gatepost/fullchain.pem\", \
                           key = \"/etc/gatepost/privkey.pem\" }]";
            return Err(place.value(span, "tls", message.to_owned()));
        }
        let server_span = self.mail_server_tls.as_ref().map(Spanned::span);
        let mail_servers = self.mail_server_tls.map(Spanned::into_inner).unwrap_or_default();
        if choice == Choice::PassThrough && mail_servers != MailServerTls::None {
            let message = "with tls = \"pass-through\" the client's own TLS goes to the mail server, and none of ours can be around it; \
                           set tls to \"terminate\", \"implicit\" or \"none\"";
            return Err(place.value(server_span, "mail_server_tls", message.to_owned()));
        }
        if let Some(name) = self.mail_server_name.as_ref().filter(|name| !is_server_name(name.get_ref())) {
            let message = format!(
                "`{}` cannot be the name in a certificate; write it like \"mail.example.net\"",
                name.get_ref()
            );
            return Err(place.value(Some(name.span()), "mail_server_name", message));
        }
        let auth_in_clear = self.auth_without_tls.unwrap_or(false);
        Ok(TlsConfig {
            clients: match choice {
                Choice::PassThrough => Tls::PassThrough,
                Choice::Terminate => Tls::Terminate { auth_in_clear },
                Choice::Implicit => Tls::Implicit,
                Choice::None => Tls::Off,
            },
            certificates,
            oldest: self.tls_oldest.unwrap_or_default(),
            mail_servers,
            verify: self.mail_server_verify.unwrap_or(true),
            ca: self.mail_server_ca,
            name: self.mail_server_name.map(Spanned::into_inner),
        })
    }
}

impl TlsConfig {
    /// What it does for its clients: the setting's own word.
    pub const fn word(&self) -> &'static str {
        match self.clients {
            Tls::PassThrough => "pass-through",
            Tls::Terminate { .. } => "terminate",
            Tls::Implicit => "implicit",
            Tls::Off => "none",
        }
    }

    /// Whether TLS with clients ends here.
    pub const fn is_ours(&self) -> bool {
        matches!(self.clients, Tls::Terminate { .. } | Tls::Implicit)
    }

    /// What it does for clients and towards mail servers, in words.
    pub fn summary(&self) -> String {
        let clients = match self.clients {
            Tls::PassThrough => "STARTTLS passes through to the mail server",
            Tls::Terminate { .. } => "STARTTLS with our certificate",
            Tls::Implicit => "TLS from the first byte with our certificate",
            Tls::Off => "no TLS for clients",
        };
        let servers = match self.mail_servers {
            MailServerTls::None => return clients.to_owned(),
            MailServerTls::Opportunistic => "STARTTLS with mail servers that offer it",
            MailServerTls::Starttls => "STARTTLS with mail servers",
            MailServerTls::Implicit => "TLS with mail servers",
        };
        let proof = if self.is_verified() { "verified" } else { "not verified" };
        format!("{clients}; {servers}, {proof}")
    }

    /// Whether mail servers must prove who they are. If it would do without TLS, whoever could play the mail server could have it
    /// do so.
    pub fn is_verified(&self) -> bool {
        self.verify && self.mail_servers != MailServerTls::Opportunistic
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ServiceConfig};
    use super::*;

    const ONE: &str = "certificates = [{ certificate = \"a.pem\", key = \"a.key\" }]\n";

    fn services(text: &str) -> Vec<ServiceConfig> {
        Config::parse(text, None).unwrap().services
    }

    #[test]
    fn with_a_certificate_tls_ends_here() {
        assert_eq!(services("")[0].tls.clients, Tls::PassThrough);
        let text = format!(
            "[smtp]\n{ONE}[services.a]\nlisten = [\"[::]:465\"]\ntls = \"implicit\"\nmail_server_tls = \"starttls\"\n"
        );
        let services = services(&text);
        let [smtp, implicit] = &services[..] else { panic!("{services:?}") };
        assert_eq!(smtp.tls.clients, Tls::Terminate { auth_in_clear: false });
        assert_eq!(
            (implicit.tls.clients, &implicit.tls.certificates),
            (Tls::Implicit, &smtp.tls.certificates)
        );
        assert!(implicit.tls.is_verified() && implicit.summary().contains("verified"));
    }

    #[test]
    fn mistakes_are_answered_with_their_line() {
        let refused = |text: &str, words: &[&str]| {
            let error = Config::parse(text, Some("gatepost.toml".into())).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "`{word}` is missing in: {error}");
            }
        };
        refused("[smtp]\ntls = \"terminate\"", &["gatepost.toml:2", "certificates = [{"]);
        refused("[smtp]\ntls = \"maybe\"", &["gatepost.toml:2", "pass-through"]);
        refused("[smtp]\ncertificates = [{ certificate = \"a\" }]", &["gatepost.toml:2", "key"]);
        refused("[smtp]\nmail_server_tls = \"starttls\"", &["gatepost.toml:2", "pass-through"]);
        refused("[smtp]\nmail_server_name = \"a b\"", &["gatepost.toml:2", "mail.example.net"]);
        refused("[smtp]\ntls_oldest = \"1.1\"", &["gatepost.toml:2", "1.2"]);
    }
}
