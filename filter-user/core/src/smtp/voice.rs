//! What Gatepost says in its own name.
//!
//! Everything else that a client hears is the mail server's. Our own trouble is always a 4xx: a fault on our side
//! must never bounce a mail. A 5xx is said only for what the client itself did wrong.

use alloc::format;
use alloc::string::{String, ToString};

use crate::smtp::line::Fault;

/// The texts that an administrator may change; `{name}` stands for the server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// To a client beyond its own number of sessions.
    pub too_many_from_address: String,
    /// To a client that found all places taken.
    pub too_many: String,
    /// To a blocked client.
    pub blocked: String,
    /// To a client that the login component has blocked.
    pub blocked_login: String,
    /// To a client whose session an administrator ends.
    pub session_ended: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            too_many_from_address: "421 4.3.2 {name} Too many connections from your IP address - try later"
                .into(),
            too_many: "421 4.3.2 {name} Too many connections - try later".into(),
            blocked: "421 4.7.0 {name} Your connection has been blocked temporarily - Try again later".into(),
            blocked_login: "421 4.7.0 {name} Server access temporarily blocked! Please try again later"
                .into(),
            session_ended: "421 4.3.2 {name} Session ended by the administrator - try again later".into(),
        }
    }
}

/// Why a text cannot be a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Another code would bounce the mail, or be no reply at all.
    #[error("it must begin with `421 `, so that senders try again later")]
    NotTemporary,
    /// A reply line is short printable ASCII.
    #[error("it must be one line of at most 400 printable ASCII characters")]
    NotALine,
}

/// Says whether a text can be sent as a refusal.
pub fn check_template(text: &str) -> Result<(), TemplateError> {
    if !text.starts_with("421 ") {
        return Err(TemplateError::NotTemporary);
    }
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    // RFC 5321 section 4.5.3.1.5 allows 512 bytes, of which the server's name may need a good part.
    if printable && text.len() <= 400 { Ok(()) } else { Err(TemplateError::NotALine) }
}

/// The replies of one server, ready to be sent: each one line with its CR LF.
#[derive(Debug, Clone)]
pub struct Voice {
    /// To a client beyond its own number of sessions.
    pub too_many_from_address: String,
    /// To a client that found all places taken.
    pub too_many: String,
    /// To a blocked client.
    pub blocked: String,
    /// To a client that the login component has blocked.
    pub blocked_login: String,
    /// To a client whose session an administrator ends.
    pub session_ended: String,
    /// To a client whose mail server is not there or makes no sense.
    pub unavailable: String,
    /// To a client that let its time run out.
    pub timeout: String,
    /// To a client whose session is ended because the agent stops.
    pub shutting_down: String,
    /// To a command that is not for clients.
    pub not_implemented: String,
    /// To what is no command line at all.
    pub malformed: String,
    /// To a client that speaks another protocol.
    pub foreign: String,
    /// To a command that no standard knows.
    pub unknown: String,
    /// To a client that breaks the framing of a BDAT.
    pub bad_chunk: String,
    /// To a BDAT that nobody offered.
    pub no_chunks: String,
    /// To a message with a name or a nesting that nobody can judge.
    pub unreadable: String,
    /// To a part of a message that was cut into several.
    pub partial: String,
    /// To QUIT, when the mail server is not there to say it.
    pub bye: String,
    /// To any other command then.
    pub come_back: String,
    /// To a client that sent more than one command where it had to wait.
    pub out_of_step: String,
    /// To STARTTLS: TLS may begin.
    pub tls_ready: String,
    /// To STARTTLS inside TLS.
    pub tls_active: String,
    /// To STARTTLS with anything behind it.
    pub tls_parameters: String,
    /// To STARTTLS of a client that has logged in.
    pub tls_after_login: String,
    /// To a login that TLS would have to protect.
    pub tls_needed: String,
    /// To a client whose commands were refused too often.
    pub too_many_errors: String,
    /// To a client that asks for this and that and sends no message.
    pub too_many_commands: String,
    /// To a client that goes on after STARTTLS as if nothing had been.
    pub hello_first: String,
    name: String,
}

