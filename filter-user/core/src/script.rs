//! Dialogue scripts: what a client and a mail server say through the edge, what each of them hears, and what is reported.
//!
//! The same script is played here, cut at any bytes, and over real sockets. One step a line; a text is followed by CR LF
//! unless it ends with `\c`, and may hold `\r`, `\n`, `\0`, `\\`, `\xHH` and `\*N(text)`, which is the text N times.
//!
//! ```text
//! # the first comment is the title
//! @ lenient        the service; `smtp` if nothing is said
//! only plain: why  the transports that it makes sense over, `plain`, `starttls` and `implicit`; all of them if nothing is said
//! C: text          the client sends it, and the mail server gets it
//! C! text          the client sends it, and the mail server never gets it
//! C? text          the client sends it; how much of it the mail server gets is nobody's business from here on
//! M: text          the mail server gets it, though the client has not sent it like this
//! S: text          the mail server says it, and the client hears it
//! S! text          the mail server says it, and the client does not hear it
//! G: text          the client hears it from Gatepost
//! C closes         the client will send no more, and still listens
//! S closes         the mail server closes
//! wait             time passes until the session has enough of it
//! = kind           what is reported, all of it, in its order
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::offence::Kind;
use crate::smtp::event::{Event, Side};
use crate::smtp::session::Session;
use crate::time::Instant;

/// A dialogue.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What it shows.
    pub title: String,
    /// The service that the client connects to.
    pub service: String,
    /// What it makes sense over.
    pub transports: Vec<Transport>,
    /// What happens, in its order.
    pub steps: Vec<Step>,
    /// What is reported.
    pub offences: Vec<Kind>,
}

/// What a client's bytes go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS that was asked for with STARTTLS.
    StartTls,
    /// TLS from the first byte on.
    Implicit,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::StartTls, Self::Implicit];

    /// Its word in a script.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client sends bytes.
    Client(Vec<u8>, Fate),
    /// The mail server gets bytes that were sent otherwise.
    Passed(Vec<u8>),
    /// The mail server says something; whether the client hears it.
    Server(Vec<u8>, bool),
    /// The client hears something that no mail server has said.
    Own(Vec<u8>),
    /// The client will send no more.
    ClientCloses,
    /// The mail server has gone.
    ServerCloses,
    /// Time passes.
    Wait,
}

/// What becomes of a client's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The mail server gets them.
    Passes,
    /// It does not.
    Stays,
    /// From here on it may get anything or nothing.
    Unsure,
}

/// What came out of a dialogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the client heard.
    pub heard: Vec<u8>,
    /// What the mail server got.
    pub passed: Vec<u8>,
    /// What was reported.
    pub offences: Vec<Kind>,
}

