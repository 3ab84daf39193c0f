//! The content-addressed store under the conformance suite, and the sequence of a push over it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::panic, reason = "so do helpers of tests")]

mod beside;
mod conformance;
mod faulty;
mod heads;
mod identity;
mod mount;
mod push;
mod subject;

/// A runtime, and the context of an operation that nobody stops.
fn context() -> (tokio::runtime::Runtime, lastcopy_sync::Context) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (cancel, progress) = (lastcopy_fs::Cancel::new(), std::sync::Arc::new(lastcopy_fs::NoProgress));
    let context = lastcopy_sync::Context::new(runtime.handle().clone(), cancel, progress);
    (runtime, context)
}
