//! Every crate says what it is, under which licence, and inherits what the workspace decides.

use crate::workspace::{Package, members};

/// `manifest` and `top` are the text of the manifest and of the crate's first file.
fn check(package: &Package, manifest: &str, top: &str) -> Vec<String> {
    let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let published = package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
    let rules = [
        ("a description", filled(&package.description)),
        ("the licence MIT OR Apache-2.0", package.license.as_deref() == Some("MIT OR Apache-2.0")),
        ("a repository", filled(&package.repository) || !published),
        ("the lints of the workspace", manifest.contains("[lints]\nworkspace = true")),
        ("the version of the workspace", manifest.contains("version.workspace = true")),
        ("dependencies without versions of their own", !manifest.lines().any(has_own_version)),
        ("a module documentation that says what the crate owns", top.starts_with("//! ")),
    ];
    rules.iter().filter(|(_, holds)| !holds).map(|(what, _)| format!("{} lacks {what}", package.name)).collect()
}

/// A dependency whose version the workspace does not decide.
fn has_own_version(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, value)| {
        let number = |text: &str| text.trim_start_matches(['"', '^', '=', '~']).starts_with(|first: char| first.is_ascii_digit());
        !key.contains("version") && (value.starts_with('"') && number(value)) || value.contains("version = \"")
    })
}

#[test]
fn every_crate_says_what_it_is() {
    let findings = members().into_iter().flat_map(|package| {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let sources = package.sources("src");
        let top = sources.iter().find(|source| source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs"));
        check(package, &manifest, &top.expect("a crate has a first file").text)
    });
    crate::hold(&findings.collect::<Vec<_>>(), "each crate is meant to be used by others");
}

#[test]
fn the_rule_can_fail() {
    let good = Package {
        name: "good".into(),
        license: Some("MIT OR Apache-2.0".into()),
        description: Some("what it is".into()),
        repository: Some("somewhere".into()),
        ..Package::default()
    };
    let manifest = "version.workspace = true\nserde.workspace = true\n[lints]\nworkspace = true\n";
    assert_eq!(check(&good, manifest, "//! Owns."), Vec::<String>::new());
    let bad = Package { name: "bad".into(), license: Some("MIT".into()), ..Package::default() };
    assert_eq!(check(&bad, "serde = \"1\"\n", "fn main() {}").len(), 7);
    assert!(has_own_version("serde = { version = \"1\", features = [] }"));
}
