//! Compiles the contract with protox, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

/// The packages whose descriptors are exported one by one, so that a server reflects only what it serves.
const PACKAGES: [&str; 5] = ["arbiter", "freshness", "gamelist", "payment", "purchase"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = PACKAGES.map(|package| format!("gameshelf/{package}/v1/{package}.proto"));

    for (package, file) in PACKAGES.iter().zip(&files) {
        let descriptors = protox::compile([file], ["proto"])?;
        fs::write(out.join(format!("{package}.v1.bin")), descriptors.encode_to_vec())?;
    }

    tonic_prost_build::configure()
        // A connection is made by the mesh alone; the stubs only need to be given one.
        .build_transport(false)
        // A method that a server does not have is UNIMPLEMENTED: a double of a test has only those that it needs.
        .generate_default_stubs(true)
        .compile_fds(protox::compile(&files, ["proto"])?)?;
    Ok(())
}
