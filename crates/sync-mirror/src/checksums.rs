//! Which checksums a provider computes by itself from the bytes that it stores.
//!
//! rclone gives them all by the same names, and does not tell one that a provider computed from one that a client computed and the provider
//! keeps as it was told. The second kind stays right whatever becomes of the bytes, so it proves nothing. Only what is known to be of
//! the first kind is listed here; everything else is read back.

use crate::remote::Features;
use lastcopy_store::Algorithm;

/// A kind of backend whose provider computes checksums itself.
#[derive(Debug, PartialEq, Eq)]
struct Provider {
    /// As rclone calls the kind.
    kind: &'static str,
    /// Its checksums that count, strongest first.
    checksums: &'static [Algorithm],
    when: When,
    /// What makes them its own, in words.
    because: &'static str,
}

/// When a provider computes a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Each time that it is asked, from what lies there then: as slow as reading it there.
    Asked,
    /// When it stored the bytes; it is told at once.
    Stored,
}

use Algorithm::{Md5, Sha1, Sha256};

/// Left out on purpose, because a client stores them, or may: S3 and what speaks it (metadata of uploads in parts), Backblaze B2 (large
/// files), Azure (`Content-MD5`), webdav (`OC-Checksum` of ownCloud and Nextcloud), Proton Drive, Pixeldrain, Filen, Internet Archive,
/// Jottacloud; because they are of another make: OneDrive, Dropbox, HiDrive, Mail.ru; and every remote over remotes, of which `hasher`
/// even keeps them on this machine.
const PROVIDERS: &[Provider] = &[
    Provider {
        kind: "sftp",
        checksums: &[Sha256, Sha1, Md5],
        when: When::Asked,
        because: "the server runs a program over the file",
    },
    Provider {
        kind: "drive",
        checksums: &[Sha256, Sha1, Md5],
        when: When::Stored,
        because: "they are fields of Google's that no client can set",
    },
    Provider {
        kind: "pcloud",
        checksums: &[Sha256, Sha1, Md5],
        when: When::Stored,
        because: "pCloud computes them, and tells them by a call of their own",
    },
    Provider { kind: "box", checksums: &[Sha1], when: When::Stored, because: "Box computes it of what it stored" },
    Provider {
        kind: "google cloud storage",
        checksums: &[Md5],
        when: When::Stored,
        because: "Google computes it, and refuses an upload that says another one",
    },
    Provider {
        kind: "swift",
        checksums: &[Md5],
        when: When::Stored,
        because: "the server computes it of each object that is stored in one part",
    },
];

/// The checksum of a place that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) algorithm: Algorithm,
    pub(crate) when: When,
    /// What makes it the provider's own.
    pub(crate) because: &'static str,
}

/// The strongest checksum of a place that its provider computes.
pub(crate) fn strongest(features: &Features) -> Option<Served> {
    let kind = features.kind.as_deref()?;
    let Provider { checksums, when, because, .. } = PROVIDERS.iter().find(|provider| provider.kind == kind)?;
    let served = |algorithm: &&Algorithm| features.hashes.iter().any(|hash| hash == algorithm.name());
    checksums.iter().find(served).map(|algorithm| Served { algorithm: *algorithm, when: *when, because })
}

/// Whether the far side computes BLAKE3 of what it stores, when it is asked: only over sftp, where a program runs over the file. Other
/// backends of that name keep what a client once told them.
pub(crate) fn blake3(features: &Features) -> bool {
    features.kind.as_deref() == Some("sftp") && features.hashes.iter().any(|hash| hash == "blake3")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: &str, hashes: &[&str]) -> Features {
        let hashes = hashes.iter().map(|hash| (*hash).to_owned()).collect();
        Features { backend: "x".into(), kind: Some(kind.to_owned()), hashes, local: None, wraps: false, moves: true }
    }

    fn counts(kind: &str, hashes: &[&str]) -> Option<&'static str> {
        strongest(&place(kind, hashes)).map(|served| served.algorithm.name())
    }

    #[test]
    fn the_strongest_that_is_served_counts() {
        assert_eq!(counts("sftp", &["md5", "sha1"]), Some("sha1"));
        assert_eq!(counts("sftp", &["md5", "sha256", "sha1", "blake3"]), Some("sha256"));
        assert_eq!(counts("drive", &["md5", "sha1", "sha256"]), Some("sha256"));
        assert_eq!(counts("google cloud storage", &["md5"]), Some("md5"));
        assert_eq!(counts("sftp", &[]), None);
        assert_eq!(counts("sftp", &["crc32", "xxh3", "xxh128"]), None, "no checksum against accidents of every kind");
    }

    /// What a client stores beside an object stays right whatever becomes of the object.
    #[test]
    fn what_a_client_may_have_stored_never_counts() {
        let all = ["md5", "sha1", "sha256", "sha512", "whirlpool", "blake3", "crc32", "quickxor", "dropbox", "hidrive", "mailru"];
        for kind in [
            "s3",
            "b2",
            "azureblob",
            "azurefiles",
            "webdav",
            "filen",
            "pixeldrain",
            "protondrive",
            "internetarchive",
            "jottacloud",
            "onedrive",
            "dropbox",
            "hidrive",
            "mailru",
            "hasher",
            "chunker",
            "crypt",
            "compress",
            "union",
            "combine",
            "cache",
            "local",
            "memory",
            "",
        ] {
            assert_eq!(counts(kind, &all), None, "{kind}");
            assert!(!blake3(&place(kind, &all)), "{kind}");
        }
        assert_eq!(counts("box", &["md5", "sha256"]), None, "Box computes SHA-1 alone");
        let unknown = Features { kind: None, ..place("", &all) };
        assert!(strongest(&unknown).is_none() && !blake3(&unknown));
    }

    #[test]
    fn each_kind_is_listed_once_and_strongest_first() {
        for (place, provider) in PROVIDERS.iter().enumerate() {
            assert!(provider.checksums.is_sorted() && !provider.checksums.is_empty(), "{}", provider.kind);
            assert!(PROVIDERS[place + 1..].iter().all(|other| other.kind != provider.kind), "{}", provider.kind);
        }
    }
}
