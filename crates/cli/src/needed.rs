//! Which files this node needs to reach what it offloads: without the password, the copies are there and nobody can read them.

use crate::config::{Config, DestinationConfig, KopiaPlace, Secret, Way};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Larger configurations of other programs are not looked into.
const LARGEST: u64 = 1 << 20;

/// Variables that name credentials of clouds, and configurations of rclone and kopia.
const OF_STORAGE: [&str; 8] = ["RCLONE_", "KOPIA_", "AWS_", "AZURE_", "GOOGLE_", "OS_", "ST_", "B2_"];

/// Files that the configuration names, that the configurations of rclone and kopia name, or that the environment names for them. Some
/// may not be there.
pub(crate) fn needed_files(config: &Config) -> Vec<PathBuf> {
    let mut files = vec![config.path.clone()];
    for hook in config.volumes.values().filter_map(|volume| volume.hook.as_ref()) {
        files.extend(hook.command.iter().filter_map(|word| named(word.as_ref())));
    }
    config.destinations.values().for_each(|destination| of_destination(destination, &mut files));
    // Of mirrors, and of repositories that kopia has rclone keep.
    let own = lastcopy_sync_mirror::own_configuration();
    files.extend(own.iter().flat_map(|own| named_in(own)));
    files.extend(own);
    let ours = |name: &OsStr| OF_STORAGE.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
    files.extend(std::env::vars_os().filter(|(name, _)| ours(name)).filter_map(|(_, value)| named(&value)));
    files
}

fn of_destination(destination: &DestinationConfig, files: &mut Vec<PathBuf>) {
    match &destination.way {
        Way::Cas => {}
        Way::Mirror(mirror) => {
            files.extend(mirror.secrets.values().chain(&mirror.index_password).flat_map(of_secret));
            files.extend(mirror.options.settings.values().filter_map(|value| named(value)));
            files.extend(named(mirror.options.program.as_os_str()));
        }
        Way::Kopia(kopia) => {
            files.extend(of_secret(&kopia.password));
            files.extend(named(kopia.program.as_os_str()));
            match &kopia.place {
                KopiaPlace::Storage { options, secrets, .. } => {
                    files.extend(secrets.values().flat_map(of_secret));
                    files.extend(options.values().filter_map(|value| named(value)));
                }
                KopiaPlace::ConfigFile(file) => {
                    files.extend(named_in(file));
                    files.push(file.clone());
                }
            }
        }
    }
}

fn of_secret(secret: &Secret) -> Vec<PathBuf> {
    match secret {
        Secret::Env(_) => Vec::new(),
        Secret::File(file) => vec![file.clone()],
        Secret::Command(command) => command.iter().filter_map(|word| named(word.as_ref())).collect(),
    }
}

/// A value that names a file that is there. What is not named by its whole path is looked for where programs are.
fn named(value: &OsStr) -> Option<PathBuf> {
    let path = match value.as_bytes().strip_prefix(b"~/") {
        Some(rest) => PathBuf::from(std::env::var_os("HOME")?).join(OsStr::from_bytes(rest)),
        None => PathBuf::from(value),
    };
    (path.is_absolute() && path.is_file()).then_some(path)
}

/// The files that the configuration of another program names: keys, accounts. It has a value in each line, perhaps in quotes.
fn named_in(file: &Path) -> Vec<PathBuf> {
    let is_small = std::fs::metadata(file).is_ok_and(|stat| stat.len() <= LARGEST);
    let text = if is_small { std::fs::read(file).unwrap_or_default() } else { Vec::new() };
    let values = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let value = line.splitn(2, |byte| matches!(byte, b'=' | b':')).nth(1)?.trim_ascii();
        Some(value.strip_suffix(b",").unwrap_or(value))
    });
    let bare = |value: &[u8]| value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).map(<[u8]>::to_vec);
    values.filter_map(|value| named(OsStr::from_bytes(&bare(value).unwrap_or_else(|| value.to_vec())))).collect()
}
