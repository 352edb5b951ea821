//! Which service listens where: each on a port of its own above one base.

use std::net::{Ipv4Addr, SocketAddr};

/// The base that is taken when none is given.
pub(crate) const DEFAULT_BASE: u16 = 7400;
/// The highest base whose ports all exist.
pub(crate) const MAX_BASE: u16 = u16::MAX - 3;

/// A service and its port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// The name of the service, which is also its subcommand.
    pub(crate) name: &'static str,
    offset: u16,
}

pub(crate) const ARBITER: Port = Port { name: "arbiter", offset: 0 };
pub(crate) const PURCHASE: Port = Port { name: "purchase", offset: 1 };
pub(crate) const GAME_LIST: Port = Port { name: "game-list", offset: 2 };
pub(crate) const PAYMENT_SANDBOX: Port = Port { name: "payment-sandbox", offset: 3 };

impl Port {
    /// Its address on this machine. The base is at most [`MAX_BASE`].
    pub(crate) fn on_loopback(self, base: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, base.saturating_add(self.offset)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_above_the_base() {
        let ports = [ARBITER, PURCHASE, GAME_LIST, PAYMENT_SANDBOX].map(|port| port.on_loopback(7400).port());
        assert_eq!(ports, [7400, 7401, 7402, 7403]);
        assert_eq!(PAYMENT_SANDBOX.on_loopback(MAX_BASE).port(), u16::MAX);
    }
}
