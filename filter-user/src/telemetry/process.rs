//! What the system says of this process, under the names that every Prometheus client library uses.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::{SysconfVar, sysconf};

use super::exposition::Exposition;

/// Writes what can be found out; what cannot is left out.
pub fn write(to: &mut Exposition) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let spent = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        to.counter("process_cpu_seconds", "Processor time of the agent.").put(&[], spent.as_secs_f64());
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // Not the one that reads the directory.
        to.gauge("process_open_fds", "Open file descriptors.").put(&[], files.count().saturating_sub(1));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        to.gauge("process_max_fds", "File descriptors that may be open.").put(&[], soft);
    }
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some(stat) = Stat::read(&text) else { return };
    to.gauge("process_threads", "Threads.").put(&[], stat.threads);
    to.gauge("process_virtual_memory_bytes", "Address space.").put(&[], stat.virtual_bytes);
    if let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) {
        let resident = stat.resident_pages * u64::try_from(page).unwrap_or(0);
        to.gauge("process_resident_memory_bytes", "Memory that is held.").put(&[], resident);
    }
    if let (Some(boot), Ok(Some(ticks))) = (boot_time(), sysconf(SysconfVar::CLK_TCK)) {
        let ticks = u32::try_from(ticks).unwrap_or(100).max(1);
        let since_boot = Duration::from_secs(stat.start_ticks) / ticks;
        to.gauge("process_start_time_seconds", "When the agent started, as Unix time.")
            .put(&[], (boot + since_boot).as_secs_f64());
    }
}

/// Fields of `/proc/self/stat` (`proc_pid_stat(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The program's name, in brackets, may hold anything; what is counted begins behind it.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        // The third field of the file is the first here.
        let field = |number: usize| fields.get(number - 3)?.trim().parse().ok();
        Some(Self {
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine started, since 1970.
fn boot_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let text = "7 (a) b 1) S 1 7 7 0 -1 4194304 100 0 0 0 5 6 0 0 20 0 9 0 12345 4096 77 184 1 1 0 0";
        let expected = Stat { threads: 9, start_ticks: 12_345, virtual_bytes: 4096, resident_pages: 77 };
        assert_eq!(Stat::read(text), Some(expected));
        assert_eq!(Stat::read("7 (a"), None);
    }

    #[test]
    fn this_process_is_told_of() {
        let mut exposition = Exposition::new(super::super::exposition::Form::Text);
        write(&mut exposition);
        let text = exposition.finish();
        for name in
            ["cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds"]
        {
            assert!(text.lines().any(|line| line.starts_with(&format!("process_{name} "))), "{name}: {text}");
        }
    }
}
