//! Programs that the benches measure the filter with and against. They are an object of their own, which no gateway
//! loads.
//!
//! [`nothing`], [`everything`] and [`strangers`] are the floors: what the kernel takes to call a program at all. [`carousel`] puts another
//! source into each frame and goes on to the program under test, so that a test run of one frame is a crowd.
//! [`generator`] does the same and sends the frame off. [`trie`] is the design of most published block lists. [`glance`] is
//! the least that any design can do which remembers more than a cache holds: one load; [`plunge`] drops after it.
#![no_std]
#![no_main]
#![expect(
    unreachable_pub,
    missing_docs,
    reason = "the attribute `xdp` makes a public function without a comment"
)]

mod cursor;

use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, xdp_action};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, LpmTrie, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use cursor::Frame;
use filter_common::abi::{Counter, PrefixV6};
use filter_common::gate;
use filter_common::packet::{Parsed, Source, parse};

/// The sources that take turns, as their bytes lie in memory: an IPv6 address, or an IPv4 address followed by the checksums
/// of its header and of the TCP segment. In turn and not at random, so that the processor fetches the next one ahead and the price of a miss
/// is the filter's own.
#[map]
static SEATS: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// Turns so far, how many seats there are less one (a power of two less one), and the index of the device to send to.
#[map]
static WHEEL: Array<[u64; 3]> = Array::with_max_entries(1, 0);

/// How long [`generator`] idles before each frame, in turns of an empty loop.
#[map]
static PAUSE: Array<u32> = Array::with_max_entries(1, 0);

/// What [`glance`] and [`plunge`] look into.
#[map]
static PANES: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many words that has.
#[map]
static PANES_LEN: Array<u64> = Array::with_max_entries(1, 0);

/// The program under test.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Every entry of a list in one trie, hosts and prefixes alike; the value is when it ends.
#[map]
static TRIE_V4: LpmTrie<[u8; 4], u64> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The same for IPv6.
#[map]
static TRIE_V6: LpmTrie<PrefixV6, u64> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// What [`trie`], [`plunge`], [`strangers`] and [`everything`] passed (0) and dropped (1).
#[map]
static TALLY: PerCpuArray<Counter> = PerCpuArray::with_max_entries(2, 0);

/// Passes.
#[xdp(frags)]
pub fn nothing(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Counts and drops.
#[xdp(frags)]
pub fn everything(context: XdpContext) -> u32 {
    tally(1, Frame::new(&context).len());
    xdp_action::XDP_DROP
}

/// Counts and drops what comes over IPv4 from elsewhere than 203.0.113.0/24, which it knows without a list: the floor where something else
/// is to pass.
#[xdp(frags)]
pub fn strangers(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    let Parsed::Packet(packet) = parse(&frame) else { return xdp_action::XDP_PASS };
    match packet.source() {
        Source::V4([203, 0, 113, _]) | Source::V6(_) => xdp_action::XDP_PASS,
        Source::V4(_) => {
            tally(1, frame.len());
            xdp_action::XDP_DROP
        }
    }
}

/// The next source into the frame, then the program under test.
#[xdp(frags)]
pub fn carousel(context: XdpContext) -> u32 {
    if turn(&context).is_some() {
        // SAFETY: a tail call has no obligation; it returns only if there is no such program.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// The next source into the frame, and the frame to the device.
#[xdp]
pub fn generator(context: XdpContext) -> u32 {
    let pause = PAUSE.get(0).copied().unwrap_or(0);
    // SAFETY: the function is one that can be called so, and takes nothing of the context.
    unsafe { bpf_loop(pause, idle as *mut c_void, core::ptr::null_mut(), 0) };
    match turn(&context) {
        // SAFETY: remembers the device for the caller and has no obligation.
        Some(device) => unsafe { bpf_redirect(device, 0) as u32 },
        None => xdp_action::XDP_ABORTED,
    }
}

/// A turn of nothing; 0: go on.
unsafe extern "C" fn idle(_turn: u32, _context: *mut c_void) -> i64 {
    0
}

/// One lookup in one trie for each packet.
#[xdp(frags)]
pub fn trie(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    let until = match parse(&frame) {
        Parsed::Packet(packet) => match packet.source() {
            Source::V4(address) => TRIE_V4.get(Key::new(32, address)),
            Source::V6(address) => TRIE_V6.get(Key::new(128, address)),
        },
        Parsed::NotIp | Parsed::Unparsed => None,
    };
    let drops = until.is_some_and(|until| *until != 0);
    tally(drops.into(), frame.len());
    if drops { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Reads the source, loads one word at a place that depends on it, and passes if that is zero, which it is.
#[xdp(frags)]
pub fn glance(context: XdpContext) -> u32 {
    if is_zero(&Frame::new(&context)) { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
}

/// The same, and counts and drops.
#[xdp(frags)]
pub fn plunge(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    if !is_zero(&frame) {
        return xdp_action::XDP_ABORTED;
    }
    tally(1, frame.len());
    xdp_action::XDP_DROP
}

#[inline(always)]
fn is_zero(frame: &Frame) -> bool {
    let Parsed::Packet(packet) = parse(frame) else { return false };
    let number = match packet.source() {
        Source::V4(address) => u64::from(u32::from_be_bytes(address)),
        Source::V6(address) => gate::upper(address),
    };
    let words = PANES_LEN.get(0).copied().unwrap_or(0);
    let index = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_mul(words) >> 32;
    PANES.get(index as u32) == Some(&0)
}

#[inline(always)]
fn turn(context: &XdpContext) -> Option<u32> {
    let wheel = WHEEL.get_ptr_mut(0)?;
    // SAFETY: the one element of the map; a bench runs on one CPU at a time.
    let [turns, mask, device] = unsafe {
        (*wheel)[0] += 1;
        *wheel
    };
    let seat = SEATS.get((turns & mask) as u32)?;
    let start = context.data();
    if start + 52 > context.data_end() {
        return None;
    }
    // SAFETY: the first 52 bytes of the frame are there, as was just checked. Each store is of a whole word: written byte by
    // byte, a source could not be read again before all its bytes have reached the cache, a wait that no frame of a network
    // card knows.
    unsafe {
        match *((start + 12) as *const [u8; 2]) {
            [0x08, 0x00] => {
                ((start + 24) as *mut u16).write_unaligned((seat[0] >> 32) as u16);
                ((start + 26) as *mut u32).write_unaligned(seat[0] as u32);
                ((start + 50) as *mut u16).write_unaligned((seat[0] >> 48) as u16);
            }
            _ => {
                ((start + 22) as *mut u64).write_unaligned(seat[0]);
                ((start + 30) as *mut u64).write_unaligned(seat[1]);
            }
        }
    }
    Some(device as u32)
}

#[inline(always)]
fn tally(index: u32, length: u64) {
    if let Some(counter) = TALLY.get_ptr_mut(index) {
        // SAFETY: the map hands out this CPU's own element, and a program is not interrupted by itself there.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += length;
        }
    }
}

/// Nothing here panics; the linker wants the symbol all the same.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the filter's own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
