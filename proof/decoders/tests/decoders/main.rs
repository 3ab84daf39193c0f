//! Every decoder over its corpus: examples that the code made, and what is or was wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot look fails")]
#![expect(clippy::print_stdout, reason = "the last line of a test that failed says which input it was")]

use lastcopy_decoders::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// No corpus is smaller: one that is lost or moved would be found empty, and pass.
const FEWEST: usize = 8;
/// No input costs more memory, whatever it claims to hold: in KiB, of the whole process. A stream of Zstandard may ask for 128 MiB.
const MOST_MEMORY: u64 = 512 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn entries(dir: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).map(|entry| entry.unwrap().path()).collect()
}

/// The most memory that this process ever used, in KiB.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What is wrong with an input is said by the panic; which input it was, by the last line that was printed.
fn over_the_corpus(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = entries(&fuzz().join("corpus").join(name));
    assert!(inputs.len() >= FEWEST, "the corpus of {name} has only {} files", inputs.len());
    (target.holds)(b"");
    for input in inputs {
        println!("{}", input.display());
        (target.holds)(&fs::read(&input).unwrap());
        assert!(most_memory() < MOST_MEMORY, "{} costs {} KiB", input.display(), most_memory());
    }
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            over_the_corpus(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

corpora! { config head id identity index kopia layout marker path pattern policy rclone recovery row segment unit }

/// A target that is not fuzzed, or a corpus that nobody runs, would be forgotten.
#[test]
fn every_decoder_has_a_target_a_corpus_and_a_test() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let stems = |dir: &str| -> BTreeSet<_> {
        entries(&fuzz().join(dir)).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names, TESTED.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(names, stems("corpus"));
    assert_eq!(names, stems("fuzz_targets"));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")), "{name} is not built");
        let target = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("lastcopy_decoders::{name}(bytes)")), "{name} fuzzes something else");
    }
}

/// Corpora are committed: tens of files, a few KiB each.
#[test]
fn corpora_are_small() {
    for dir in entries(&fuzz().join("corpus")) {
        let inputs = entries(&dir);
        assert!(inputs.len() < 200, "{} has {} files", dir.display(), inputs.len());
        for input in inputs {
            let size = fs::metadata(&input).unwrap().len();
            assert!(size <= 128 * 1024, "{} has {size} bytes", input.display());
        }
    }
}
