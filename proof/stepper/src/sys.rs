//! The system's calls for tracing. All of the crate's unsafe code is here.

#![expect(unsafe_code, reason = "ptrace, seccomp and waitpid have no safe wrapper; each call below says what it touches")]

use libc::{c_int, c_long, c_ulong, pid_t, sock_filter, user_regs_struct};
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// What a thread of the program did, as `waitpid` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Exited(i32),
    Signalled(i32),
    /// It stopped before a call that the filter names.
    Call,
    /// It stopped after a call.
    Returned,
    /// It made a thread or a child, or became another program.
    Grew,
    /// A signal is about to be delivered.
    Signal(i32),
}

/// How a thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// To the next call that the filter names.
    Free,
    /// To the end of the call that it is about to make.
    ToReturn,
}

/// `prctl` takes numbers of this width, unused ones included.
const ONE: c_ulong = 1;
const NOUGHT: c_ulong = 0;

/// Makes the program that is about to be executed one that the starting thread traces, with a filter.
pub(crate) fn trace_and_filter(command: &mut Command, mut filter: Vec<sock_filter>) {
    let enter = move || {
        let program = libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(u16::MAX), filter: filter.as_mut_ptr() };
        let none = ptr::null_mut::<c_void>();
        // SAFETY: three system calls without allocation; the filter outlives the last one, which copies it.
        unsafe {
            checked(libc::ptrace(libc::PTRACE_TRACEME, 0, none, none))?;
            checked(c_long::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, ONE, NOUGHT, NOUGHT, NOUGHT)))?;
            let mode = c_ulong::from(libc::SECCOMP_MODE_FILTER);
            checked(c_long::from(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, NOUGHT, NOUGHT)))?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls, which is all that a process between fork and exec may do.
    unsafe {
        command.pre_exec(enter);
    }
}

/// After the program's first stop: new threads and children are traced, too, and nothing outlives the tracer.
pub(crate) fn follow_everything(process: pid_t) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: the options are a number.
    let answer = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, process, ptr::null_mut::<c_void>(), c_long::from(options)) };
    checked(answer)
}

/// Lets a stopped thread go on, with a signal if that is not 0.
pub(crate) fn resume(thread: pid_t, how: Resume, signal: c_int) -> io::Result<()> {
    let request = match how {
        Resume::Free => libc::PTRACE_CONT,
        Resume::ToReturn => libc::PTRACE_SYSCALL,
    };
    // SAFETY: the signal is a number.
    let answer = unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), c_long::from(signal)) };
    checked(answer)
}

/// The registers of a stopped thread.
pub(crate) fn registers(thread: pid_t) -> io::Result<user_regs_struct> {
    let mut registers = MaybeUninit::<user_regs_struct>::zeroed();
    // SAFETY: the kernel writes exactly this structure, in which any bytes are valid.
    unsafe {
        checked(libc::ptrace(libc::PTRACE_GETREGS, thread, ptr::null_mut::<c_void>(), registers.as_mut_ptr()))?;
        Ok(registers.assume_init())
    }
}

/// Changes the registers of a stopped thread.
pub(crate) fn set_registers(thread: pid_t, registers: &user_regs_struct) -> io::Result<()> {
    // SAFETY: the kernel reads exactly this structure.
    let answer = unsafe { libc::ptrace(libc::PTRACE_SETREGS, thread, ptr::null_mut::<c_void>(), ptr::from_ref(registers)) };
    checked(answer)
}

/// Kills the process that a thread belongs to; it may be gone already.
pub(crate) fn kill(thread: pid_t) {
    // SAFETY: kill(2) touches no memory.
    unsafe {
        libc::kill(thread, libc::SIGKILL);
    }
}

/// The next thing that any thread traced by this thread did; nothing when none is left.
pub(crate) fn wait() -> io::Result<Option<(pid_t, Event)>> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one integer.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        if thread >= 0 {
            return Ok(Some((thread, event(status))));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

fn event(status: c_int) -> Event {
    if libc::WIFEXITED(status) {
        return Event::Exited(libc::WEXITSTATUS(status));
    }
    if libc::WIFSIGNALED(status) {
        return Event::Signalled(libc::WTERMSIG(status));
    }
    const AFTER_CALL: c_int = libc::SIGTRAP | 0x80;
    match (status >> 16, libc::WSTOPSIG(status)) {
        (libc::PTRACE_EVENT_SECCOMP, _) => Event::Call,
        (0, AFTER_CALL) => Event::Returned,
        (0, signal) => Event::Signal(signal),
        _ => Event::Grew,
    }
}

fn checked(answer: c_long) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
