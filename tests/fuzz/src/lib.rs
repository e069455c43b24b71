//! Fuzz targets: one for each reader of hostile bytes, and one for whole sessions.
//!
//! A target takes any bytes and panics if what it promises does not hold; that the reader itself does not panic is the least of it.
//! `cargo xtask fuzz NAME` feeds them; the inputs that are kept in `corpus/NAME` go through them in every test run.

mod auth_policy;
mod log;
mod readers;
mod report;
mod session;
/// The program's own reader of its rules, without the rest of the program.
#[path = "../../../filter-user/src/logs/shipped.rs"]
pub mod shipped;

/// Takes one input.
pub type Target = fn(&[u8]);

/// All targets with their names.
pub const TARGETS: [(&str, Target); 9] = [
    ("line", readers::line),
    ("command", readers::command),
    ("reply", readers::reply),
    ("body", readers::body),
    ("mime", readers::mime),
    ("session", session::session),
    ("log", log::log),
    ("report", report::report),
    ("auth-policy", auth_policy::auth_policy),
];
