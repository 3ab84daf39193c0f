//! What the log says of each call.

use crate::shell::Shell;
use lastcopy_stepper::{FileType, Plan};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

#[test]
fn paths_are_whole_and_files_are_known_before_and_after() {
    let shell = Shell::new();
    let here = shell.path();
    let report = shell.run("echo one > a; mv a 'b\u{fc} \n'; sync -d 'b\u{fc} \n'; rm -f 'b\u{fc} \n'", Plan::Count);
    let [open, write, rename, sync, unlink] = report.calls.as_slice() else { panic!("{:#?}", report.calls) };
    assert_eq!(open.targets[0].path, here.join("a"));
    assert_eq!(open.targets[0].before, None);
    let made = open.targets[0].after.unwrap();
    assert_eq!((made.kind, made.size, made.links), (FileType::Regular, 0, 1));
    assert_ne!(open.flags.unwrap() & 0o100, 0, "O_CREAT");
    assert_eq!((write.length, write.result), (Some(4), Some(4)));
    assert_eq!(write.targets[0].before.unwrap().inode, made.inode);
    assert_eq!(write.targets[0].after.unwrap().size, 4);
    assert_eq!(rename.targets[0].path, here.join("a"));
    assert!(rename.targets[1].path.as_os_str().as_bytes().ends_with("b\u{fc} \n".as_bytes()));
    assert_eq!((rename.targets[0].after, rename.targets[1].before), (None, None));
    assert_eq!(rename.targets[1].after.unwrap().inode, made.inode);
    assert_eq!((sync.name, sync.targets[0].before.unwrap().inode), ("fdatasync", made.inode));
    assert_eq!((unlink.targets[0].before.unwrap().inode, unlink.targets[0].after), (made.inode, None));
    let clock: Vec<_> = report.calls.iter().flat_map(|call| [call.began, call.returned.unwrap()]).collect();
    assert_eq!(clock, (1..=10).collect::<Vec<_>>(), "one after the other");
}

#[test]
fn directories_are_found_from_where_the_call_starts() {
    let shell = Shell::new();
    let here = shell.path();
    fs::create_dir(here.join("d")).unwrap();
    let report = shell.run("cd d; mkdir -p e/f; sync .", Plan::Count);
    let paths: Vec<_> = report.calls.iter().filter(|call| call.succeeded()).map(|call| call.targets[0].path.clone()).collect();
    assert_eq!(paths.first(), Some(&here.join("d/e")));
    assert!(paths.iter().any(|path| path.ends_with("f")));
    let sync = report.calls.last().unwrap();
    let directory = sync.targets[0].before.unwrap();
    assert_eq!((sync.name, directory.kind), ("fsync", FileType::Directory));
    assert_eq!(directory.inode, fs::metadata(here.join("d")).unwrap().ino());
}

#[test]
fn a_call_reads_like_the_manual() {
    let report = Shell::new().run("mkdir a; mkdir a", Plan::Count);
    let last = report.calls.last().unwrap().to_string();
    assert!(last.starts_with("#2 [") && last.contains("mkdir(\"") && last.ends_with("File exists (os error 17)"), "{last}");
}
