//! Operations: what a person does, what the tool is told, and what befalls them. One line each.

use crate::word::{At, Dest, Lying, Moment, Storing, Terms, Vol, Word};
use std::fmt;
use std::str::FromStr;

macro_rules! ops {
    ($($(#[$doc:meta])* $variant:ident $word:literal $({ $($(#[$field_doc:meta])* $field:ident: $kind:ty),* })?,)*) => {
        /// One operation.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $variant $({ $($(#[$field_doc])* $field: $kind),* })?,)*
            /// Happens within the next command, at the moment of this kind with this number, counted from one.
            During {
                /// Which kind of moment.
                moment: Moment,
                /// Which of them.
                number: u16,
                /// What happens.
                op: Box<Op>,
            },
        }

        impl Op {
            /// The first word of its line.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant $({ $($field: _),* })? => $word,)*
                    Self::During { .. } => "during",
                }
            }

            /// The situation that it had an effect: where things were as they were, it may have found nothing to do.
            pub(crate) fn done(&self) -> &'static str {
                match self {
                    $(Self::$variant $({ $($field: _),* })? => concat!("done: ", $word),)*
                    Self::During { .. } => "done: during",
                }
            }
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        f.write_str($word)?;
                        $($(write!(f, " {}", $field.text())?;)*)?
                        Ok(())
                    })*
                    Self::During { moment, number, op } => write!(f, "during {} {number} {op}", moment.name()),
                }
            }
        }

        fn read_plain(word: &str, rest: &mut dyn Iterator<Item = &str>) -> Option<Op> {
            match word {
                $($word => Some(Op::$variant $({ $($field: <$kind as Word>::read(rest.next()?)?),* })?),)*
                _ => None,
            }
        }
    };
}

