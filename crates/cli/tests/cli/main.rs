//! Whole-binary tests: the built program, as a person or a script would run it, in homes of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

mod bad_config;
mod bad_destination;
mod bad_files;
mod bad_index;
mod bad_places;
mod bad_secrets;
mod bad_volume;
mod concurrency;
mod demo;
mod exit_codes;
mod explain;
mod home;
mod hooks;
mod json;
mod kopia;
mod kopia_trouble;
mod mirror;
mod mounts;
mod odd_tree;
mod offload;
mod paused;
mod policies;
mod ran;
mod recovery;
mod refusals;
mod seeds;
mod sends_later;
mod skip;
mod status;
mod still;
mod stock_tools;
mod terminal;
mod tour;
mod tree;
mod words;
