//! What Ctrl-C and SIGTERM mean while something is followed.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Error;

/// Listens for SIGINT (Ctrl-C) and SIGTERM, and counts them.
#[derive(Debug)]
pub struct Interrupts {
    signals: Signals,
    count: u32,
}

/// How urgently the program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The first signal: end in good order.
    Graceful,
    /// The second: end without waiting.
    Forced,
    /// The third and later ones: leave at once.
    Immediate,
}

impl Interrupts {
    /// Begins to listen; from now on the signals do not end the program by themselves.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn listen() -> Result<Self, Error> {
        let signals = Signals::listen().map_err(|error| Error::internal("listening for signals").with_source(error))?;
        Ok(Self { signals, count: 0 })
    }

    /// Waits for the next signal.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped has counted nothing.
    pub async fn next(&mut self) -> Urgency {
        self.signals.next().await;
        self.count += 1;
        match self.count {
            1 => Urgency::Graceful,
            2 => Urgency::Forced,
            _ => Urgency::Immediate,
        }
    }
}

#[cfg(unix)]
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
