//! What the client is to hear, in its order: the mail server's replies, and ours among them.

use alloc::format;
use alloc::string::{String, ToString};

use crate::detect::{self, Addressee, Stage};
use crate::offence::{Kind, Offence};
use crate::smtp::body::Body;
use crate::smtp::command::Verb;
use crate::smtp::ehlo;
use crate::smtp::event::{Event, ServerFault};
use crate::smtp::login::Login;
use crate::smtp::reply::Reply;
use crate::time::Instant;

use super::Session;
use super::input::Input;
use super::patience::Stride;

/// What the client is to hear next: replies come in the order of their commands (RFC 2920 section 3.2).
#[derive(Debug)]
pub(super) enum Due {
    Greeting {
        /// Whether it has been reported that the client did not wait for it.
        spoke_early: bool,
    },
    /// The reply to a command.
    Reply(Asked),
    EndOfData,
    /// A reply of our own, kept in its place among the mail server's.
    Own {
        text: String,
        ends_session: bool,
    },
    /// Our go-ahead for TLS.
    BeginTls,
}

/// A command that the mail server has yet to answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// What may be remembered of its line.
    pub(super) detail: String,
    /// Where its line began in all that the client has sent.
    pub(super) from: u64,
    /// How many bytes the mail server must have been sent, the command's chunk included, before it can answer.
    pub(super) whole_at: u64,
    /// Of a RCPT, whom it names.
    pub(super) addressee: Addressee,
}

impl Due {
    /// Whether it is the mail server's to say.
    pub(super) const fn is_servers(&self) -> bool {
        !matches!(self, Self::Own { .. } | Self::BeginTls)
    }

    /// Whether a reply can answer this at all. A 3xx asks for bytes of another kind, which only AUTH and DATA have
    /// (RFC 4954 section 4, RFC 5321 section 4.2.1); a DATA that "succeeded" would leave its message to be read as commands.
    fn allows(&self, reply: &Reply<'_>) -> bool {
        let verb = if let Self::Reply(asked) = self { Some(asked.verb) } else { None };
        match (verb, reply.code) {
            (Some(Verb::Auth), 334) | (Some(Verb::Data), 354) => true,
            (Some(Verb::Data), _) if reply.is_success() => false,
            _ => !reply.is_intermediate(),
        }
    }
}

impl Session {
    /// Takes a whole reply of the mail server.
    pub(super) fn take_reply(&mut self, reply: &Reply<'_>, now: Instant) {
        let Some(due) = self.due.pop_front() else {
            // RFC 5321 section 3.8: a server may close at any time, after a 421.
            return if reply.code == 421 {
                self.close_with(reply);
            } else {
                self.give_up(ServerFault::Unsolicited);
            };
        };
        self.rewind(now);
        if !due.allows(reply) {
            return self.give_up(ServerFault::Misplaced);
        }
        if reply.is_refusal() {
            self.count_error();
        }
        if matches!(due, Due::EndOfData) {
            self.portrait.end_transaction();
            self.end_transaction();
        }
        match due {
            Due::Greeting { .. } if reply.is_success() => self.input = Input::Commands,
            Due::Greeting { .. } => {
                self.judge(Stage::Connect, reply);
                return self.close_with(reply);
            }
            Due::EndOfData if reply.is_success() => self.note_accepted(),
            Due::EndOfData if reply.code == 421 => return self.close_with(reply),
            Due::EndOfData => self.judge(Stage::Message, reply),
            Due::Own { .. } | Due::BeginTls => {}
            Due::Reply(Asked { verb, detail, from, whole_at, addressee }) => {
                let excused = self.transaction.excuses(verb, reply, from);
                if verb == Verb::StartTls {
                    // Whatever still waits for room to be read came before TLS, too.
                    self.discard_held();
                }
                let login = self
                    .login
                    .take_if(|_| matches!(verb, Verb::Auth | Verb::CancelAuth) && !reply.is_intermediate());
                self.portrait.note(verb, &detail, reply, login.as_ref().and_then(Login::account));
                let stage = Stage::of(verb);
                let refused = || {
                    let kind = detect::offence(stage?, reply, &self.rules.reply_patterns)?;
                    Some(addressee.correct(kind, reply))
                };
                if let Some(kind) = addressee.shows(reply).or_else(refused).filter(|_| !excused) {
                    self.report(accuse(kind, detail, login.as_ref()));
                }
                // What the mail server has just answered is not out of the client's hands before it was sent.
                if matches!(verb, Verb::Auth | Verb::CancelAuth | Verb::Data) && !self.from_client.is_empty()
                {
                    self.note_pipelining(format!("{} bytes", self.from_client.len()));
                }
                if matches!(verb, Verb::Auth | Verb::CancelAuth) {
                    self.login_refused = reply.code >= 400;
                    if login.is_some() && reply.is_success() {
                        self.manners.purpose = true;
                        self.secrecy.logged_in = true;
                        self.events.push_back(Event::LoggedIn);
                    }
                }
                self.transaction.note(verb, reply, self.received);
                self.count_recipient(verb, reply);
                if reply.code == 421 {
                    // RFC 5321 section 3.8: whatever it answers, it announces that the server closes.
                    return self.close_with(reply);
                }
                match verb {
                    Verb::Ehlo | Verb::Helo if reply.is_success() => {
                        return self.take_hello(verb, reply);
                    }
                    Verb::Quit => {
                        self.note_end();
                        return self.close_with(reply);
                    }
                    Verb::StartTls if reply.code == 220 => {
                        // Whatever the server said behind its 220 was said before TLS as well, and is dropped.
                        self.input = Input::Opaque;
                    }
                    Verb::Auth if reply.is_intermediate() => self.input = Input::Credentials,
                    Verb::Data if reply.code == 354 => {
                        self.input = Input::Body(Body::new(&self.bounds), Stride::default());
                    }
                    Verb::Auth | Verb::CancelAuth | Verb::Data
                        if reply.code >= 400 && !self.from_client.is_empty() =>
                    {
                        // A message or a password would be read as commands from here on, also after a 4xx.
                        self.to_client.extend_from_slice(reply.bytes);
                        return self.end_with(self.voice.out_of_step.clone());
                    }
                    Verb::Bdat { .. } if self.server_sent < whole_at || (500..=502).contains(&reply.code) => {
                        // RFC 3030 section 2: the chunk is taken first, then refused. A server that answers before it
                        // has the chunk, or does not know the command, reads what is left of it as commands.
                        if reply.is_success() {
                            return self.give_up(ServerFault::Misplaced);
                        }
                        return self.close_with(reply);
                    }
                    Verb::Bdat { last: true, .. } if reply.is_success() => self.note_accepted(),
                    Verb::Auth | Verb::CancelAuth | Verb::Data | Verb::StartTls => {
                        self.input = Input::Commands;
                    }
                    _ => {}
                }
            }
        }
        self.to_client.extend_from_slice(reply.bytes);
        self.say_own();
    }

