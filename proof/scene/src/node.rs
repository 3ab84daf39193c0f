//! The node of a test: one volume, `photos`, pushed to destinations that its offload policy requires, all of them.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a destination is, and where it lies on this machine.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A content-addressed store.
    Store,
    /// A mirror that this rclone writes.
    Mirror {
        /// rclone.
        program: &'a Path,
    },
    /// A repository that this kopia writes.
    Kopia {
        /// kopia.
        program: &'a Path,
        /// The file with the repository's password.
        password: &'a Path,
    },
}

/// The text of a configuration, with these further lines for the offload policy.
pub fn configuration(volume: &Path, destinations: &[(&str, &Path, Kind<'_>)], policy: &str) -> String {
    let names = destinations.iter().map(|(name, ..)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "[node]\nname = \"node\"\n\n[volumes.photos]\npath = {volume:?}\nsync_to = [{names}]\n\n\
         [volumes.photos.offload]\nrequire = [{names}]\n{policy}\n"
    );
    for (name, at, kind) in destinations {
        let lines = match kind {
            Kind::Store => format!("kind = \"cas\"\nurl = {:?}", format!("file://{}", at.display())),
            Kind::Mirror { program } => format!("kind = \"mirror\"\nremote = {at:?}\nprogram = {program:?}"),
            Kind::Kopia { program, password } => format!(
                "kind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = {at:?} }}\nprogram = {program:?}\n\
                 password = {{ file = {password:?} }}"
            ),
        };
        text += &format!("\n[destinations.{name}]\n{lines}\n");
    }
    text
}

/// A program, not started yet, with nothing of the surroundings: what it keeps goes to these directories.
pub fn alone(program: &Path, home: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).env("HOME", home).env("TMPDIR", temporary);
    command.env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("LANG", "C.UTF-8").env("NO_COLOR", "1");
    command
}
