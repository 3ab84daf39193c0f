//! The suite, over every sort of place.

use crate::context;
use crate::servers::{Place, SFTP_SERVER};
use crate::skip::{no_moto, no_rclone, skipped};
use crate::subject::{MadeMirror, Mirrors};
use lastcopy_sync::conformance::{self, CheckResult, Made};

#[track_caller]
fn all_hold(results: &[CheckResult], at_least: usize) {
    let failed: Vec<_> = results.iter().filter_map(|result| Some((&result.name, result.outcome.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.len() >= at_least, "only {} checks", results.len());
}

fn honest(place: Place) {
    let (_runtime, context) = context();
    all_hold(&conformance::honest(&Mirrors { place }, &context), 16);
}

fn lying(place: Place) {
    let (_runtime, context) = context();
    all_hold(&conformance::lying(&Mirrors { place }, &context), 29);
}

#[test]
fn a_directory() {
    if !no_rclone("conformance::a_directory") {
        honest(Place::Local);
    }
}

#[test]
fn a_directory_with_an_encrypted_index() {
    if !no_rclone("conformance::a_directory_with_an_encrypted_index") {
        honest(Place::LocalSealed);
    }
}

#[test]
fn sftp() {
    if !no_rclone("conformance::sftp") {
        honest(Place::Sftp);
    }
}

#[test]
fn sftp_with_blake3() {
    if !no_rclone("conformance::sftp_with_blake3") {
        honest(Place::SftpWithBlake3);
    }
}

#[test]
fn sftp_with_sha256() {
    if !no_rclone("conformance::sftp_with_sha256") {
        honest(Place::SftpWithSha256);
    }
}

#[test]
fn openssh() {
    if !std::path::Path::new(SFTP_SERVER).exists() {
        return skipped("conformance::openssh", "OpenSSH's sftp-server is not installed");
    }
    if !no_rclone("conformance::openssh") {
        honest(Place::OpenSsh);
    }
}

#[test]
fn webdav() {
    if !no_rclone("conformance::webdav") {
        honest(Place::Webdav);
    }
}

#[test]
fn s3() {
    if !no_rclone("conformance::s3") {
        honest(Place::S3);
    }
}

#[test]
fn moto() {
    if !no_moto("conformance::moto") && !no_rclone("conformance::moto") {
        honest(Place::Moto);
    }
}

#[test]
fn crypt() {
    if !no_rclone("conformance::crypt") {
        honest(Place::Crypt);
    }
}

#[test]
fn chunker() {
    if !no_rclone("conformance::chunker") {
        honest(Place::Chunker);
    }
}

#[test]
fn nothing_is_believed_when_a_directory_lies() {
    if !no_rclone("conformance::nothing_is_believed_when_a_directory_lies") {
        lying(Place::Local);
    }
}

#[test]
fn nothing_is_believed_when_a_server_lies() {
    if !no_rclone("conformance::nothing_is_believed_when_a_server_lies") {
        lying(Place::SftpWithBlake3);
    }
}

#[test]
fn nothing_is_believed_when_a_bucket_lies() {
    // rclone's own server: what lies beneath it is looked at directly, which is three times as fast as asking moto's.
    if !no_rclone("conformance::nothing_is_believed_when_a_bucket_lies") {
        lying(Place::S3);
    }
}

#[test]
fn nothing_is_believed_when_an_encrypted_place_lies() {
    if !no_rclone("conformance::nothing_is_believed_when_an_encrypted_place_lies") {
        lying(Place::Crypt);
    }
}

#[test]
fn nothing_is_believed_when_a_place_of_pieces_lies() {
    if !no_rclone("conformance::nothing_is_believed_when_a_place_of_pieces_lies") {
        lying(Place::Chunker);
    }
}

#[test]
fn nothing_is_believed_when_a_server_lies_that_gives_checksums() {
    if !no_rclone("conformance::nothing_is_believed_when_a_server_lies_that_gives_checksums") {
        let (_runtime, context) = context();
        all_hold(&conformance::lying(&Mirrors { place: Place::SftpWithSha256 }, &context), 28);
    }
}

/// What a person runs against an own destination leaves nothing behind.
#[test]
fn the_checks_against_an_own_destination_leave_nothing_behind() {
    if no_rclone("conformance::the_checks_against_an_own_destination_leave_nothing_behind") {
        return;
    }
    let (_runtime, context) = context();
    let made = MadeMirror::at(Place::Local);
    std::fs::create_dir(made.root()).unwrap();
    all_hold(&conformance::against_own(made.destination().as_ref(), &context).unwrap(), 19);
    assert_eq!(std::fs::read_dir(made.root()).unwrap().count(), 0);
}
