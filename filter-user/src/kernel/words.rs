//! An array of the kernel's as memory of this process: words that both sides read, and that only we write.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::{Array, IterableMap as _, MapData};
use filter_core::gate::Bits;
use memmap2::{MmapOptions, MmapRaw};

use super::KernelError;

/// The words of one array.
#[derive(Debug)]
pub(super) struct Words(MmapRaw);

impl Words {
    /// Maps an array whose elements are words or made of words.
    pub(super) fn of<V: Pod>(name: &'static str, array: &Array<MapData, V>) -> Result<Self, KernelError> {
        let length = array.len() as usize * size_of::<V>();
        let mapped = MmapOptions::new().len(length).map_raw(array.map().fd().as_fd().as_raw_fd());
        mapped
            .map(Self)
            .map_err(|error| KernelError::Other(format!("cannot map {name} into memory: {error}")))
    }

    /// So many words that no kernel knows of, all zero.
    #[cfg(test)]
    pub(super) fn blank(words: usize) -> Self {
        Self(MmapOptions::new().len(words * 8).map_anon().unwrap().into())
    }

    /// One word, if there are so many.
    pub(super) fn word(&self, index: usize) -> Option<&AtomicU64> {
        let offset = index * 8;
        // SAFETY: the word lies inside the mapping, which is page-aligned and lives as long as `self`; nobody here
        // touches it other than by atomic operations, and what the kernel writes are whole words or their halves.
        (offset + 8 <= self.0.len())
            .then(|| unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(offset).cast()) })
    }

    /// Makes the words these: a bit which is right is right throughout.
    pub(super) fn settle(&self, wanted: Wanted) {
        for (index, bits) in wanted.0.into_iter().enumerate() {
            let Some(word) = self.word(index) else { continue };
            if word.load(Ordering::Relaxed) != bits {
                word.fetch_or(bits, Ordering::Relaxed);
                word.fetch_and(bits, Ordering::Relaxed);
            }
        }
    }
}

impl Bits for Words {
    fn set(&mut self, word: u32, bits: u64) {
        if let Some(word) = self.word(word as usize) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    fn clear(&mut self, word: u32, bits: u64) {
        if let Some(word) = self.word(word as usize) {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }
}

/// What words should hold, built from nothing.
pub(super) struct Wanted(Vec<u64>);

impl Wanted {
    /// So many words, all zero.
    pub(super) fn new(words: u32) -> Self {
        Self(vec![0; words as usize])
    }
}

impl Bits for Wanted {
    fn set(&mut self, word: u32, bits: u64) {
        self.0[word as usize] |= bits;
    }

    fn clear(&mut self, _word: u32, _bits: u64) {
        unreachable!("a book that is only added to clears nothing");
    }
}