ops! {
    /// A person writes a file, in place if it is there.
    Write "write" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At,
        /// Which of the contents.
        content: u8
    },
    /// A person writes a new file and renames it over the old one.
    Replace "replace" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At,
        /// Which of the contents.
        content: u8
    },
    /// A person appends a few bytes.
    Append "append" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// A person cuts a file short.
    Truncate "truncate" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// A person writes other bytes of the same length in place, and sets the modification time back to what it was.
    Overwrite "overwrite" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// A person renames a file or a directory, over what is there.
    Rename "rename" {
        /// The volume.
        volume: Vol,
        /// From here.
        at: At,
        /// To here.
        to: At
    },
    /// A person deletes a file, or a directory with all that is in it.
    Delete "delete" {
        /// The volume.
        volume: Vol,
        /// Which.
        at: At
    },
    /// A person puts a symbolic link in the place of a file or a directory, to one with the same names outside of the volume.
    Link "link" {
        /// The volume.
        volume: Vol,
        /// Where.
        at: At
    },
    /// A person sets a file's modification time back by a day.
    Age "age" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// Other bytes of the same length are stored through a mapping. Kernels that do not stamp files in memory for that leave no trace of it.
    Rot "rot" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// A person opens a file for writing, and keeps it open.
    Open "open" {
        /// The volume.
        volume: Vol,
        /// The file.
        at: At
    },
    /// A person writes through the descriptor that is open.
    WriteOpen "write-open" {
        /// Which of the contents.
        content: u8
    },
    /// A person closes it.
    Close "close",
    /// `index`.
    Index "index" {
        /// The volume.
        volume: Vol,
        /// `--accept-loss`.
        accept_loss: bool
    },
    /// `sync`.
    Sync "sync" {
        /// The volume.
        volume: Vol,
        /// Where to.
        to: Dest
    },
    /// `verify`.
    Verify "verify" {
        /// Which destination.
        at: Dest,
        /// `--quick`.
        quick: bool
    },
    /// `offload` of the whole volume.
    Offload "offload" {
        /// The volume.
        volume: Vol,
        /// `--confirm`.
        full: bool
    },
    /// `offload --undo` of the newest offload that holds something.
    Undo "undo" {
        /// The volume.
        volume: Vol
    },
    /// `restore`.
    Restore "restore" {
        /// The volume.
        volume: Vol,
        /// `--in-place`.
        in_place: bool
    },
    /// `restore --to` a directory where some other file is.
    RestoreTo "restore-to" {
        /// The volume.
        volume: Vol
    },
    /// `audit`.
    Audit "audit" {
        /// The volume.
        volume: Vol,
        /// `--deep`.
        deep: bool
    },
    /// `alarms ack` of every alarm that stands.
    Acknowledge "acknowledge",
    /// `destination repair`.
    Repair "repair" {
        /// Which.
        at: Dest
    },
    /// `destination init`.
    Init "init" {
        /// Which.
        at: Dest
    },
    /// `destination adopt`.
    Adopt "adopt" {
        /// Which.
        at: Dest
    },
    /// `destination reset`.
    Reset "reset" {
        /// Which.
        at: Dest
    },
    /// `evidence rewind` by so many runs.
    Rewind "rewind" {
        /// Of which volume.
        volume: Vol,
        /// Where.
        at: Dest,
        /// By how many runs.
        by: u8
    },
    /// The offload policy of a volume is changed in the configuration.
    Policy "policy" {
        /// The volume.
        volume: Vol,
        /// To what.
        terms: Terms
    },
    /// `policy accept`.
    AcceptPolicy "accept-policy" {
        /// The volume.
        volume: Vol
    },
    /// `db backup`.
    Backup "backup",
    /// `db restore` of the newest backup.
    RestoreIndex "restore-index",
    /// A person puts the newest backup in the index's place by hand: with what lies beside the index, or without.
    PutIndexBack "put-index-back" {
        /// Whether the file beside it is left as it is.
        keep_beside: bool
    },
    /// A second machine gets a copy of the index, with all that goes with it.
    Clone "clone",
    /// The person goes on at the other machine.
    Switch "switch",
    /// The index is lost, and made anew from a destination.
    Recover "recover" {
        /// From where.
        from: Dest
    },
    /// An index run begins, and does not end.
    Begin "begin" {
        /// The volume.
        volume: Vol
    },
    /// It ends.
    End "end",
    /// `runs abort` of whatever runs.
    Abort "abort",
    /// The tool ends, and is started again.
    Restart "restart",
    /// The process is killed at this moment: only within a command.
    Crash "crash",
    /// The call of a destination with this number fails, counted from now; once, or from then on.
    Fail "fail" {
        /// Which.
        at: Dest,
        /// Which call.
        call: u16,
        /// Every one after it, too.
        for_ever: bool
    },
    /// A destination begins to lie.
    Lie "lie" {
        /// Which.
        at: Dest,
        /// In what.
        in_what: Lying
    },
    /// Storage begins to treat the next object in this way.
    Store "store" {
        /// Which destination's.
        at: Dest,
        /// How.
        how: Storing
    },
    /// A destination is honest again, and its calls succeed.
    Honest "honest" {
        /// Which.
        at: Dest
    },
    /// An object is lost.
    Lose "lose" {
        /// Where.
        at: Dest,
        /// Which content's.
        content: u8
    },
    /// A bit of an object changes.
    Flip "flip" {
        /// Where.
        at: Dest,
        /// Which content's.
        content: u8
    },
    /// An object loses its last byte.
    Shorten "shorten" {
        /// Where.
        at: Dest,
        /// Which content's.
        content: u8
    },
    /// An object's bytes become those of another content of the same length.
    Exchange "exchange" {
        /// Where.
        at: Dest,
        /// Which content's.
        content: u8
    },
    /// Everything at a destination is deleted.
    Wipe "wipe" {
        /// Which.
        at: Dest
    },
    /// Another repository lies in the place of a destination.
    Swap "swap" {
        /// Which.
        at: Dest
    },
    /// A destination's disk is unplugged.
    Unplug "unplug" {
        /// Which.
        at: Dest
    },
    /// It is plugged in again.
    Plug "plug" {
        /// Which.
        at: Dest
    },
    /// A copy of a destination is kept.
    Keep "keep" {
        /// Which.
        at: Dest
    },
    /// A destination is as it was kept.
    RollBack "roll-back" {
        /// Which.
        at: Dest
    },
    /// A destination is moved into a volume, with a link at its old place.
    MoveInto "move-into" {
        /// Which.
        at: Dest,
        /// Where to.
        volume: Vol
    },
    /// Two destinations exchange their addresses in the configuration.
    SwapPlaces "swap-places" {
        /// One.
        at: Dest,
        /// The other.
        with: Dest
    },
    /// Everything is mended, and all that was offloaded comes back: the end of a history.
    Finish "finish",
    /// The clock moves by so many milliseconds.
    Clock "clock" {
        /// By how much.
        by: i64
    },
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        read(&mut words).filter(|_| words.next().is_none()).ok_or_else(|| format!("`{line}` is no operation"))
    }
}

fn read(words: &mut dyn Iterator<Item = &str>) -> Option<Op> {
    let word = words.next()?;
    if word != "during" {
        return read_plain(word, words);
    }
    let moment = Moment::read(words.next()?)?;
    let number = u16::read(words.next()?)?;
    Some(Op::During { moment, number, op: Box::new(read(words)?) })
}

/// A history as text: one operation a line; a line that begins with `#` is a remark.
pub fn parse(text: &str) -> Result<Vec<Op>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::parse).collect()
}

/// The text of a history.
pub fn print(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}

impl Op {
    /// Whether the tool does it: other operations can happen within it.
    pub fn is_command(&self) -> bool {
        matches!(
            self,
            Self::Index { .. }
                | Self::Sync { .. }
                | Self::Verify { .. }
                | Self::Offload { .. }
                | Self::Undo { .. }
                | Self::Restore { .. }
                | Self::RestoreTo { .. }
                | Self::Audit { .. }
                | Self::Acknowledge
                | Self::Repair { .. }
                | Self::Init { .. }
                | Self::Adopt { .. }
                | Self::Reset { .. }
                | Self::Rewind { .. }
                | Self::Recover { .. }
        )
    }

    /// Whether it touches the index in any way: then it cannot happen within a transaction.
    pub fn needs_index(&self) -> bool {
        self.is_command()
            || matches!(
                self,
                Self::AcceptPolicy { .. }
                    | Self::Backup
                    | Self::RestoreIndex
                    | Self::PutIndexBack { .. }
                    | Self::Clone
                    | Self::Switch
                    | Self::Begin { .. }
                    | Self::End
                    | Self::Abort
                    | Self::Restart
            )
    }
}
