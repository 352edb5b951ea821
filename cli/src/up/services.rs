//! What runs: the four services, and the arguments of each.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::Spec;
use crate::ports::{self, Port};

/// What the children are started with.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) executable: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) catalog: PathBuf,
    pub(super) port_base: u16,
    /// How long a child waits for a port or a database that a child before it still holds.
    pub(super) wait: Duration,
    pub(super) arbiter_database_url: Option<String>,
    pub(super) purchase_database_url: Option<String>,
}

const ALL: [Port; 4] = [ports::ARBITER, ports::PURCHASE, ports::GAME_LIST, ports::PAYMENT_SANDBOX];

/// Where the services listen.
pub(super) fn addresses(port_base: u16) -> [SocketAddr; 4] {
    ALL.map(|port| port.on_loopback(port_base))
}

/// How each service is run.
///
/// # Errors
///
/// When the data directory's path cannot be said in a URL.
pub(super) fn specs(plan: &Plan) -> io::Result<Vec<Spec>> {
    let at = |port: Port| OsString::from(port.on_loopback(plan.port_base).to_string());
    let arbiter = [("--arbiter-address", at(ports::ARBITER))];
    let payment = [("--payment-address", at(ports::PAYMENT_SANDBOX))];
    let catalog = [("--catalog", plan.catalog.clone().into_os_string())];
    let database = |given: Option<&String>, file: &str| match given {
        Some(url) => Ok(OsString::from(url)),
        None => sqlite_url(&plan.data_dir.join(file)),
    };
    let arbiter_url = database(plan.arbiter_database_url.as_ref(), "arbiter/store.sqlite")?;
    let purchase_url = database(plan.purchase_database_url.as_ref(), "purchase/orders.sqlite")?;
    let game_list_url = database(None, "game-list/copy.sqlite")?;
    let payment_url = database(None, "payment-sandbox/books.sqlite")?;
    Ok(vec![
        spec(plan, ports::ARBITER, [], vec![("GAMESHELF_ARBITER_DATABASE_URL", arbiter_url)]),
        spec(
            plan,
            ports::PURCHASE,
            [arbiter.clone(), payment, catalog.clone()].concat(),
            vec![("GAMESHELF_PURCHASE_DATABASE_URL", purchase_url)],
        ),
        spec(
            plan,
            ports::GAME_LIST,
            [arbiter, catalog].concat(),
            vec![("GAMESHELF_GAME_LIST_DATABASE_URL", game_list_url)],
        ),
        spec(plan, ports::PAYMENT_SANDBOX, [], vec![("GAMESHELF_PAYMENT_SANDBOX_DATABASE_URL", payment_url)]),
    ])
}

fn spec(
    plan: &Plan,
    port: Port,
    options: impl IntoIterator<Item = (&'static str, OsString)>,
    environment: Vec<(&'static str, OsString)>,
) -> Spec {
    let address = port.on_loopback(plan.port_base);
    let wait_ms = plan.wait.as_millis().to_string();
    let mut arguments: Vec<OsString> = vec![port.name.into(), "--exit-on-stdin-close".into()];
    let common = [
        ("--listen", OsString::from(address.to_string())),
        ("--bind-wait-ms", OsString::from(&wait_ms)),
        ("--database-lock-wait-ms", OsString::from(&wait_ms)),
    ];
    for (flag, value) in common.into_iter().chain(options) {
        arguments.extend([flag.into(), value]);
    }
    Spec {
        name: port.name,
        address,
        executable: plan.executable.clone(),
        arguments,
        environment,
        log: plan.data_dir.join("logs").join(format!("{}.log", port.name)),
        is_front: matches!(port.name, "purchase" | "game-list"),
    }
}

fn sqlite_url(path: &Path) -> io::Result<OsString> {
    let path = path.to_str().ok_or_else(|| io::Error::other("the data directory's path is not UTF-8"))?;
    Ok(format!("sqlite:{path}").into())
}