    /// The mail server has taken a greeting (RFC 5321 section 4.1.1.1); what it offers goes on as far as we let it.
    fn take_hello(&mut self, verb: Verb, reply: &Reply<'_>) {
        let offers = |name| verb == Verb::Ehlo && ehlo::offers(reply.bytes, name);
        self.secrecy.hello_due = false;
        self.offered.chunking = offers("CHUNKING") && !self.bounds.withholds_chunking();
        self.offered.pipelining = offers("PIPELINING");
        self.offered.largest = ehlo::largest(reply.bytes).filter(|_| verb == Verb::Ehlo);
        let narrowed = ehlo::narrow(reply.bytes, self.offer(), &self.bounds);
        self.to_client.extend_from_slice(&narrowed);
        self.say_own();
    }

    /// Reports what a refusal says of the client that no command of its own is to be remembered with.
    fn judge(&mut self, stage: Stage, reply: &Reply<'_>) {
        if let Some(kind) = detect::offence(stage, reply, &self.rules.reply_patterns) {
            self.report(Offence::new(kind, reply.text()));
        }
    }

    /// Says what is ours to say before the mail server's next reply.
    pub(super) fn say_own(&mut self) {
        while let Some(due) = self.due.pop_front_if(|due| !due.is_servers()) {
            if let Due::Own { text, ends_session } = due {
                self.to_client.extend_from_slice(text.as_bytes());
                self.over |= ends_session;
            } else {
                self.begin_tls();
            }
        }
        self.leave_server();
    }

    /// Ends the session with a reply of our own, after the replies that are due before it.
    pub(super) fn end_with(&mut self, text: String) {
        self.input = Input::Closed;
        self.from_client.clear();
        self.due.push_back(Due::Own { text, ends_session: true });
        self.say_own();
    }

    /// Ends the session with the mail server's own last word.
    fn close_with(&mut self, reply: &Reply<'_>) {
        self.to_client.extend_from_slice(reply.bytes);
        self.over = true;
    }

    /// Ends the session because the mail server cannot be followed.
    pub(super) fn give_up(&mut self, fault: ServerFault) {
        self.events.push_back(Event::ServerFault(fault));
        self.to_client.extend_from_slice(self.voice.unavailable.as_bytes());
        self.over = true;
    }
}

/// The offence that a reply shows; of a failed login, with the account and with what tells its credentials from others.
fn accuse(kind: Kind, detail: String, login: Option<&Login>) -> Offence {
    match login {
        Some(login) if kind == Kind::BadAuthentication => {
            let (account, credentials) =
                (login.account().map(ToString::to_string), Some(login.fingerprint()));
            Offence { account, credentials, ..Offence::known_by(kind, detail) }
        }
        _ => Offence::known_by(kind, detail),
    }
}
