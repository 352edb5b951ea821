//! What tells a process to stop.

use std::io::{self, Read};
use std::process;

use tokio_util::sync::CancellationToken;

/// The exit code after a second signal, by which somebody says that the drain takes too long.
const EXIT_AT_ONCE: i32 = 130;

/// Cancels the token on SIGTERM, on ctrl-C, and (where asked for) when the standard input is closed. The same signal a
/// second time ends the process at once.
pub(super) fn cancel_on_stop(shutdown: CancellationToken, on_stdin_close: bool) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let mut seen = Vec::with_capacity(2);
        loop {
            let signal = signals.next().await;
            // A ctrl-C reaches the parent process too, which may well pass it on as SIGTERM: that is the same wish once
            // more, and not an impatient one.
            if seen.contains(&signal) {
                tracing::warn!(signal, "told to stop a second time: ending at once");
                process::exit(EXIT_AT_ONCE);
            }
            tracing::info!(signal, "stopping");
            seen.push(signal);
            stop.cancel();
        }
    });
    if on_stdin_close {
        cancel_on_stdin_close(shutdown)?;
    }
    Ok(())
}

/// Reads the standard input to its end on a thread that nobody waits for: a read cannot be cancelled, and on the
/// runtime's own threads it would keep the process from ending.
fn cancel_on_stdin_close(shutdown: CancellationToken) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut ignored = [0; 256];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                Ok(_) | Err(_) => {}
            }
        }
        tracing::info!("the standard input was closed: stopping");
        shutdown.cancel();
    })?;
    Ok(())
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the signature is that of the other systems")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        // Where ctrl-C cannot be received, nothing stops the process but its end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-C"
    }
}
