//! Listening, with one clear error when the address is in use.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{EXIT_CONFIGURATION, Failure};

/// How often an address in use is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on the address; while it is in use, waits for at most `wait_ms`. None when told to stop meanwhile.
pub(super) async fn bind(
    address: SocketAddr,
    wait_ms: u64,
    shutdown: &CancellationToken,
) -> Result<Option<TcpListener>, Failure> {
    let until = Instant::now() + Duration::from_millis(wait_ms);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {}
            Err(error) => return Err(failure(address, &error)),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

fn failure(address: SocketAddr, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{address} is in use by another process; end that process, or choose another address with --listen"
        ),
        ErrorKind::PermissionDenied => {
            format!("listening on {address} is not permitted; choose a port above 1023 with --listen")
        }
        _ => format!("cannot listen on {address}: {error}; choose another address with --listen"),
    };
    Failure::new(message, EXIT_CONFIGURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_in_use_is_one_clear_error() {
        let (_listener, address) = taken().await;
        let failure = bind(address, 0, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(failure.exit_code, EXIT_CONFIGURATION);
        assert!(failure.message.contains(&address.to_string()), "{}", failure.message);
        assert!(failure.message.contains("--listen"), "{}", failure.message);
    }

    #[tokio::test]
    async fn an_address_that_becomes_free_is_waited_for() {
        let (listener, address) = taken().await;
        let stop = CancellationToken::new();
        let waiting = tokio::spawn(async move { bind(address, 10_000, &stop).await });
        tokio::task::yield_now().await;
        drop(listener);
        assert!(waiting.await.unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn the_wait_ends_when_the_process_is_told_to_stop() {
        let (_listener, address) = taken().await;
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(bind(address, 600_000, &stop).await.unwrap().is_none());
    }
}
