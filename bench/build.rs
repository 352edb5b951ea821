//! Compiles the part of etcd's contract that its rows need; see `proto/etcd.proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        // The load writes its messages by itself, to every server in the same way.
        .build_client(false)
        .build_server(false)
        .compile_fds(protox::compile(["etcd.proto"], ["proto"])?)?;
    Ok(())
}
