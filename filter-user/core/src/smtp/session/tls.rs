//! TLS that ends at us: when it begins, and what is known no more once it has.
//!
//! The machine sees none of it. It says that the bytes from here on are TLS ([`Session::poll_tls`]), is told what became of the
//! handshake, and goes on with what was inside. What came before TLS must not be taken for what comes inside it (CVE-2011-0411):
//! it is thrown away and reported. So is what was known of the client (RFC 3207 section 4.2); the mail server forgets it with the
//! EHLO that must come next.

use alloc::string::String;
use core::time::Duration;

use crate::detect;
use crate::offence::{Kind, Offence};
use crate::smtp::command::Verb;
use crate::smtp::ehlo::{Auth, Offer, StartTls};
use crate::time::Instant;

use super::Session;
use super::bound::Used;
use super::due::Due;
use super::input::Input;
use super::transaction::Transaction;

/// How long a client may take for its handshake; an honest one over a satellite needs three seconds.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(30);

/// What a service does about TLS with its clients.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS is the mail server's to offer, and what is inside is not seen.
    #[default]
    PassThrough,
    /// STARTTLS is ours, whatever the mail server offers.
    Terminate {
        /// Whether clients may log in without it.
        auth_in_clear: bool,
    },
    /// Ours, from the first byte on (RFC 8314 section 3.3).
    Implicit,
    /// Nobody is offered STARTTLS.
    Off,
}

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// The handshake cannot succeed, and why; printable.
    Impossible(String),
    /// The client went away before it was done.
    Abandoned,
}

/// What TLS that ends at us has made of a session.
#[derive(Debug, Default)]
pub(super) struct Secrecy {
    /// Whether it has begun.
    pub(super) begun: bool,
    /// Whether the client has to say EHLO before anything else.
    pub(super) hello_due: bool,
    /// Whether the mail server has taken the client's credentials.
    pub(super) logged_in: bool,
}

impl Session {
    /// With what its service does about TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        if tls == Tls::Implicit {
            self.input = Input::Handshake(false);
        }
        self
    }

    /// Whether the client's connection is to become TLS now: all that comes before it has been sent.
    pub fn poll_tls(&self) -> bool {
        self.is_in_handshake() && !self.over
    }

    /// TLS has begun.
    pub fn handle_tls(&mut self, now: Instant) {
        if !self.poll_tls() {
            return;
        }
        self.secrecy.begun = true;
        self.input = if self.is_greeted() {
            // RFC 3207 section 4.2: both sides begin anew, which only an EHLO makes the mail server do.
            self.secrecy.hello_due = true;
            Input::Commands
        } else {
            Input::Waiting
        };
        self.offered = super::Offered::default();
        (self.transaction, self.used) = (Transaction::default(), Used::default());
        self.login_refused = false;
        self.rewind(now);
        // What the mail server said meanwhile, such as that it does not wait any longer.
        self.handle_server(&[], now);
    }

    /// There is no TLS, and so no way to say anything to the client.
    pub fn handle_tls_failed(&mut self, fault: TlsFault) {
        if self.over {
            return;
        }
        match fault {
            TlsFault::Impossible(why) => self.report(Offence::known_by(Kind::TlsFailure, why)),
            // Whoever only looks is told of once, and what makes it an offence is that it happens again.
            TlsFault::Abandoned if !self.manners.purpose => {
                self.report(Offence::new(Kind::UnfinishedSession, b"no TLS handshake"));
            }
            TlsFault::Abandoned => {}
        }
        self.manners.purpose = true;
        self.over = true;
    }

    /// Whether the client hears nothing but TLS now.
    pub(super) fn is_in_handshake(&self) -> bool {
        matches!(self.input, Input::Handshake(_)) && self.to_client.is_empty()
    }

    /// What an EHLO's reply may offer of what TLS changes.
    pub(super) const fn offer(&self) -> Offer {
        match self.tls {
            Tls::PassThrough => Offer { starttls: StartTls::Theirs, auth: Auth::Any },
            Tls::Off => Offer { starttls: StartTls::Nobodys, auth: Auth::Any },
            _ if self.secrecy.begun => Offer { starttls: StartTls::Nobodys, auth: Auth::Unbound },
            Tls::Terminate { auth_in_clear: true } => Offer { starttls: StartTls::Ours, auth: Auth::Unbound },
            _ => Offer { starttls: StartTls::Ours, auth: Auth::Withheld },
        }
    }

    /// Answers a command that the mail server must not hear where TLS stands; false: it may.
    pub(super) fn refuse_for_tls(&mut self, verb: Verb, line: &[u8], now: Instant) -> bool {
        let ours = self.tls != Tls::PassThrough;
        let text = match verb {
            Verb::StartTls if !ours => return false,
            Verb::StartTls if self.tls == Tls::Off => &self.voice.not_implemented,
            // RFC 3207 section 4.2: not a second time.
            Verb::StartTls if self.secrecy.begun => &self.voice.tls_active,
            // RFC 3207 section 4: no parameters.
            Verb::StartTls if line.trim_ascii().len() > "STARTTLS".len() => &self.voice.tls_parameters,
            // The mail server would go on with what was said in the clear, for whoever comes inside TLS.
            Verb::StartTls if self.secrecy.logged_in => &self.voice.tls_after_login,
            Verb::StartTls => {
                self.expect_tls(now);
                return true;
            }
            // RFC 4954 section 6: encryption is required.
            Verb::Auth if self.offer().auth == Auth::Withheld => &self.voice.tls_needed,
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Auth if self.secrecy.hello_due => {
                &self.voice.hello_first
            }
            _ => return false,
        };
        let text = text.clone();
        self.report(Offence::new(Kind::SyntaxError, detect::memorable(verb, line)));
        self.answer(text, now);
        true
    }

    /// The client asked for TLS. Replies that are due before ours are waited for.
    fn expect_tls(&mut self, now: Instant) {
        self.passing = None;
        self.input = Input::Discarding(false);
        self.due.push_back(Due::BeginTls);
        self.say_own();
        self.rewind(now);
    }

    /// Our go-ahead is said. What comes now is TLS.
    pub(super) fn begin_tls(&mut self) {
        self.discard_held();
        let reported = matches!(self.input, Input::Discarding(true));
        self.to_client.extend_from_slice(self.voice.tls_ready.as_bytes());
        self.input = Input::Handshake(reported);
    }

    fn is_greeted(&self) -> bool {
        !matches!(self.due.front(), Some(Due::Greeting { .. }))
    }
}
