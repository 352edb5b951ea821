//! Compiles the mesh's own contract with protox, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILE: &str = "gameshelf/mesh/v1/mesh.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile([FILE], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("mesh.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // A connection is made by the outbound side alone; the stubs only need to be given one.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
