//! The certificates of a service, or of the web admin, while the agent runs: new ones are presented as soon as their files are there, and one that ends soon is
//! warned of.
//!
//! Whoever renews them writes two files, one after the other. So files that have changed are read when they have stopped
//! changing, and those that do not fit each other yet are read again with the next change.

use std::time::Duration;

use tokio::time::{interval, sleep};

use crate::clock;
use crate::pace::Pace;
use crate::tls::{Front, TlsError};

/// How often the files are looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// How often it is said that a certificate ends soon.
const WARN_PAUSE: Duration = Duration::from_hours(24);

/// What a service presents, and who looks after it.
#[derive(Debug)]
pub struct Renewal {
    /// What presents them, as the log calls it.
    service: String,
    front: Front,
    distrust: Pace,
}

impl Renewal {
    /// For what this service presents.
    pub fn new(service: &str, front: Front) -> Self {
        Self { service: service.to_owned(), front, distrust: Pace::new() }
    }

    /// What is presented.
    pub const fn front(&self) -> &Front {
        &self.front
    }

    /// A client went away because of our certificate.
    pub fn complain_of_distrust(&self, error: &TlsError) {
        if self.distrust.is_due() {
            tracing::warn!(
                service = self.service,
                %error,
                "a client does not accept our certificate; check that the file has the whole chain, and that the names in it are those \
                 that clients use (see `gatepost status`)"
            );
        }
    }

    /// Looks at the files, again and again.
    pub async fn watch(&self) {
        tokio::join!(self.follow(), self.warn());
    }

    async fn follow(&self) {
        let mut presented = self.front.stamp();
        let mut seen = presented.clone();
        loop {
            sleep(LOOK_PAUSE).await;
            let now = self.front.stamp();
            if now != presented && now == seen {
                presented.clone_from(&now);
                match self.front.reload() {
                    Ok(()) => {
                        tracing::info!(service = self.service, "new certificates are presented from now on");
                    }
                    Err(error) => tracing::error!(
                        service = self.service,
                        %error,
                        "the certificates in the changed files cannot be used; those before are still presented"
                    ),
                }
            }
            seen = now;
        }
    }

    async fn warn(&self) {
        let mut day = interval(WARN_PAUSE);
        loop {
            day.tick().await;
            for certificate in self.front.view(clock::now().wall).iter().filter(|one| one.ends_soon) {
                let until = certificate.until.as_millis() / 1000;
                tracing::warn!(
                    service = self.service,
                    certificate = certificate.file,
                    until,
                    "a certificate ends soon, or has ended; renew it, and write it to the same file"
                );
            }
        }
    }
}
