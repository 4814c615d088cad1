//! Ctrl-C: the first ends after what is at hand is put away, the second at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};

use crate::command::record::interrupted;

/// Exit code after a second Ctrl-C, as shells have it for SIGINT.
const AT_ONCE: i32 = 130;

/// From now on, Ctrl-C or a termination signal ends the program at once, with these words. For work that
/// may be cut off anywhere and goes on later.
///
/// # Errors
/// Signals cannot be waited for.
pub fn exit_saying(words: String) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for Ctrl-C")?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if runtime.block_on(interrupted()).is_ok() {
                eprintln!("\n{words}");
                std::process::exit(AT_ONCE);
            }
        })
        .context("cannot start the thread that waits for Ctrl-C")?;
    Ok(())
}

/// Whether Ctrl-C or a termination signal has come.
#[derive(Debug, Clone)]
pub struct Interrupt {
    has_come: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watches for signals from now on, as long as the program runs.
    ///
    /// # Errors
    /// They cannot be waited for.
    pub fn watch() -> Result<Self> {
        let has_come = Arc::new(AtomicBool::new(false));
        let told = has_come.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot wait for Ctrl-C")?;
        // The handlers stand before anything is begun.
        let (ready, is_ready) = crossbeam_channel::bounded::<()>(1);
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let first = interrupted();
                    tokio::pin!(first);
                    let begun = tokio::time::timeout(std::time::Duration::ZERO, &mut first).await;
                    let _ = ready.send(());
                    if begun.is_err() && first.await.is_err() {
                        return;
                    }
                    told.store(true, Ordering::Relaxed);
                    eprintln!("ending; again to end at once");
                    if interrupted().await.is_ok() {
                        std::process::exit(AT_ONCE);
                    }
                });
            })
            .context("cannot start the thread that waits for Ctrl-C")?;
        let _ = is_ready.recv();
        Ok(Self { has_come })
    }

    /// Ends what waits for it.
    pub fn end(&self) {
        self.has_come.store(true, Ordering::Relaxed);
    }

    /// For work that Ctrl-C may end at once.
    pub fn never() -> Self {
        Self {
            has_come: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Whether it has.
    pub fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }
}
