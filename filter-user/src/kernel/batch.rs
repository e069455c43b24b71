//! Many entries in one system call.
//!
//! aya has no call for `BPF_MAP_UPDATE_BATCH` and `BPF_MAP_DELETE_BATCH` (Linux 5.6), so this is the raw `bpf(2)` over
//! the map's descriptor. What it leaves undone, the caller does one by one.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::Pod;
use nix::errno::Errno;
use nix::libc;

/// Entries of one call: beyond this the copies in the kernel are as long as what is saved.
const CHUNK: usize = 1 << 16;

const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// The part of `union bpf_attr` that these two commands read.
#[repr(C)]
#[derive(Debug)]
struct Attributes<'a> {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
    lends: PhantomData<&'a [u8]>,
}

/// Puts entries into a map, in place of those for the same keys; says how many are in. The caller tries the rest one by
/// one and hears why from that: a full map, or a kernel that has no such call for this kind of map.
pub(super) fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> usize {
    assert_eq!(keys.len(), values.len(), "a key for each value");
    let mut done = 0;
    for (keys, values) in keys.chunks(CHUNK).zip(values.chunks(CHUNK)) {
        match call(BPF_MAP_UPDATE_BATCH, map, keys, Some(values)) {
            Ok(()) => done += keys.len(),
            Err((count, _)) => return done + count,
        }
    }
    done
}

/// Takes entries out of a map and passes over those that are not there; says how many it has dealt with.
pub(super) fn delete<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> usize {
    let mut done = 0;
    while done < keys.len() {
        let chunk = &keys[done..keys.len().min(done + CHUNK)];
        match call::<K, u8>(BPF_MAP_DELETE_BATCH, map, chunk, None) {
            Ok(()) => done += chunk.len(),
            Err((count, Errno::ENOENT)) => done += count + 1,
            Err((count, _)) => return done + count,
        }
    }
    done
}

/// One call; if it fails, says how many entries it has done and why no more.
fn call<K: Pod, V: Pod>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    keys: &[K],
    values: Option<&[V]>,
) -> Result<(), (usize, Errno)> {
    let Ok(count) = u32::try_from(keys.len()) else { return Err((0, Errno::EINVAL)) };
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.map_or(0, |values| values.as_ptr() as u64),
        count,
        map: map.as_raw_fd().unsigned_abs(),
        element_flags: 0,
        flags: 0,
        lends: PhantomData,
    };
    // SAFETY: the attributes are the kernel's layout for these commands, 56 bytes without padding. The kernel reads
    // `count` keys and values of the map's own sizes; that `K` and `V` have those sizes is what opening the
    // map by its type has checked, and both slices live until the call returns. It writes `count` only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(&mut attributes),
            size_of::<Attributes<'_>>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = Errno::last();
    // A call that the kernel does not know leaves the count as it was.
    let done = if attributes.count == count { 0 } else { attributes.count as usize };
    Err((done, error))
}
