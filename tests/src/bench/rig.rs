//! The filter and the programs that it is measured against, run by `BPF_PROG_TEST_RUN`.
//!
//! A test run takes one frame. For a crowd of sources the program `carousel` of `filter-ebpf/src/bench.rs` writes the next
//! source into the frame and jumps into the program under test; what it costs itself is measured with the empty program
//! behind it. So it is the shipped program, over the shipped maps, that is measured in either case.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie, MapInfo, PerCpuArray, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use filter_common::abi::{Counter, PrefixV6};
use filter_common::packet::Source;
use ipnet::IpNet;

use super::sample::processor_time;

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter-bench"));

/// Frames in one go of a live run; the kernel allows 256, and a network card's driver polls 64.
const LIVE_BATCH: u32 = 64;

/// What may stand behind the carousel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The empty program.
    Nothing,
    /// The filter itself.
    Filter,
    /// One lookup in one trie of all entries.
    Trie,
    /// One load from memory of a given size.
    Glance,
}

/// The loaded programs.
#[derive(Debug)]
pub struct Rig {
    object: Ebpf,
    filter: Option<ProgramFd>,
}

impl Rig {
    /// Loads them with room for so many sources, and for so many entries in the tries.
    pub fn load(seats: usize, entries: usize) -> Result<Self> {
        Self::load_with(seats, entries, 1)
    }

    /// Loads them with so many bytes of memory behind [`Program::Glance`].
    pub fn load_with_panes(seats: usize, bytes: usize) -> Result<Self> {
        Self::load_with(seats, 1, bytes / 8)
    }

    fn load_with(seats: usize, entries: usize, words: usize) -> Result<Self> {
        let (seats, entries) = (u32::try_from(seats)?, u32::try_from(entries.max(1))?);
        let mut object = EbpfLoader::new()
            .map_max_entries("SEATS", seats)
            .map_max_entries("PANES", u32::try_from(words)?)
            .map_max_entries("TRIE_V4", entries)
            .map_max_entries("TRIE_V6", entries)
            .load(OBJECT)?;
        for name in
            ["nothing", "everything", "strangers", "carousel", "generator", "trie", "glance", "plunge"]
        {
            xdp(&mut object, name)?.load().with_context(|| format!("the kernel does not take {name}"))?;
        }
        let mut rig = Self { object, filter: None };
        Array::<_, u64>::try_from(rig.map("PANES_LEN")?)?.set(0, words as u64, 0)?;
        Ok(rig)
    }

    /// Looks for the filter that was loaded over these pins.
    pub fn find_filter(&mut self, pins: &Path) -> Result<()> {
        let gate = MapInfo::from_pin(pins.join("BLOCK_GATE"))?.id();
        let has_gate = |ids: Option<Vec<u32>>| ids.is_some_and(|ids| ids.contains(&gate));
        let mut programs = loaded_programs().flatten();
        let program = programs.find(|program| program.map_ids().is_ok_and(has_gate));
        self.filter = Some(program.context("the filter is not loaded")?.fd()?);
        Ok(())
    }

    /// Lets these sources take turns; their number is a power of two.
    pub fn seat(&mut self, sources: &[Source], device: u32) -> Result<()> {
        ensure!(sources.len().is_power_of_two(), "{} sources are no power of two", sources.len());
        let mut seats = Array::<_, [u64; 2]>::try_from(self.map("SEATS")?)?;
        for (index, source) in (0..).zip(sources) {
            seats.set(index, seat(*source), 0)?;
        }
        let mut wheel = Array::<_, [u64; 3]>::try_from(self.map("WHEEL")?)?;
        wheel.set(0, [0, sources.len() as u64 - 1, device.into()], 0)?;
        Ok(())
    }

    /// Idles so many turns of a loop before each frame that is sent off.
    pub fn pause(&mut self, turns: u32) -> Result<()> {
        Ok(Array::<_, u32>::try_from(self.map("PAUSE")?)?.set(0, turns, 0)?)
    }

