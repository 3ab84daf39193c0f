//! Mirrors under the conformance suite, over the real rclone, and what only mirrors do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::panic, reason = "so do helpers of tests")]

mod broken;
mod checkout;
mod conformance;
mod fingerprint;
mod history;
mod names;
mod servers;
mod skip;
mod subject;

/// A runtime, and the context of an operation that nobody stops.
fn context() -> (tokio::runtime::Runtime, lastcopy_sync::Context) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (cancel, progress) = (lastcopy_fs::Cancel::new(), std::sync::Arc::new(lastcopy_fs::NoProgress));
    let context = lastcopy_sync::Context::new(runtime.handle().clone(), cancel, progress);
    (runtime, context)
}
