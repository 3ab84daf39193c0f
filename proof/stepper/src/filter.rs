//! The program that runs in the kernel at each system call, and says whether the traced one stops there.

use crate::calls::{READS, SHAPES, Shape, When};
use libc::sock_filter;

/// `AUDIT_ARCH_X86_64`: a 64-bit, little-endian machine of number 62.
const X86_64: u32 = 0xc000_003e;
/// Calls of the 32-bit-pointer interface have this bit.
const X32: u32 = 0x4000_0000;
/// Where `struct seccomp_data` has the number of the call, the machine, and the arguments.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Everything in the table stops, and what reads if that is wanted; everything else goes on. What could go round it ends the program, or is
/// not to be had.
pub(crate) fn build(with_reads: bool) -> Vec<sock_filter> {
    let mut program = vec![
        load(MACHINE),
        jump(libc::BPF_JEQ, X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        jump(libc::BPF_JGE, X32, 0, 1),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        jump(libc::BPF_JEQ, number_of(libc::SYS_io_uring_setup), 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ];
    for shape in SHAPES.iter().chain(READS.iter().filter(|_| with_reads)) {
        let stop = when(shape);
        // The table's tests are a few instructions each.
        let length = u8::try_from(stop.len()).unwrap_or(u8::MAX);
        program.push(jump(libc::BPF_JEQ, number_of(shape.number), 0, length));
        program.extend(stop);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// System call numbers are small and positive.
fn number_of(call: i64) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Answers a call of this number, one way or the other.
fn when(shape: &Shape) -> Vec<sock_filter> {
    let mut program = Vec::new();
    match shape.when {
        When::Always => {}
        When::Bits(conditions) => {
            for (argument, bits, wanted) in conditions {
                let (if_some, if_none) = if *wanted { (1, 0) } else { (0, 1) };
                program.extend([
                    load(argument_at(*argument)),
                    jump(libc::BPF_JSET, *bits, if_some, if_none),
                    answer(libc::SECCOMP_RET_ALLOW),
                ]);
            }
        }
        When::Is(argument, values) => {
            program.push(load(argument_at(argument)));
            for value in values {
                program.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer(libc::SECCOMP_RET_TRACE)]);
            }
            program.push(answer(libc::SECCOMP_RET_ALLOW));
            return program;
        }
    }
    program.push(answer(libc::SECCOMP_RET_TRACE));
    program
}

/// The lower half of an argument; all that is tested fits in it.
fn argument_at(place: usize) -> u32 {
    ARGUMENTS + 8 * u32::try_from(place).unwrap_or(0)
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(libc::BPF_JMP | test | libc::BPF_K, value, if_true, if_false)
}

fn answer(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Codes are a byte wide.
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}
