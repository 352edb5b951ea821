//! An etcd server, as a script starts it.

use std::net::SocketAddr;

use anyhow::Context;

use super::Process;
use super::script::Script;

/// One node, with its default settings: durable before each answer.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) address: SocketAddr,
    pid: u32,
    _script: Script,
}

impl Etcd {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (script, told) =
            Script::start("with-etcd", None, "GAMESHELF_BENCH_ETCD").context("there is no etcd")?;
        let (address, pid) = told.split_once(' ').context("scripts/with-etcd tells no process")?;
        Ok(Self { address: address.parse()?, pid: pid.parse()?, _script: script })
    }

    pub(crate) fn process(&self) -> Process {
        Process::alone("etcd", self.pid)
    }
}