/// A line that is no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Script {
    /// Reads the text of a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut script =
            Self { service: "smtp".into(), transports: Transport::ALL.to_vec(), ..Self::default() };
        for (number, line) in text.lines().enumerate() {
            script.take(line).map_err(|what| ScriptError { line: number + 1, what })?;
        }
        if script.title.is_empty() {
            return Err(ScriptError { line: 1, what: "a script begins with its title, as a comment" });
        }
        Ok(script)
    }

    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = match (word, rest) {
            ("#", title) if self.title.is_empty() => {
                title.clone_into(&mut self.title);
                return Ok(());
            }
            ("" | "#", _) => return Ok(()),
            ("@", service) => {
                service.clone_into(&mut self.service);
                return Ok(());
            }
            ("only", rest) => {
                let (names, why) = rest.split_once(": ").unwrap_or_default();
                if why.is_empty() {
                    return Err("say why, as in `only plain: why`");
                }
                let named = |name| Transport::ALL.into_iter().find(|transport| transport.name() == name);
                self.transports =
                    names.split(", ").map(named).collect::<Option<_>>().ok_or("no such transport")?;
                return Ok(());
            }
            ("=", name) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
                self.offences.push(kind.ok_or("no such offence")?);
                return Ok(());
            }
            ("C", "closes") => Step::ClientCloses,
            ("S", "closes") => Step::ServerCloses,
            ("wait", "") => Step::Wait,
            ("C:", text) => Step::Client(bytes(text)?, Fate::Passes),
            ("C!", text) => Step::Client(bytes(text)?, Fate::Stays),
            ("C?", text) => Step::Client(bytes(text)?, Fate::Unsure),
            ("M:", text) => Step::Passed(bytes(text)?),
            ("S:", text) => Step::Server(bytes(text)?, true),
            ("S!", text) => Step::Server(bytes(text)?, false),
            ("G:", text) => Step::Own(bytes(text)?),
            _ => return Err("no such step"),
        };
        self.steps.push(step);
        Ok(())
    }

    /// What must come out, and whether all that the mail server gets is told: if not, it gets more.
    pub fn expected(&self) -> (Outcome, bool) {
        let mut outcome = Outcome { offences: self.offences.clone(), ..Outcome::default() };
        let mut sure = true;
        for step in &self.steps {
            match step {
                Step::Client(_, Fate::Unsure) => sure = false,
                Step::Client(bytes, Fate::Passes) | Step::Passed(bytes) if sure => {
                    outcome.passed.extend_from_slice(bytes);
                }
                Step::Server(bytes, true) | Step::Own(bytes) => outcome.heard.extend_from_slice(bytes),
                _ => {}
            }
        }
        (outcome, sure)
    }

    /// Plays it in a session; what a side sends at once comes in pieces of so many bytes. A handshake that is due succeeds before
    /// the next step.
    pub fn play(&self, mut session: Session, client_cut: usize, server_cut: usize) -> Outcome {
        let mut now = Instant::from_nanos(0);
        let mut outcome = Outcome::default();
        for group in
            self.steps.chunk_by(|one, other| matches!((one, other), (Step::Client(..), Step::Client(..))))
        {
            session.handle_tls(now);
            match group {
                [Step::Client(..), ..] => {
                    let sent = group
                        .iter()
                        .map(|step| if let Step::Client(bytes, _) = step { &bytes[..] } else { b"" });
                    for part in sent.collect::<Vec<_>>().concat().chunks(client_cut.max(1)) {
                        // What may go on at once is taken in pieces, too.
                        let mut pass = |bytes: &[u8]| {
                            let taken = bytes.get(..server_cut).unwrap_or(bytes);
                            outcome.passed.extend_from_slice(taken);
                            taken.len()
                        };
                        session.pass_client(part, now, &mut pass);
                        outcome.collect(&mut session, now);
                    }
                }
                [Step::Server(bytes, _)] => {
                    for part in bytes.chunks(server_cut.max(1)) {
                        session.handle_server(part, now);
                        outcome.collect(&mut session, now);
                    }
                }
                [Step::ClientCloses] => session.handle_client_closed(now),
                [Step::ServerCloses] => session.handle_server_closed(),
                [Step::Wait] => {
                    now = session.poll_timeout();
                    session.handle_timeout(now);
                }
                _ => {}
            }
            outcome.collect(&mut session, now);
        }
        outcome
    }

    /// Says how an outcome differs from what must come out, if it does.
    pub fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        let (expected, sure) = self.expected();
        let passed = if sure {
            outcome.passed == expected.passed
        } else {
            outcome.passed.starts_with(&expected.passed)
        };
        let what = match () {
            () if outcome.heard != expected.heard => "the client heard",
            () if !passed => "the mail server got",
            () if outcome.offences != expected.offences => "reported was",
            () => return Ok(()),
        };
        let show = |outcome: &Outcome| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{:?}\n{:?}\n{:?}", text(&outcome.heard), text(&outcome.passed), outcome.offences)
        };
        let title = &self.title;
        Err(format!(
            "{title}: {what} something else\n--- must be\n{}\n--- is\n{}",
            show(&expected),
            show(outcome)
        ))
    }
}

impl Outcome {
    fn collect(&mut self, session: &mut Session, now: Instant) {
        for side in [Side::Client, Side::Server] {
            while !session.outgoing(side).is_empty() {
                let bytes = session.outgoing(side).to_owned();
                let all = if side == Side::Client { &mut self.heard } else { &mut self.passed };
                all.extend_from_slice(&bytes);
                session.handle_sent(side, bytes.len(), now);
            }
        }
        while let Some(event) = session.poll_event() {
            if let Event::Offence(offence) = event {
                self.offences.push(offence.kind);
            }
        }
    }
}

/// A text as bytes.
fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let (text, end): (_, &[u8]) = match text.strip_suffix("\\c") {
        Some(text) => (text, b""),
        None => (text, b"\r\n"),
    };
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (size, found) = escape(escaped)?;
        bytes.extend_from_slice(&found);
        rest = escaped.get(size..).ok_or("an escape is cut off")?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes.extend_from_slice(end);
    Ok(bytes)
}

/// What stands behind a backslash: how long it is, and what it means.
fn escape(text: &str) -> Result<(usize, Vec<u8>), &'static str> {
    let simple = |byte: u8| Ok((1, [byte].into()));
    match text.bytes().next() {
        Some(b'r') => simple(b'\r'),
        Some(b'n') => simple(b'\n'),
        Some(b'0') => simple(0),
        Some(b'\\') => simple(b'\\'),
        Some(b'x') => {
            let digits = text.get(1..3).ok_or("\\x needs two digits")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two digits")?;
            Ok((3, [byte].into()))
        }
        Some(b'*') => {
            let (number, behind) =
                text.get(1..).and_then(|text| text.split_once('(')).ok_or("write \\*N(text)")?;
            let (inner, _) = behind.split_once(')').ok_or("write \\*N(text)")?;
            let times: usize = number.parse().map_err(|_| "write \\*N(text)")?;
            let mut inside = bytes(inner)?;
            inside.truncate(inside.len().saturating_sub(2));
            Ok((number.len() + inner.len() + 3, inside.repeat(times)))
        }
        _ => Err("no such escape"),
    }
}

#[cfg(test)]
mod tests;
