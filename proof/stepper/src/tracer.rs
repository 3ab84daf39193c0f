//! The loop that follows every thread and child of a program, and carries out the plan.

use crate::calls::{Length, Shape, shape};
use crate::describe::{Look, arguments, buffers, describe};
use crate::filter;
use crate::program::can_be_executed;
use crate::report::{Call, Ended, Injected, Kind, Plan, Report, StepError, Surroundings};
use crate::sys::{self, Event, Resume};
use libc::{pid_t, user_regs_struct};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A program that goes on after so many failures is one that tries the same again and again.
const ENDLESS: u64 = 20_000;

/// The system tells the thread that started a program, and no other, of what it does; so each run has a thread of its own, and
/// several can go on at a time.
pub(crate) fn run(command: Command, plan: Plan, surroundings: Surroundings<'_>) -> Result<Report, StepError> {
    let waker = Waker::default();
    let traced = thread::scope(|scope| {
        // Until the other end of it is dropped.
        let (ended, end) = channel::<()>();
        scope.spawn(|| waker.watch(end, surroundings.patience));
        let traced = scope.spawn(|| trace(command, plan, surroundings, &waker)).join();
        drop(ended);
        traced
    });
    traced.unwrap_or_else(|_| Err(StepError::Trace(io::Error::other("the tracer ended early"))))
}

/// Wakes a tracer whose program does nothing any more: one of its threads is killed, and the tracer sees to the rest.
#[derive(Default)]
struct Waker {
    /// A thread that is there, or 0 if none is; once it is too late, [`TOO_LATE`].
    thread: AtomicI32,
}

/// No thread has this number.
const TOO_LATE: pid_t = -1;

impl Waker {
    fn watch(&self, end: Receiver<()>, patience: Duration) {
        if end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let thread = self.thread.swap(TOO_LATE, Ordering::SeqCst);
            if thread > 0 {
                sys::kill(thread);
            }
        }
    }

    /// This one is there; says whether it is not too late.
    fn is_there(&self, thread: pid_t) -> bool {
        let known = |now| (now != TOO_LATE).then_some(thread);
        self.thread.fetch_update(Ordering::SeqCst, Ordering::SeqCst, known).is_ok()
    }
}

