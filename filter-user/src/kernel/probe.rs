//! The loaded program, asked about frames that no interface has seen.
//!
//! For the tests and the benches: `BPF_PROG_TEST_RUN` runs the very program that is attached, over the maps that are
//! in force. Counters count such a frame like any other.

use std::time::Duration;

use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp};
use filter_common::reason::Verdict;

use super::KernelError;

/// `xdp_action` of `linux/bpf.h`.
const XDP_DROP: u32 = 1;
/// `xdp_action` of `linux/bpf.h`.
const XDP_PASS: u32 = 2;

/// A handle of a loaded program.
#[derive(Debug)]
pub struct Probe(Xdp);

impl Probe {
    pub(super) fn of(program: &Xdp) -> Result<Self, KernelError> {
        let info = program.info().map_err(|error| fault(&error))?;
        let attach_type = aya_obj::programs::XdpAttachType::Interface;
        Xdp::from_program_info(info, "gatepost".into(), attach_type).map(Self).map_err(|error| fault(&error))
    }

    /// Runs the program on a frame, `repeat` times; says whether it drops it, and how long one run took.
    pub fn try_on(&self, frame: &[u8], repeat: u32) -> Result<(Verdict, Duration), KernelError> {
        run(&self.0, frame, repeat)
    }
}

pub(super) fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(Verdict, Duration), KernelError> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let run = program.test_run(options).map_err(|error| fault(&error))?;
    match run.return_value {
        XDP_DROP => Ok((Verdict::Drop, run.duration)),
        XDP_PASS => Ok((Verdict::Pass, run.duration)),
        other => Err(KernelError::Other(format!("the program answered {other}"))),
    }
}

fn fault(error: &ProgramError) -> KernelError {
    KernelError::Other(format!("the program cannot be tried: {error}"))
}
