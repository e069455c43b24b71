//! The opinions of Gatepost, and nothing else.
//!
//! Everything here is a function of its arguments: time and bytes come from outside, effects go out as
//! values. There is no clock, no socket, no file, no thread and no log, and the crate has no `std` to name
//! them with.
//!
//! In reading order: [`time`], [`client`] and [`notation`] are the vocabulary. [`smtp`] is the session machine,
//! [`offence`] and [`detect`] what it sees, [`report`] what others tell, [`logs`] what their logs say. [`limits`] keeps
//! the session books. [`score`] and [`policy`] weigh,
//! [`decision`] is what can be decided, [`netmap`] the shape of a list of decisions, and [`engine`] decides.
//! [`replay`] lets it judge the past by other numbers. [`admin`] is what an administrator asks and hears, [`import`] whole
//! lists of it, [`neighbourhood`] what is known of a network, [`open`] which sessions are open, [`ids`] what other tools hear.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod time;

pub mod client;
pub mod notation;

pub mod smtp;

pub mod offence;
pub mod report;
pub mod service;

mod fading;
pub mod recent;

pub mod detect;

pub mod logs;

pub mod limits;

pub mod login;
pub mod policy;
pub mod score;

pub mod decision;
pub mod event;
pub mod netmap;

pub mod engine;
pub mod gate;
pub mod lengths;
pub mod replay;

pub mod access;
pub mod admin;
pub mod ids;
pub mod import;
pub mod listed;
pub mod neighbourhood;
pub mod open;

#[cfg(any(test, feature = "script"))]
pub mod script;