fn trace(mut command: Command, plan: Plan, surroundings: Surroundings<'_>, waker: &Waker) -> Result<Report, StepError> {
    can_be_executed(&command)?;
    sys::trace_and_filter(&mut command, filter::build(surroundings.reads_below.is_some()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(StepError::Start)?;
    // What it holds for the child would keep the pipes open.
    drop(command);
    let root = pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    waker.is_there(root);
    let mut tracer = Tracer {
        plan,
        surroundings,
        waker,
        root,
        threads: HashSet::from([root]),
        pending: HashMap::new(),
        calls: Vec::new(),
        counted: 0,
        injected: 0,
        paused: false,
        clock: 0,
        ended: None,
        killed: None,
    };
    let followed = tracer.start().and_then(|()| tracer.follow());
    if followed.is_err() {
        tracer.kill_all();
        tracer.bury()?;
    }
    let (stdout, stderr) = (collected(stdout)?, collected(stderr)?);
    followed?;
    let ended = tracer.killed.or(tracer.ended).ok_or(StepError::NotExecuted)?;
    let Tracer { calls, counted, injected, paused, .. } = tracer;
    Ok(Report { ended, process: root, calls, counted, injected, paused, stdout, stderr })
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn collected(reader: Option<JoinHandle<io::Result<Vec<u8>>>>) -> io::Result<Vec<u8>> {
    match reader.map(JoinHandle::join) {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => Err(io::Error::other("the reader ended early")),
        None => Ok(Vec::new()),
    }
}

/// A call that has not returned.
struct Pending {
    /// Its place in the log.
    call: usize,
    looks: Vec<Look>,
    /// The arguments as the program has them, if the kernel got others: it may go on to use them.
    restore: Option<user_regs_struct>,
}

struct Tracer<'a> {
    plan: Plan,
    surroundings: Surroundings<'a>,
    waker: &'a Waker,
    root: pid_t,
    threads: HashSet<pid_t>,
    pending: HashMap<pid_t, Pending>,
    calls: Vec<Call>,
    counted: u64,
    injected: u64,
    paused: bool,
    /// Calls that began or returned.
    clock: u64,
    /// How the program itself ended.
    ended: Option<Ended>,
    /// Why it was killed, if it was.
    killed: Option<Ended>,
}

impl Tracer<'_> {
    /// The program stops by itself once it was executed, before its first instruction.
    fn start(&mut self) -> Result<(), StepError> {
        match sys::wait()? {
            Some((thread, Event::Signal(libc::SIGTRAP))) if thread == self.root => {
                sys::follow_everything(self.root)?;
                Ok(sys::resume(self.root, Resume::Free, 0)?)
            }
            _ => Err(StepError::NotExecuted),
        }
    }

    /// Until nothing of it is left.
    fn follow(&mut self) -> Result<(), StepError> {
        while let Some((thread, event)) = sys::wait()? {
            if self.killed.is_some() {
                self.dying(thread, event);
                continue;
            }
            let stepped = self.step(thread, event);
            let left = self.threads.iter().next().copied().unwrap_or(0);
            if !self.waker.is_there(left) {
                self.killed = Some(Ended::Endless);
                self.kill_all();
            }
            match stepped {
                // Another thread of its process ended the process, or was made to.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn step(&mut self, thread: pid_t, event: Event) -> io::Result<()> {
        match event {
            Event::Exited(_) | Event::Signalled(_) => {
                self.gone(thread, event);
                Ok(())
            }
            Event::Call => self.before_call(thread),
            Event::Returned => self.after_call(thread),
            Event::Grew => sys::resume(thread, Resume::Free, 0),
            // A new thread begins with a stop that nobody sent.
            Event::Signal(libc::SIGSTOP) if self.threads.insert(thread) => sys::resume(thread, Resume::Free, 0),
            Event::Signal(signal) => sys::resume(thread, Resume::Free, signal),
        }
    }

    fn gone(&mut self, thread: pid_t, event: Event) {
        self.threads.remove(&thread);
        self.pending.remove(&thread);
        if thread == self.root {
            self.ended = match event {
                Event::Exited(status) => Some(Ended::Exited(status)),
                Event::Signalled(signal) => Some(Ended::Signalled(signal)),
                _ => None,
            };
        }
    }

    /// What was just being made when everything was killed shows up late.
    fn dying(&mut self, thread: pid_t, event: Event) {
        match event {
            Event::Exited(_) | Event::Signalled(_) => self.gone(thread, event),
            _ => sys::kill(thread),
        }
    }

    fn kill_all(&self) {
        self.threads.iter().for_each(|thread| sys::kill(*thread));
    }

    /// Waits for everything that was killed.
    fn bury(&mut self) -> io::Result<()> {
        while let Some((thread, event)) = sys::wait()? {
            self.dying(thread, event);
        }
        Ok(())
    }

    fn before_call(&mut self, thread: pid_t) -> io::Result<()> {
        let registers = sys::registers(thread)?;
        // The kernel shows the number in a register as wide as any.
        let shape = shape(registers.orig_rax.cast_signed());
        let described = shape.and_then(|shape| describe(thread, shape, &registers).map(|(call, looks)| (shape, call, looks)));
        let Some((shape, mut call, looks)) = described else { return sys::resume(thread, Resume::Free, 0) };
        self.clock += 1;
        call.began = self.clock;
        let place = self.calls.len();
        if self.counts(&call) {
            self.counted += 1;
            call.number = Some(self.counted);
        }
        let act = self.act(&call);
        self.calls.push(call);
        let mut pending = Pending { call: place, looks, restore: None };
        match act {
            Act::Make => {}
            Act::Pause => {
                self.paused = true;
                (self.surroundings.meanwhile)();
            }
            Act::Kill => {
                self.killed = Some(Ended::Killed);
                self.kill_all();
                return Ok(());
            }
            Act::Fail(errno) => return self.fail(thread, place, registers, errno),
            Act::Shorten => {
                if let Some((changed, less)) = shortened(thread, shape, &registers) {
                    sys::set_registers(thread, &changed)?;
                    pending.restore = Some(registers);
                    self.calls[place].injected = Some(Injected::Short(less));
                    self.injected += 1;
                }
            }
        }
        if self.is_unknown(&self.calls[place]) {
            return self.answer(thread, place, registers, libc::EINVAL);
        }
        self.pending.insert(thread, pending);
        sys::resume(thread, Resume::ToReturn, 0)
    }

    fn counts(&self, call: &Call) -> bool {
        match self.surroundings.reads_below {
            None => matches!(call.kind, Kind::Change | Kind::Sync),
            Some(dir) => call.kind == Kind::Read && call.targets.iter().any(|target| target.path.starts_with(dir)),
        }
    }

    /// What the plan says of this call.
    fn act(&self, call: &Call) -> Act {
        let Some(number) = call.number else { return Act::Make };
        match self.plan {
            Plan::PauseBefore(at) if number == at => Act::Pause,
            Plan::KillBefore(at) if number == at => Act::Kill,
            Plan::Fail { from, calls, errno } if number >= from && number - from < calls => Act::Fail(errno),
            Plan::Short { from, calls } if number >= from && self.injected < calls && call.can_be_short() => Act::Shorten,
            _ => Act::Make,
        }
    }

    /// Whether file systems such as these do not know what a call asks for.
    fn is_unknown(&self, call: &Call) -> bool {
        let flags = u64::from(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE);
        let asks = call.name == "renameat2" && call.flags.is_some_and(|asked| asked & flags != 0);
        self.surroundings.only_plain_renames && asks
    }

    fn fail(&mut self, thread: pid_t, place: usize, registers: user_regs_struct, errno: i32) -> io::Result<()> {
        self.injected += 1;
        self.answer(thread, place, registers, errno)
    }

    /// A call without a number is not made; its answer is what the register holds.
    fn answer(&mut self, thread: pid_t, place: usize, mut registers: user_regs_struct, errno: i32) -> io::Result<()> {
        let call = &mut self.calls[place];
        call.injected = Some(Injected::Errno(errno));
        call.result = Some(-i64::from(errno));
        self.clock += 1;
        call.returned = Some(self.clock);
        if self.injected >= ENDLESS {
            self.killed = Some(Ended::Endless);
            self.kill_all();
            return Ok(());
        }
        registers.orig_rax = u64::MAX;
        registers.rax = i64::from(-errno).cast_unsigned();
        sys::set_registers(thread, &registers)?;
        sys::resume(thread, Resume::Free, 0)
    }

    fn after_call(&mut self, thread: pid_t) -> io::Result<()> {
        let registers = sys::registers(thread)?;
        if let Some(pending) = self.pending.remove(&thread) {
            self.clock += 1;
            let call = &mut self.calls[pending.call];
            call.returned = Some(self.clock);
            call.result = Some(registers.rax.cast_signed());
            for (target, look) in call.targets.iter_mut().zip(&pending.looks) {
                target.after = look.now();
            }
            if let Some(before) = pending.restore {
                sys::set_registers(thread, &user_regs_struct { rax: registers.rax, ..before })?;
            }
        }
        sys::resume(thread, Resume::Free, 0)
    }
}

enum Act {
    Make,
    Pause,
    Kill,
    Fail(i32),
    Shorten,
}

/// The call with half of its bytes, and how many it lacks.
fn shortened(thread: pid_t, shape: &Shape, registers: &user_regs_struct) -> Option<(user_regs_struct, u64)> {
    let all = arguments(registers);
    match shape.length {
        Length::None => None,
        Length::Argument(place) => {
            let half = all[place] / 2;
            let mut changed = *registers;
            *match place {
                2 => &mut changed.rdx,
                3 => &mut changed.r10,
                _ => &mut changed.r8,
            } = half;
            Some((changed, all[place] - half))
        }
        // Half of the first buffer that has two bytes, by the call that takes a single one.
        Length::Vector(single) => {
            let buffers = buffers(thread, &all).ok()?;
            let total: u64 = buffers.iter().map(|(_, length)| length).sum();
            let (address, length) = buffers.into_iter().find(|(_, length)| *length > 0)?;
            let half = length.div_ceil(2);
            let changed = user_regs_struct { orig_rax: single.cast_unsigned(), rsi: address, rdx: half, ..*registers };
            (half < total).then_some((changed, total - half))
        }
    }
}
