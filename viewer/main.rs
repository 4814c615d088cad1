//! Parses the command line, runs the command, prints what went wrong.

use std::process::ExitCode;

use clap::Parser;
use dexumi::{Exit, command::Arguments};

fn main() -> ExitCode {
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
