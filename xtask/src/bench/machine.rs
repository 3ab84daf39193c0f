//! What the numbers were measured on.

use super::Bench;
use crate::cargo::{output, program};
use anyhow::Result;

/// A Markdown list: processor, memory, kernel, file system, versions. Nothing that says whose machine it is.
pub(crate) fn describe(bench: &Bench) -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let ask = |name: &str, words: &[&str]| -> Result<String> {
        let mut command = program(name);
        command.args(words).env("PATH", bench.tools.path()?);
        Ok(output(command)?.lines().next().unwrap_or_default().trim().to_owned())
    };
    let mut file_system = program("stat");
    file_system.args(["-f", "-c", "%T"]).arg(&bench.dir);
    let mut text = format!(
        "- {cores} cores of {model}, {} GiB of memory\n- Linux {}, {}\n- {}, {}\n",
        memory.unwrap_or(0).div_ceil(1 << 20),
        ask("uname", &["-r"])?,
        output(file_system)?.trim(),
        ask("b3sum", &["--version"])?,
        ask("rustc", &["--version"])?,
    );
    if bench.tools.which("git-annex").is_some() {
        text.push_str(&format!("- {}\n", ask("git-annex", &["version"])?));
    }
    Ok(text)
}
