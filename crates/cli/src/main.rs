//! The program `lastcopy`.

fn main() -> std::process::ExitCode {
    lastcopy::main()
}
