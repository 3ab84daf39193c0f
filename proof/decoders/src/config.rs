//! The configuration file, read and changed.

use lastcopy::{Config, ConfigError, parse_config, with_destination, with_volume};
use std::io;
use std::path::Path;

/// The text of a configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text) {
        Err(error) => explained(&error),
        Ok(config) => {
            changed(&config, text, |text| with_volume(text, "fuzzed", Path::new("/nowhere/volume"), &[]));
            changed(&config, text, |text| with_destination(text, "fuzzed", "file:///nowhere/else"));
        }
    }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    parse_config(Path::new("/etc/lastcopy/config.toml"), text)
}

/// Whatever is wrong is said, in one line and with carets, with what helps.
fn explained(error: &ConfigError) {
    assert!(!error.message().is_empty() && !error.fix().is_empty());
    assert!(error.render(false).contains("config.toml"), "{error:?}");
    assert!(error.render(true).len() >= error.render(false).len());
}

/// A legal configuration stays legal, what was in it stays, and what is put in twice stands there once.
fn changed(before: &Config, text: &str, change: impl Fn(&str) -> io::Result<String>) {
    // An inline table is not added to: a person wrote it in one line.
    let Ok(longer) = change(text) else { return };
    assert_eq!(change(&longer).expect("what was changed can be changed"), longer);
    match read(&longer) {
        Ok(after) => assert!(format!("{after:?}").contains("fuzzed") && (&after != before || text.contains("fuzzed"))),
        // It may be said that the new place lies in an old one.
        Err(error) => assert!(error.message().contains(" lies in ") || text.contains("fuzzed"), "{}\n{longer}", error.message()),
    }
}
