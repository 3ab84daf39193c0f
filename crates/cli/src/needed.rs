//! Which files this node needs to reach what it offloads: without the password, the copies are there and nobody can read them.

use crate::config::{Config, DestinationConfig, KopiaPlace, Secret, Way};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Larger configurations of other programs are not looked into.
const LARGEST: u64 = 1 << 20;

/// Variables that name credentials of clouds, and configurations of rclone and kopia.
const OF_STORAGE: [&str; 8] = ["RCLONE_", "KOPIA_", "AWS_", "AZURE_", "GOOGLE_", "OS_", "ST_", "B2_"];

/// Where programs look for keys that nobody names, below the person's own directory, with the variables that say otherwise: of ssh and of
/// clouds. Those of Amazon's name files.
const OF_SERVERS: [(&str, Option<&str>); 4] =
    [(".ssh", None), (".aws", None), (".azure", Some("AZURE_CONFIG_DIR")), (".config/gcloud", Some("CLOUDSDK_CONFIG"))];

/// And where programs that give passwords do.
const OF_PASSWORDS: [(&str, Option<&str>); 2] = [(".gnupg", Some("GNUPGHOME")), (".password-store", Some("PASSWORD_STORE_DIR"))];

/// The variable with a program that gives rclone a password.
const OF_RCLONE: &str = "RCLONE_PASSWORD_COMMAND";

/// Files that the configuration names, that the configurations of rclone and kopia name, or that the environment names for them. Some
/// may not be there.
pub(crate) fn needed_files(config: &Config) -> Vec<PathBuf> {
    let mut files = vec![config.path.clone()];
    for hook in config.volumes.values().filter_map(|volume| volume.hook.as_ref()) {
        files.extend(hook.command.iter().filter_map(|word| named(word.as_ref())));
        files.extend(hook.command.first().and_then(|program| found(program.as_ref())));
    }
    config.destinations.values().for_each(|destination| of_destination(destination, &mut files));
    // Of mirrors, and of repositories that kopia has rclone keep.
    let own = lastcopy_sync_mirror::own_configuration();
    files.extend(own.iter().flat_map(|own| named_in(own)));
    files.extend(own);
    let ours = |name: &OsStr| OF_STORAGE.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
    files.extend(std::env::vars_os().filter(|(name, _)| ours(name)).flat_map(|(_, value)| named_among(&value)));
    files.extend(std::env::current_exe().ok());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut places = Vec::new();
    let place = |(usual, variable): (&str, Option<&str>)| {
        variable.and_then(std::env::var_os).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(usual)))
    };
    if config.destinations.values().any(is_far) {
        places.extend(OF_SERVERS.into_iter().filter_map(place));
    }
    if config.destinations.values().any(asks_a_program) || std::env::var_os(OF_RCLONE).is_some() {
        places.extend(OF_PASSWORDS.into_iter().filter_map(place));
    }
    all_below(places, &mut files);
    files
}

/// Whether it is reached with keys.
fn is_far(destination: &DestinationConfig) -> bool {
    match &destination.way {
        Way::Cas => false,
        Way::Mirror(mirror) => mirror.options.local_path().is_none(),
        Way::Kopia(_) => destination.path.is_none(),
    }
}

/// Whether a program gives one of its passwords.
fn asks_a_program(destination: &DestinationConfig) -> bool {
    destination.secrets().iter().any(|(_, secret)| matches!(secret, Secret::Command(_)))
}

/// The files below directories, also where links lead to others. What cannot be looked at is not there.
fn all_below(mut open: Vec<PathBuf>, files: &mut Vec<PathBuf>) {
    let mut seen = HashSet::new();
    while let Some(dir) = open.pop() {
        if !std::fs::metadata(&dir).is_ok_and(|stat| seen.insert((stat.dev(), stat.ino()))) {
            continue;
        }
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if entry.is_dir() { open.push(entry) } else { files.push(entry) }
        }
    }
}

fn of_destination(destination: &DestinationConfig, files: &mut Vec<PathBuf>) {
    match &destination.way {
        Way::Cas => {}
        Way::Mirror(mirror) => {
            files.extend(mirror.secrets.values().chain(&mirror.index_password).flat_map(of_secret));
            files.extend(mirror.options.settings.values().flat_map(|value| named_among(value)));
            files.extend(found(mirror.options.program.as_os_str()));
        }
        Way::Kopia(kopia) => {
            files.extend(of_secret(&kopia.password));
            files.extend(found(kopia.program.as_os_str()));
            match &kopia.place {
                KopiaPlace::Storage { options, secrets, .. } => {
                    files.extend(secrets.values().flat_map(of_secret));
                    files.extend(options.values().flat_map(|value| named_among(value)));
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
        Secret::Command(command) => {
            let program = command.first().and_then(|program| found(program.as_ref()));
            command.iter().flat_map(|word| named_among(word.as_ref())).chain(program).collect()
        }
    }
}

/// What a value names as a whole, and each word of it: a command for a shell is one value.
fn named_among(value: &OsStr) -> Vec<PathBuf> {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b"\"';&|<>()`,=".contains(byte);
    let words = value.as_bytes().split(is_between).filter(|word| !word.is_empty());
    named(value).into_iter().chain(words.filter_map(|word| named(OsStr::from_bytes(word)))).collect()
}

/// A program: named as a file is, or by its name alone, which is looked for where programs are.
fn found(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return named(program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|program| program.is_file())
}

/// A value that names a file that is there, by its whole path.
fn named(value: &OsStr) -> Option<PathBuf> {
    // As a shell, and rclone, write a variable or the person's own directory.
    let begins = value.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default();
    let variable = match begins {
        b"~" => Some(&b"HOME"[..]),
        _ => begins.strip_prefix(b"$").map(|name| name.strip_prefix(b"{").and_then(|name| name.strip_suffix(b"}")).unwrap_or(name)),
    };
    let path = match (variable, value.as_bytes().get(begins.len() + 1..)) {
        (Some(variable), Some(rest)) => PathBuf::from(std::env::var_os(OsStr::from_bytes(variable))?).join(OsStr::from_bytes(rest)),
        _ => PathBuf::from(value),
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
    values.flat_map(|value| named_among(OsStr::from_bytes(&bare(value).unwrap_or_else(|| value.to_vec())))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_where_programs_are() {
        let sh = found(OsStr::new("sh")).expect("every machine has one");
        assert!(sh.is_absolute() && sh.is_file() && found(sh.as_os_str()) == Some(sh.clone()));
        assert_eq!(found(OsStr::new("surely-no-such-program")), None);
    }
}
