//! The stubs that `build.rs` generates from the example's own contract, with its descriptors for reflection.

/// The tickets.
pub mod tickets {
    /// Version 1 of the contract.
    #[expect(clippy::allow_attributes, reason = "which lints generated code trips differs by its version")]
    #[allow(clippy::all, clippy::pedantic, missing_docs)]
    pub mod v1 {
        tonic::include_proto!("tickets.v1");
    }
}

/// The feed of replies.
pub mod replyfeed {
    /// Version 1 of the contract.
    #[expect(clippy::allow_attributes, reason = "which lints generated code trips differs by its version")]
    #[allow(clippy::all, clippy::pedantic, missing_docs)]
    pub mod v1 {
        tonic::include_proto!("replyfeed.v1");
    }
}

/// The contract's `FileDescriptorSet`, encoded.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tickets.bin"));
