//! What other services tell of clients, whichever way: Dovecot's auth-policy requests, datagrams of any program, and the
//! API's own route, which is in [`crate::control`].
//!
//! Nothing is judged here. What is read goes to the ips task as a [`filter_core::report::Report`].

mod datagram;
mod dovecot;

/// Pause after an error of a socket, so that a lasting one does not spin.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

pub use datagram::{Datagrams, SocketError};
pub use dovecot::{DovecotError, bind as bind_dovecot, serve as serve_dovecot};
