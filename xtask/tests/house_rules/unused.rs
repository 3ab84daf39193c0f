//! A declared dependency is used.

use crate::source::lines_with;
use crate::workspace::{Dependency, Package, members};

/// Whether the code mentions a crate as a path or an import.
fn mentions(code: &str, dependency: &Dependency) -> bool {
    let name = dependency.rename.as_deref().unwrap_or(&dependency.name).replace('-', "_");
    [format!("{name}::"), format!("use {name};"), format!("use {name} as")].iter().any(|word| !lines_with(code, word).is_empty())
}

/// Where a dependency of a kind may be used.
fn places(dependency: &Dependency) -> &'static [&'static str] {
    match dependency.kind.as_deref() {
        Some("dev") => &["src", "tests", "examples", "benches"],
        Some(_) => &["build.rs"],
        None => &["src"],
    }
}

fn check(package: &Package, code_in: impl Fn(&str) -> String) -> Vec<String> {
    let unused = package.dependencies.iter().filter(|dependency| {
        let code = places(dependency).iter().map(|place| code_in(place)).collect::<Vec<_>>().join("\n");
        !mentions(&code, dependency)
    });
    unused.map(|dependency| format!("{}: {}", package.name, dependency.name)).collect()
}

#[test]
fn every_declared_dependency_is_used() {
    let findings = members().into_iter().flat_map(|package| {
        check(package, |place| {
            let build = std::fs::read_to_string(package.dir().join(place)).unwrap_or_default();
            package.sources(place).into_iter().fold(build, |text, source| text + &source.code)
        })
    });
    crate::hold(&findings.collect::<Vec<_>>(), "what is not used is built, audited and updated for nothing: remove it");
}

#[test]
fn the_rule_can_fail() {
    let dependency = |name: &str, kind: Option<&str>| Dependency { name: name.into(), rename: None, kind: kind.map(str::to_owned) };
    let dependencies = vec![
        dependency("lastcopy-fs", None),
        dependency("comfy-table", None),
        dependency("insta", Some("dev")),
        dependency("tempfile", None),
    ];
    let package = Package { name: "p".into(), dependencies, ..Package::default() };
    let code_in = |place: &str| match place {
        "src" => "use lastcopy_fs::Dir; mycomfy_table::x".to_owned(),
        "tests" => "insta::assert!(); tempfile::tempdir()".to_owned(),
        _ => String::new(),
    };
    assert_eq!(check(&package, code_in), ["p: comfy-table", "p: tempfile"]);
}
