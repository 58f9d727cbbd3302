//! What the system knows of this process, under the names that every Prometheus client gives them.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::Metrics;

impl Metrics {
    /// Registers `gatewright_build_info` (1, with the version as a label) and the process' CPU time, memory and open
    /// files.
    pub fn process_info(&self) {
        self.gauge("gatewright_build_info", "The version of this build.", ["version"])
            .shared([crate::VERSION])
            .set(1);
        self.sampled_counter(
            "process_cpu_seconds_total",
            "CPU time used by all threads, in user and system mode.",
            |samples| {
                let time = clock_gettime(ClockId::ProcessCPUTime);
                samples.push(&[], format_args!("{}.{:09}", time.tv_sec, time.tv_nsec));
            },
        );
        self.sampled_gauge("process_resident_memory_bytes", "Memory in RAM.", |samples| {
            if let Some(bytes) = resident() {
                samples.push(&[], bytes);
            }
        });
        self.sampled_gauge("process_open_fds", "Open file descriptors.", |samples| {
            if let Ok(files) = fs::read_dir("/proc/self/fd") {
                // One of them is the directory that is being read.
                samples.push(&[], files.count().saturating_sub(1));
            }
        });
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_described() {
        let metrics = Metrics::new();
        metrics.process_info();
        let text = metrics.render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total ") > 0.0);
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
        let build = format!("gatewright_build_info{{version=\"{}\"}} 1\n", crate::VERSION);
        assert!(text.contains(&build));
    }
}
