//! The words that operations are written with: names of volumes, destinations, paths and contents.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What stands in a line of a history, as one word.
pub trait Word: Sized {
    /// As text without blanks.
    fn text(&self) -> String;
    /// Back from text.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident: $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl Word for $name {
            fn text(&self) -> String {
                self.name().to_owned()
            }

            fn read(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.name() == text)
            }
        }
    };
}

names! {
    /// A volume.
    Vol:
    /// The first.
    Photos = "photos",
    /// The second.
    Music = "music",
}

names! {
    /// A destination, by its name in the configuration; or the disk that stood for it at first.
    Dest:
    /// The first.
    Vault = "vault",
    /// The second.
    Cloud = "cloud",
    /// The third.
    Far = "far",
}

names! {
    /// How an offload policy asks.
    Terms:
    /// Vault must vouch.
    Vault = "vault",
    /// Vault and cloud must vouch.
    Both = "both",
    /// Vault and cloud, and everything is read back at the moment of deletion.
    BothFull = "both-full",
    /// Two of the three, each in a place of its own.
    TwoOfThree = "two-of-three",
    /// Two of the three, of which cloud and far are in one place, and count as one.
    TwoPlaces = "two-places",
    /// Vault must vouch, and one of the other two.
    VaultAndOne = "vault-and-one",
    /// Vault, on evidence alone.
    Offline = "offline",
    /// Vault and cloud; files wait before they go.
    BothGrace = "both-grace",
    /// Vault; files wait before they go.
    VaultGrace = "vault-grace",
    /// Vault, on fresh evidence.
    VaultFresh = "vault-fresh",
    /// No policy.
    Nothing = "nothing",
}

names! {
    /// A kind of moment within a command.
    Moment:
    /// The clock is looked at: most transactions do so before they are durable.
    Clock = "clock",
    /// A destination is called, or has answered.
    Call = "call",
    /// Bytes of a file were read, or work was told to be done.
    Progress = "progress",
    /// A destination is about to be asked, with the files aside.
    Confirm = "confirm",
    /// It was said of a file what became of it.
    Told = "told",
    /// Between planning and beginning.
    Planned = "planned",
}

names! {
    /// In what a destination lies, or how it breaks.
    Lying:
    /// Nothing is there.
    Gone = "gone",
    /// Another repository answers.
    Replaced = "replaced",
    /// Another repository answers from the second question on.
    ReplacedMidway = "replaced-midway",
    /// Something hides what is there.
    CannotTell = "cannot-tell",
    /// No head.
    NoHead = "no-head",
    /// A head of another life of the index.
    OtherLife = "other-life",
    /// One object's proof for another.
    ProofsSwapped = "proofs-swapped",
    /// No answer about some objects.
    Silent = "silent",
    /// Two answers about each object.
    SaysTwice = "says-twice",
    /// Stores all, and says that it cannot be reached.
    TimesOut = "times-out",
    /// Full after one object.
    Full = "full",
    /// Seals, and says that it cannot be reached.
    SealTimesOut = "seal-times-out",
    /// Says that it sealed, and did not.
    SealsNothing = "seals-nothing",
    /// Says that everything is there.
    SeesEverything = "sees-everything",
    /// One object can never be stored.
    Excludes = "excludes",
    /// What it holds cannot be read.
    ReadsNothing = "reads-nothing",
    /// The same, at the first question.
    ReadsNothingOnce = "reads-nothing-once",
    /// Sends too little.
    SendsLess = "sends-less",
    /// Sends changed bytes.
    SendsFlipped = "sends-flipped",
    /// Sends too much.
    SendsMore = "sends-more",
    /// Sends another object.
    SendsOther = "sends-other",
}

names! {
    /// What storage does with an object that it was told to keep, and said it kept.
    Storing:
    /// It keeps nothing.
    Nothing = "nothing",
    /// It keeps one bit too many or too few.
    Flipped = "flipped",
    /// It keeps the beginning.
    Less = "less",
    /// It fails.
    Fails = "fails",
    /// It has no room.
    Full = "full",
}

/// A path of the pool that histories use. Some are files, some directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(usize);

/// Paths of files.
pub(crate) const FILES: usize = 11;

const LONG: &[u8] = &[b'l'; 240];
const POOL: [&[u8]; 15] = [
    b"a.txt",
    b"b.txt",
    b"trip/one.jpg",
    b"trip/two.jpg",
    b"trip/deep/three.jpg",
    b"tour/one.jpg",
    b"odd\xff\n name",
    b"-rf *",
    LONG,
    b".hidden",
    b"trip/deep/four.jpg",
    b"trip",
    b"trip/deep",
    b"tour",
    b"link",
];

/// Where the numbers of further paths begin: as many as a soak wants.
const FURTHER: usize = 100;

impl At {
    /// One of a great many files.
    pub fn further(number: usize) -> Self {
        Self(FURTHER + number)
    }

    /// A path of a file.
    pub fn file(number: usize) -> Self {
        Self(number % FILES)
    }

    /// A directory that may be there.
    pub fn directory(number: usize) -> Self {
        Self(FILES + number % 3)
    }

    /// Any path.
    pub fn any(number: usize) -> Self {
        Self(number % POOL.len())
    }

    /// Its bytes, relative to the volume.
    pub fn bytes(self) -> Cow<'static, [u8]> {
        match POOL.get(self.0) {
            Some(path) => Cow::Borrowed(path),
            None => Cow::Owned(format!("lot/{}/file-{}", self.0 % 9, self.0).into_bytes()),
        }
    }
}

impl Word for At {
    fn text(&self) -> String {
        escape(&self.bytes())
    }

    fn read(text: &str) -> Option<Self> {
        if let Some((_, number)) = text.split_once("/file-") {
            return number.parse().ok().map(Self).filter(|at| at.0 >= FURTHER && at.text() == text);
        }
        (0..POOL.len()).map(Self).find(|at| at.text() == text)
    }
}

/// Bytes as a word: what is not plain stands as two hexadecimal digits after a percent sign.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"._/-".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "%{byte:02x}");
        }
    }
    text
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Word for $number {
            fn text(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

numbers! { u8 u16 u64 i64 }

impl Word for bool {
    fn text(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
