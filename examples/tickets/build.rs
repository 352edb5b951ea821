//! Compiles the example's own contract with protox, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 2] = ["tickets/v1/tickets.proto", "replyfeed/v1/replyfeed.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("tickets.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // A connection is made by the mesh alone; the stubs only need to be given one.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
