//! The bytes of a frame; the only pointer arithmetic of the program.

use aya_ebpf::programs::XdpContext;
use filter_common::packet::Cursor;

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
        // SAFETY: the `N` bytes from `start` lie before `end`, as was just checked (and as the verifier checks again).
        Some(unsafe { *(start as *const [u8; N]) })
    }
}
