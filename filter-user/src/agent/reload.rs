//! Reading the configuration again while everything goes on.
//!
//! A file with a mistake changes nothing. What cannot change under open sockets and a loaded filter is named, and takes
//! effect at the next start.

use std::fmt::Debug;
use std::sync::Arc;

use filter_core::policy::Policy;
use filter_core::smtp::voice::Voice;
use tokio::sync::watch;

use super::{books, supervisor};
use crate::config::{Config, ConfigError, ServiceConfig, TlsConfig, WebConfig};
use crate::control::Settings;
use crate::edge::Service;
use crate::ips::{Inbox, Reload, Request};
use crate::renewal::Renewal;
use crate::tls::{CertificateFiles, Certificates, Front, FrontError, TlsError};

/// Why the configuration in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has a mistake, or cannot be read.
    #[error("{0}; what was in force stays in force")]
    Config(#[from] ConfigError),
    /// The certificates that it names.
    #[error("{0}: certificates: {1}; what was in force stays in force")]
    Certificates(String, FrontError),
    /// Started without a file.
    #[error(
        "the agent runs on built-in defaults, so there is no file to read again; start it with --config FILE"
    )]
    NoFile,
    /// The agent is on its way out.
    #[error("the agent is stopping; what is in the file takes effect when it starts again")]
    Stopping,
}

/// Reads the file that the agent was started with again.
#[derive(Debug)]
pub struct Reloader {
    started_with: Config,
    inbox: Inbox,
    services: Arc<[Arc<Service>]>,
    /// What the web admin presents.
    web: Option<Arc<Renewal>>,
    settings: watch::Sender<Arc<Settings>>,
}

impl Reloader {
    pub(super) fn new(
        started_with: Config,
        inbox: Inbox,
        services: Arc<[Arc<Service>]>,
        web: Option<Arc<Renewal>>,
    ) -> Self {
        let settings = watch::Sender::new(Arc::new(settings(&started_with, Vec::new())));
        Self { started_with, inbox, services, web, settings }
    }

    /// Every setting, and where it comes from.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts the file in force; says which of its settings wait for the next start.
    pub async fn reload(&self) -> Result<Vec<&'static str>, ReloadError> {
        supervisor::reloading();
        let outcome = self.read_again().await;
        supervisor::ready();
        outcome
    }

    async fn read_again(&self) -> Result<Vec<&'static str>, ReloadError> {
        let file = self.started_with.file.as_deref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(Some(file))?;
        let certificates = self.certificates(&config)?;
        let replies = (&Voice::new(&self.started_with.name, &config.templates)).into();
        // The kernel's mode was written when the filter was loaded; the engine's must be the same.
        let policy = Policy { observe: self.started_with.policy.observe, ..config.policy.clone() };
        let limits = books::limits_again(&self.started_with, &config);
        let wanted = Box::new(Reload { policy, limits, replies });
        self.inbox.ask(|answer| Request::Reload(wanted, answer)).await.ok_or(ReloadError::Stopping)?;
        for (whose, front, files, certificates) in certificates {
            let failed = |error: TlsError| ReloadError::Certificates(whose, error.into());
            front.replace(files, certificates).map_err(failed)?;
        }
        let waiting = waiting(&self.started_with, &config);
        self.settings.send_replace(Arc::new(settings(&config, waiting.clone())));
        tracing::info!(file = %file.display(), ?waiting, "the configuration has been read again");
        Ok(waiting)
    }
}

/// Every setting of a configuration as its file says it.
fn settings(config: &Config, waiting: Vec<&str>) -> Settings {
    let text = config.file.as_ref().map(std::fs::read_to_string).transpose();
    // A file that has changed or gone in this moment is read again at the next reload.
    let settings = text.ok().and_then(|text| config.effective(&text.unwrap_or_default()).ok());
    Settings {
        file: config.file.as_ref().map(|file| file.display().to_string()),
        settings: settings.unwrap_or_default(),
        waiting: waiting.into_iter().map(str::to_owned).collect(),
    }
}

