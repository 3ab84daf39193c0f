//! One exit status for several volumes or destinations: 4 if any failed, else 3 if all were refused, else 1 if any was or needs attention.

use crate::home::{Home, Setup};
use crate::ran::Json;
use crate::tree::noise;
use std::fs;

/// How a part of a command shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Done,
    Attention,
    Refused,
    Failed,
}

use Part::{Attention, Done, Failed, Refused};

/// The status that a part's summary tells.
fn status(part: Part) -> &'static str {
    match part {
        Done => "success",
        Attention => "partial",
        Refused => "refused",
        Failed => "failed",
    }
}

/// That each part was told of, in order, and that all say the exit status of the whole.
#[track_caller]
fn assert_parts(json: Json, parts: &[Part], exit: i32) {
    let json = json.expect(exit);
    let found: Vec<_> = json.of("summary").map(|summary| summary["status"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = parts.iter().map(|part| status(*part)).collect();
    assert_eq!(found, expected, "{}", json.ran);
    let errors = parts.iter().filter(|part| matches!(part, Refused | Failed)).count();
    assert_eq!(json.of("error").count(), errors, "{}", json.ran);
}

/// A home with a destination for each part, which ends as the part says when everything is pushed there, or verified.
fn destinations(parts: &[Part]) -> Home {
    let names: Vec<_> = (0..parts.len()).map(|number| format!("d{number}")).collect();
    let setup = names.iter().fold(Setup::default(), |setup, name| setup.destination(name));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let home = Home::new(&setup.volume("photos", &names));
    for name in ["a", "b"] {
        home.write("photos", name, &noise(name, 1000));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    for (name, part) in names.iter().zip(parts) {
        let place = home.destination(name);
        match part {
            Done => {}
            Attention => fs::remove_file(home.object(name, &noise("a", 1000))).unwrap(),
            Refused => {
                fs::remove_dir_all(&place).unwrap();
                fs::create_dir(&place).unwrap();
            }
            Failed => {
                fs::remove_dir_all(&place).unwrap();
                fs::write(&place, b"a file").unwrap();
            }
        }
    }
    home
}

#[test]
fn several_destinations() {
    for (parts, exit) in [
        (&[Done, Done] as &[Part], 0),
        (&[Done, Attention], 1),
        (&[Done, Refused], 1),
        (&[Refused, Attention], 1),
        (&[Refused, Refused], 3),
        (&[Refused, Failed], 4),
        (&[Attention, Failed], 4),
        (&[Done, Failed], 4),
        (&[Failed, Failed], 4),
    ] {
        assert_parts(destinations(parts).json(&["verify"]), parts, exit);
    }
}

#[test]
fn a_push_to_several_destinations() {
    for (parts, exit) in [
        (&[Done, Done] as &[Part], 0),
        (&[Refused, Done], 1),
        (&[Refused, Refused], 3),
        (&[Failed, Refused], 4),
        (&[Failed, Done], 4),
    ] {
        let home = destinations(parts);
        assert_parts(home.json(&["sync"]), parts, exit);
        // One alone is what it is.
        for (number, part) in parts.iter().enumerate() {
            let exit = match part {
                Done => 0,
                Attention => 1,
                Refused => 3,
                Failed => 4,
            };
            assert_parts(home.json(&["sync", "--to", &format!("d{number}")]), &[*part], exit);
        }
    }
}

#[test]
fn several_volumes() {
    for (parts, exit) in [
        (&[Done, Done] as &[Part], 0),
        (&[Attention, Done], 1),
        (&[Refused, Done], 1),
        (&[Attention, Refused], 1),
        (&[Refused, Refused], 3),
    ] {
        let home = Home::new(&Setup::default().volume("v0", &[]).volume("v1", &[]));
        for (number, part) in parts.iter().enumerate() {
            let volume = format!("v{number}");
            home.write(&volume, "a", b"bytes");
            home.run(&["index", &volume]).expect(0);
            match part {
                Attention => fs::remove_file(home.volume(&volume).join("a")).unwrap(),
                Refused => fs::remove_dir_all(home.volume(&volume)).unwrap(),
                _ => {}
            }
        }
        assert_parts(home.json(&["audit"]), parts, exit);
        if !parts.contains(&Attention) {
            assert_parts(home.json(&["index"]), parts, exit);
        }
    }
}

/// One whose password file is lost made every summary say that the configuration is wrong, as if nothing had been done.
#[test]
fn one_wrongly_configured_among_several() {
    for (parts, exit) in [(&[Done, Done] as &[Part], 4), (&[Refused, Attention], 4)] {
        let home = destinations(parts);
        let (at, password) = (home.destination("vault"), home.path("lost"));
        let section = format!(
            "[destinations.vault]\nkind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = {at:?} }}\npassword = {{ file = {password:?} }}\n"
        );
        let config = fs::read_to_string(home.config()).unwrap();
        home.write_config(&format!("{config}\n{section}"));
        assert_parts(home.json(&["verify"]), &[parts, &[Failed]].concat(), exit);
        // Alone, or together with its like, it is the configuration.
        assert_parts(home.json(&["verify", "vault"]), &[Failed], 2);
        home.write_config(&format!("{config}\n{section}\n{}", section.replace("vault]", "attic]")));
        assert_parts(home.json(&["verify", "vault", "attic"]), &[Failed, Failed], 2);
    }
}

/// A name that is none is noticed before anything begins.
#[test]
fn one_wrong_name_among_several() {
    let home = destinations(&[Done, Done]);
    home.write("photos", "new", b"bytes");
    let before = home.still();
    let runs = || home.json(&["runs"]).expect(0).of("run").count();
    let known = runs();
    for command in [
        &["index", "photos", "music"] as &[&str],
        &["audit", "music", "photos"],
        &["sync", "photos", "music"],
        &["sync", "--to", "d0", "--to", "nas"],
        &["verify", "d0", "nas"],
    ] {
        assert_eq!(home.json(command).expect(2).error_code(), "not-found", "{command:?}");
    }
    home.assert_still(&before);
    assert_eq!(runs(), known);
}

/// What needs attention in one volume is told, whichever comes first.
#[test]
fn the_status_of_several_volumes() {
    let home = Home::new(&Setup::usual().volume("music", &["usb"]));
    home.write("music", "a", b"a");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.json(&["status"]).expect(0);
    home.write("music", "b", b"b");
    home.run(&["index"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    let levels: Vec<_> = status.of("status").map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["amber", "amber", "green", "green"]);
    home.json(&["status", "photos"]).expect(0);
    home.json(&["status", "music"]).expect(1);
}
