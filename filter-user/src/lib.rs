//! The agent and the command line of Gatepost: everything that awaits, opens or writes.
//!
//! In reading order: [`config`] is what an administrator decides, [`agent`] starts and stops everything, [`edge`]
//! drives SMTP sessions, [`tls`] protects them, [`ips`] owns the engine, [`kernel`] the packet filter, [`store`] the disk, [`replay`] the past
//! with other numbers, [`ids`] a file for other tools, [`logs`] those that other programs write, [`control`] the
//! socket that [`cli`] asks, [`web`] the same over TCP, with pages.

pub mod config;

pub mod agent;

pub mod edge;

pub mod tls;

pub mod ips;

pub mod reports;

pub mod kernel;

pub mod store;

pub mod replay;

pub mod ids;

pub mod logs;

pub mod control;

pub mod web;

pub mod cli;

pub mod clock;
pub mod pace;
pub mod renewal;
pub mod secret;
pub mod telemetry;