impl Reloader {
    /// What is to be presented from now on, read whole before anything is changed.
    fn certificates<'a>(&'a self, config: &'a Config) -> Result<Vec<Presented<'a>>, ReloadError> {
        let named = |service: &'a Arc<Service>| {
            let front = service.front()?;
            let config = config.services.iter().find(|config| config.name == service.name())?;
            Some((format!("service {}", service.name()), front, &config.tls.certificates[..]))
        };
        let read =
            |(whose, front, files): (String, &'a Front, &'a [CertificateFiles])| match Certificates::load(
                files,
            ) {
                Ok(certificates) => Ok((whose, front, files, certificates)),
                Err(error) => Err(ReloadError::Certificates(whose, error.into())),
            };
        let web = self.web.iter().map(|web| ("[web]".to_owned(), web.front(), &config.web.certificates[..]));
        // Whoever is to present none any more goes on with what it has until the next start.
        self.services
            .iter()
            .filter_map(named)
            .chain(web)
            .filter(|(.., files)| !files.is_empty())
            .map(read)
            .collect()
    }
}

/// Who presents what from now on.
type Presented<'a> = (String, &'a Front, &'a [CertificateFiles], Certificates);

/// Settings that differ and cannot change while the agent runs.
fn waiting(before: &Config, after: &Config) -> Vec<&'static str> {
    let differ = |name, before: &dyn Debug, after: &dyn Debug| {
        (format!("{before:?}") != format!("{after:?}")).then_some(name)
    };
    let observe = differ("mode", &before.policy.observe, &after.policy.observe);
    let attachments = differ("[attachments]", &before.rules.attachments, &after.rules.attachments);
    let found = [
        differ("name", &before.name, &after.name),
        observe,
        differ("state_directory", &before.state_directory, &after.state_directory),
        differ("control_socket", &before.control_socket, &after.control_socket),
        differ("[kernel]", &before.kernel, &after.kernel),
        differ("[smtp]", &lasting(&before.services, true), &lasting(&after.services, true)),
        differ("[services]", &lasting(&before.services, false), &lasting(&after.services, false)),
        differ(
            "[detection]",
            &(&before.rules.recipients, &before.rules.reply_patterns),
            &(&after.rules.recipients, &after.rules.reply_patterns),
        ),
        // Whoever only observes refuses nothing, so a change of the mode shows in there; it is named already.
        attachments.filter(|_| observe.is_none()),
        differ("[log]", &before.log, &after.log),
        differ("[logs]", &before.logs, &after.logs),
        differ("[web]", &lasting_web(&before.web), &lasting_web(&after.web)),
        differ("[metrics]", &before.metrics, &after.metrics),
        // Compared and not shown: there is a key in it.
        (before.dovecot != after.dovecot).then_some("[dovecot]"),
        differ("[reports]", &before.reports, &after.reports),
    ];
    found.into_iter().flatten().collect()
}

/// What of the services cannot change while they listen: of the first one, or of all others. Limits can, if a service has
/// its own before and after.
fn lasting(services: &[ServiceConfig], first: bool) -> Vec<(ServiceConfig, bool)> {
    let (head, others) = services.split_at(services.len().min(1));
    let chosen = if first { head } else { others };
    let strip = |service: &ServiceConfig| {
        let tls = TlsConfig { certificates: Vec::new(), ..service.tls.clone() };
        (ServiceConfig { limits: None, tls, ..service.clone() }, service.limits.is_some())
    };
    chosen.iter().map(strip).collect()
}

/// What of the web admin cannot change while it listens: also whether there is TLS, but not by which certificate.
fn lasting_web(web: &WebConfig) -> (WebConfig, bool) {
    (WebConfig { certificates: Vec::new(), ..web.clone() }, web.certificates.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let config = |text: &str| Config::parse(text, None).unwrap();
        let before = config("");
        let after = config(
            "mode = \"observe\"\n[smtp]\nmail_server = \"192.0.2.1:25\"\n[ips]\nrepeat_factor = 2\n[log]\nids_file = \"x\"\n\
             [services.a]\nlisten = [\"[::]:587\"]\n",
        );
        assert_eq!(waiting(&before, &after), ["mode", "[smtp]", "[services]", "[log]"]);
        assert!(waiting(&before, &before).is_empty());
        let own = |maximum: u32| config(&format!("[smtp.sessions]\nmaximum_sessions = {maximum}\n"));
        assert!(waiting(&own(5), &own(6)).is_empty(), "limits change at once");
        assert_eq!(waiting(&before, &own(5)), ["[smtp]"], "books do not");
    }
}
