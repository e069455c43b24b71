//! The bytes of a frame; the only pointer arithmetic of the program.

use core::arch::asm;

use aya_ebpf::programs::XdpContext;
use filter_common::packet::Cursor;

/// Loads a word from wherever it lies. The kernel's machine does so on every architecture that packets are filtered on;
/// LLVM does not know that, and would put four bytes together by ten instructions.
macro_rules! load {
    ($type:literal, $address:expr) => {{
        let word: u64;
        asm!(
            concat!("{word} = *(", $type, " *)({address} + 0)"),
            word = lateout(reg) word,
            address = in(reg) $address,
            options(pure, readonly, nostack, preserves_flags),
        );
        word
    }};
}

/// The linear part of a frame. Of a jumbo frame that is its first buffer, which holds all headers.
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The frame that the program was called for.
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self { start: context.data(), end: context.data_end() }
    }

    /// Bytes in the linear part.
    #[inline(always)]
    pub(crate) const fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

impl Cursor for Frame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.start + offset;
        if start + N > self.end {
            return None;
        }
        let mut bytes = [0; N];
        // SAFETY: the `N` bytes from `start` lie before `end`, as was just checked (and as the verifier checks again).
        unsafe {
            match N {
                2 => bytes.copy_from_slice(&(load!("u16", start) as u16).to_ne_bytes()),
                4 => bytes.copy_from_slice(&(load!("u32", start) as u32).to_ne_bytes()),
                16 => {
                    let (low, high) = (load!("u64", start), load!("u64", start + 8));
                    bytes.copy_from_slice(&(u128::from(low) | u128::from(high) << 64).to_le_bytes());
                }
                // An array of bytes has no alignment, and is read byte by byte.
                _ => bytes = *(start as *const [u8; N]),
            }
        }
        Some(bytes)
    }
}
