//! Orders by key, on a terminal.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result};
use nix::{
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
    unistd::{getpgrp, tcgetpgrp},
};
use tokio::sync::mpsc;

use crate::control::{Order, Request};

/// A terminal without line editing, set back when this is dropped.
pub(super) struct RawTerminal(Termios);

impl RawTerminal {
    /// `None` where standard input is no terminal, or one that another program
    /// has: who touches it from the background is halted.
    pub fn new() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || tcgetpgrp(&stdin).ok()? != getpgrp() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// Sends an order for each key that means one.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn listen(orders: mpsc::Sender<Request>) -> Result<()> {
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(move || {
            for byte in std::io::stdin().lock().bytes() {
                let order = match byte {
                    Ok(b' ' | b'\n' | b'\r' | b's') => Order::Toggle,
                    Ok(b'd' | b'D') => Order::Discard,
                    Ok(b'm' | b'M') => Order::Mark {
                        text: String::new(),
                    },
                    Ok(b'q' | b'Q') => Order::Quit,
                    Ok(_) => continue,
                    Err(_) => break,
                };
                if orders.blocking_send(order.into()).is_err() {
                    break;
                }
            }
        })
        .context("cannot start the keyboard thread")?;
    Ok(())
}
