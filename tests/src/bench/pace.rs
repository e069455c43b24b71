//! How fast frames are sent: a loop of nothing before each of them, whose turns are measured first.

use std::time::Instant;

use anyhow::Result;

use super::rig::Rig;
use super::wire::{PROCESSORS, pin};

/// Frames, and turns of an empty loop before each of them, by which it is found out how long both take.
const FRAMES: u32 = 1 << 15;
const TURNS: [u32; 2] = [200, 5000];

/// How long the sender takes for a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Seconds with the fewer of [`TURNS`].
    few: f64,
    /// Seconds for each further turn.
    turn: f64,
}

impl Pace {
    /// Finds it out, in about a second.
    pub(super) fn find(sender: &mut Rig, frame: &[u8]) -> Result<Self> {
        // To begin and to end takes milliseconds, which the difference of two does not have.
        let mut each = |turns| -> Result<f64> {
            let some = timed(sender, frame, turns, FRAMES)?;
            Ok((timed(sender, frame, turns, FRAMES * 3)? - some) / f64::from(FRAMES * 2))
        };
        let [few, many] = [each(TURNS[0])?, each(TURNS[1])?];
        Ok(Self { few, turn: (many - few) / f64::from(TURNS[1] - TURNS[0]) })
    }

    /// Turns before each frame for so many frames in a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of turns, or none")]
    pub(super) fn turns(self, rate: u32) -> u32 {
        (f64::from(TURNS[0]) + (1.0 / f64::from(rate) - self.few) / self.turn) as u32
    }
}

/// Seconds that it takes to send so many frames, with so many turns of an empty loop before each.
pub(super) fn timed(sender: &mut Rig, frame: &[u8], turns: u32, frames: u32) -> Result<f64> {
    pin(0, PROCESSORS[0])?;
    sender.pause(turns)?;
    let start = Instant::now();
    sender.send(frame, frames)?;
    Ok(start.elapsed().as_secs_f64())
}
