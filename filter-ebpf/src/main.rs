//! The XDP program: a frame in, a verdict out.
//!
//! It has no opinions of its own. [`filter_common::packet`] reads the frame, [`filter_common::judge`] judges it over
//! the maps; what is here is the way to the frame's bytes ([`cursor`]), the way into the maps ([`tables`]), the time
//! ([`clock`]), counting, and telling user space of drops ([`report`]).
#![no_std]
#![no_main]
#![expect(
    unreachable_pub,
    missing_docs,
    reason = "the attribute `xdp` makes a public function without a comment"
)]

mod clock;
mod cursor;
mod maps;
mod report;
mod tables;

use core::hint::black_box;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use cursor::Frame;
use filter_common::gate::Near;
use filter_common::judge::{Tables as _, judge_near};
use filter_common::packet::{Packet, Parsed, Source, parse};
use filter_common::reason::{Reason, Verdict};
use tables::Maps;

/// Judges one frame. Nearly all are an innocent's, and nothing else is done here, so that nothing has to be kept for it.
#[xdp(frags)]
pub fn gatepost(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    let reason = match parse(&frame) {
        Parsed::Packet(packet) => match Maps.near_block(packet.source()) {
            Near::NOTHING => Reason::Innocent,
            near => {
                let near = u64::from(near.hosts) << 1 | u64::from(near.prefixes);
                let [low, high, rest] = packet.to_numbers();
                return judge_suspect(&context, near, low, high, rest);
            }
        },
        Parsed::NotIp => Reason::NotIp,
        Parsed::Unparsed => Reason::Unparsed,
    };
    maps::count(reason, frame.len());
    xdp_action::XDP_PASS
}

/// Judges a packet that is not obviously an innocent's. By itself, because it needs room that no innocent should pay for; and by what
/// has been read already, as numbers, since a function is given five registers and nothing else.
#[inline(never)]
fn judge_suspect(context: &XdpContext, near: u64, low: u64, high: u64, rest: u64) -> u32 {
    let near = Near { hosts: near & 2 != 0, prefixes: near & 1 != 0 };
    let packet = Packet::from_numbers([low, high, rest]);
    // The compiler would hand over where the frame lies instead, as numbers; the verifier wants the context.
    let context = black_box(context);
    let frame = Frame::new(context);
    let length = frame.len();
    // Each family by itself: the kernel puts a lookup into the program only where the map is always the same.
    let judgement = match packet.source() {
        source @ Source::V4(_) => judge_near(near, source, || packet.payload(&frame), &Maps),
        source @ Source::V6(_) => judge_near(near, source, || packet.payload(&frame), &Maps),
    };
    if let Some(entry) = judgement.entry
        && let Some(dropped) = tables::count_drop(entry, length, judgement.now)
    {
        report::submit(packet.source(), &dropped, &judgement);
    }
    let reason = judgement.reason;
    maps::count(reason, length);
    match reason.verdict() {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => {
            #[cfg(feature = "diagnostics")]
            aya_log_ebpf::debug!(context, "dropped {} bytes, reason {}", length, reason.index());
            xdp_action::XDP_DROP
        }
    }
}

/// Nothing here panics; the linker wants the symbol all the same.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers of the kernel are open to programs under a licence that is compatible with the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
