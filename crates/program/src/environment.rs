//! What a driven program gets of our environment.

use std::ffi::OsString;

/// By this every variable of a proxy ends, in capitals or not: whoever needs one needs it for every program.
const PROXY: &str = "_proxy";

/// Our variables with these names, with these beginnings, and those of proxies. Everything else would be a way to change what a program does.
pub fn environment<'a>(names: &'a [&str], prefixes: &'a [&str]) -> impl Iterator<Item = (OsString, OsString)> + use<'a> {
    let kept = |name: &str| {
        names.contains(&name)
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
            || name.to_ascii_lowercase().ends_with(PROXY)
    };
    std::env::vars_os().filter(move |(name, _)| name.to_str().is_some_and(kept))
}
