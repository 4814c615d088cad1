//! Parses the command line, runs the command, prints what went wrong.

use std::process::ExitCode;

use clap::Parser;
use dexumi::{Exit, command::Arguments};

fn main() -> ExitCode {
    end_with_the_reader();
    // clap ends the program itself for --help and wrong usage (exit code 2).
    let arguments = Arguments::parse();
    match arguments.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::of(&error).into()
        }
    }
}

/// `dexumi info … | head` closes standard output early: that ends the program as it ends others,
/// without a panic. A recording is complete before its result is printed.
fn end_with_the_reader() {
    /// As a shell reports a program that SIGPIPE ended.
    const ENDED_BY_PIPE: i32 = 128 + 13;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            std::process::exit(ENDED_BY_PIPE);
        }
        report(panic);
    }));
}
