//! A place in a cloud, mounted by a program that keeps what it takes on this machine, and sends it later.

use crate::home::{Home, Setup};
use crate::mounts::Mounted;
use crate::skip::{missing_program, skipped};
use std::fs;

/// A push proved what lay in this machine's cache, and an offload deleted the file on that; the cloud would get it hours later, or never. Of
/// such a place nothing is taken for stored, whatever kind it is. What is there is read, and comes back.
#[test]
fn what_a_mount_sends_later_is_proven_by_nobody() {
    const TEST: &str = "sends_later::what_a_mount_sends_later_is_proven_by_nobody";
    if let Some(missing) = missing_program(&["rclone", "fusermount3"]) {
        return skipped(TEST, &format!("{missing} is not installed"));
    }
    let home = Home::empty();
    let (cloud, behind) = (home.path("cloud"), home.path("behind"));
    fs::create_dir(&behind).unwrap();
    let setup = Setup::usual().destination_at("usb", &cloud.join("store"));
    home.configure(&setup);
    home.write("photos", "a", b"bytes of a");
    home.write("photos", "b", b"bytes of b");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    // A store that was filled where it lies, before it was mounted from afar.
    fs::create_dir(&cloud).unwrap();
    home.run(&["destination", "init", "usb"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "a", "--yes"]).expect(0);
    fs::rename(cloud.join("store"), behind.join("store")).unwrap();
    let Some(_mounted) = Mounted::sends_later(&cloud, &behind) else {
        return skipped(TEST, "rclone cannot mount here");
    };
    let refused = |arguments: &[&str]| {
        let ran = home.run(arguments);
        let words = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code() != Some(0) && words.contains("keep on this machine alone"), "{arguments:?}: {:?} {words}", ran.code());
        assert!(words.contains("fuse.rclone"), "{words}");
    };
    home.write("photos", "c", b"bytes of c");
    home.run(&["index"]).expect(0);
    refused(&["sync"]);
    refused(&["verify", "usb"]);
    refused(&["offload", "photos", "b", "--yes"]);
    assert!(home.volume("photos").join("b").exists());
    // Where a policy asks nobody again, what a push says decides.
    home.configure(&setup.policy("photos", "require = [\"usb\"]\nconfirm = \"offline\""));
    refused(&["sync"]);
    home.run(&["offload", "photos", "c", "--yes"]).expect(1);
    assert!(home.volume("photos").join("c").exists());
    home.run(&["restore", "photos", "a"]).expect(0);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"bytes of a");
    // Nor does anything new begin there, of whichever kind.
    for (kind, place) in [
        ("cas", format!("url = \"file://{}\"", cloud.join("other").display())),
        ("mirror", format!("remote = {:?}", cloud.join("mirror"))),
    ] {
        let volume = format!("[volumes.photos]\npath = {:?}\nsync_to = []\n", home.volume("photos"));
        home.write_config(&format!("{volume}[destinations.a-{kind}]\nkind = \"{kind}\"\n{place}\n"));
        refused(&["destination", "init", &format!("a-{kind}")]);
    }
}