impl Voice {
    /// The replies of the server called `name`.
    pub fn new(name: &str, templates: &Templates) -> Self {
        let fill = |template: &str| format!("{}\r\n", template.replace("{name}", name));
        Self {
            too_many_from_address: fill(&templates.too_many_from_address),
            too_many: fill(&templates.too_many),
            blocked: fill(&templates.blocked),
            blocked_login: fill(&templates.blocked_login),
            session_ended: fill(&templates.session_ended),
            unavailable: fill("421 4.3.0 {name} Mail server not available - try again later"),
            timeout: fill("421 4.4.2 {name} Timeout - closing connection"),
            shutting_down: fill("421 4.3.2 {name} Service is restarting - try again later"),
            not_implemented: fill("502 5.5.1 Command not implemented"),
            malformed: fill("500 5.5.2 Error: bad syntax"),
            foreign: fill("500 5.5.1 {name} Error: this is an SMTP server - closing connection"),
            unknown: fill("500 5.5.1 Error: command not recognized"),
            bad_chunk: fill("501 5.5.4 BDAT needs a size of at most 1 GiB - closing connection"),
            no_chunks: fill("503 5.5.1 CHUNKING was not offered - closing connection"),
            unreadable: fill("550 5.7.1 {name} The message has an attachment whose name cannot be read"),
            partial: fill("550 5.7.1 {name} Messages in parts (message/partial) are not accepted here"),
            bye: fill("221 2.0.0 {name} Bye"),
            come_back: fill("421 4.3.0 {name} Closing connection behind a refused message - connect again"),
            out_of_step: fill(
                "421 4.5.0 {name} Commands sent before the reply to DATA or AUTH - closing connection",
            ),
            too_many_errors: fill("421 4.7.0 {name} Error: too many errors - closing connection"),
            too_many_commands: fill(
                "421 4.7.0 {name} Error: too many commands without a message - closing connection",
            ),
            // The texts and codes are those of RFC 3207 sections 4 and 4.2, and of RFC 4954 section 6.
            tls_ready: fill("220 2.0.0 Ready to start TLS"),
            tls_active: fill("503 5.5.1 Error: TLS is active already"),
            tls_parameters: fill("501 5.5.4 Error: STARTTLS takes no parameters"),
            tls_after_login: fill("503 5.5.1 Error: STARTTLS comes before AUTH"),
            tls_needed: fill("538 5.7.11 Error: encryption required, issue STARTTLS first"),
            hello_first: fill("503 5.5.1 Error: send EHLO first"),
            name: name.to_string(),
        }
    }

    /// To a message with a blocked attachment; the name is printable.
    pub fn attachment(&self, name: &str) -> String {
        // RFC 5321 section 4.5.3.1.5: a reply line has room for 512 bytes.
        let short = name.get(..200).unwrap_or(name);
        format!("550 5.7.1 {} The attachment \"{short}\" is not accepted here\r\n", self.name)
    }

    /// To a message that is larger than this many bytes (RFC 1870 sections 6.1 and 6.3).
    pub fn too_big(&self, limit: u64) -> String {
        format!("552 5.3.4 {} The message is larger than {limit} bytes\r\n", self.name)
    }

    /// To a recipient beyond so many (RFC 5321 section 4.5.3.1.10).
    pub fn too_many_recipients(&self, limit: u32) -> String {
        format!("452 4.5.3 {} Too many recipients - at most {limit} in one transaction\r\n", self.name)
    }

    /// To a message in chunks whose lines do not end as lines do.
    pub fn stray_end(&self, fault: Fault) -> String {
        format!("550 5.6.0 {} The message is not accepted: {}\r\n", self.name, name_of(fault))
    }

    /// To a client that sent what is no line.
    pub fn fault(&self, fault: Fault) -> String {
        format!("550 5.5.2 {} Error: {} - closing connection\r\n", self.name, name_of(fault))
    }
}

const fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::BareLf => "bare <LF> received",
        Fault::BareCr => "bare <CR> received",
        Fault::Nul => "NUL received",
        Fault::TooLong => "line too long",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_own_words_are_the_default() {
        let voice = Voice::new("VPOP3", &Templates::default());
        assert_eq!(
            voice.too_many_from_address,
            "421 4.3.2 VPOP3 Too many connections from your IP address - try later\r\n"
        );
    }

    #[test]
    fn only_one_temporary_line_can_be_a_refusal() {
        assert_eq!(check_template("550 5.7.1 go away"), Err(TemplateError::NotTemporary));
        assert_eq!(check_template("421 a\r\n250 b"), Err(TemplateError::NotALine));
        assert_eq!(check_template(&Templates::default().blocked), Ok(()));
    }
}