    /// Puts networks into the tries.
    pub fn plant(&mut self, networks: &[IpNet]) -> Result<()> {
        let mut v4 = LpmTrie::<_, [u8; 4], u64>::try_from(self.map("TRIE_V4")?)?;
        for network in networks {
            if let IpNet::V4(network) = network {
                let key = Key::new(network.prefix_len().into(), network.network().octets());
                v4.insert(&key, u64::MAX, 0)?;
            }
        }
        let mut v6 = LpmTrie::<_, PrefixV6, u64>::try_from(self.map("TRIE_V6")?)?;
        for network in networks {
            if let IpNet::V6(network) = network {
                let key = Key::new(network.prefix_len().into(), network.network().octets());
                v6.insert(&key, u64::MAX, 0)?;
            }
        }
        Ok(())
    }

    /// Nanoseconds per run of a program behind the carousel, of this thread's processor time.
    pub fn time(&mut self, program: Program, frame: &[u8], repeat: u32) -> Result<f64> {
        let target = match program {
            Program::Nothing => xdp(&mut self.object, "nothing")?.fd()?.try_clone()?,
            Program::Trie => xdp(&mut self.object, "trie")?.fd()?.try_clone()?,
            Program::Glance => xdp(&mut self.object, "glance")?.fd()?.try_clone()?,
            Program::Filter => self.filter.as_ref().context("the filter was not looked for")?.try_clone()?,
        };
        ProgramArray::try_from(self.map("NEXT")?)?.set(0, &target, 0)?;
        self.time_alone("carousel", frame, repeat)
    }

    /// Nanoseconds per run of one of the rig's own programs, of this thread's processor time.
    pub fn time_alone(&mut self, program: &str, frame: &[u8], repeat: u32) -> Result<f64> {
        let program = xdp(&mut self.object, program)?;
        let seconds = processor_time(|| {
            let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
            let verdict = program.test_run(options)?.return_value;
            ensure!(verdict == 1 || verdict == 2, "a program under test answered {verdict}");
            Ok(())
        })?;
        Ok(seconds * 1e9 / f64::from(repeat))
    }

    /// Sends so many frames off, from this thread's processor.
    pub fn send(&mut self, frame: &[u8], frames: u32) -> Result<()> {
        let attrs = TestRunAttrs::new().xdp_live_frames(LIVE_BATCH);
        let options = TestRunOptions { data_in: Some(frame), repeat: frames, attrs, ..TestRunOptions::new() };
        xdp(&mut self.object, "generator")?.test_run(options)?;
        Ok(())
    }

    /// One of the rig's own programs, to be attached.
    pub fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        xdp(&mut self.object, name)
    }

    /// Packets that the rig's own programs have dropped.
    pub fn dropped(&mut self) -> Result<u64> {
        let tally = PerCpuArray::<_, Counter>::try_from(self.map("TALLY")?)?;
        Ok(tally.get(&1, 0)?.iter().map(|counter| counter.packets).sum())
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.object.map_mut(name).with_context(|| format!("the object has no map {name}"))
    }
}

fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// A source as the carousel writes it: of IPv4, the checksums of its header and of its segment follow.
fn seat(source: Source) -> [u64; 2] {
    let bytes = match source {
        Source::V6(address) => address,
        Source::V4(address) => {
            let mut seat = [0; 16];
            seat[..4].copy_from_slice(&address);
            let frame = super::crowd::frame(source);
            let (header, segment) = frame[14..].split_at(20);
            seat[4..6].copy_from_slice(&checksum(header).to_be_bytes());
            // With the pseudo-header of RFC 9293 section 3.1: both addresses, the protocol, and how long the segment is.
            let length = u8::try_from(segment.len()).unwrap_or(u8::MAX);
            let whole = [&header[12..], &[0, 6, 0, length], segment].concat();
            seat[6..8].copy_from_slice(&checksum(&whole).to_be_bytes());
            seat
        }
    };
    let (halves, _) = bytes.as_chunks::<8>();
    [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
}

/// RFC 1071, of bytes in which the checksum itself is still zero.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum & 0xffff).unwrap_or(0).wrapping_add(u16::try_from(sum >> 16).unwrap_or(0))
}
