//! The stubs that `build.rs` generates from `proto/`, a module for each package, with the descriptors that a
//! server needs for reflection.

macro_rules! package {
    ($name:ident, $documentation:literal) => {
        #[doc = $documentation]
        pub mod $name {
            /// Version 1 of the package.
            #[expect(
                clippy::allow_attributes,
                reason = "which lints generated code trips differs by package"
            )]
            #[allow(clippy::all, clippy::pedantic, missing_docs)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/gameshelf.", stringify!($name), ".v1.rs"));
            }

            /// The package's `FileDescriptorSet` with all that it imports, encoded, for reflection.
            pub const DESCRIPTORS: &[u8] =
                include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".v1.bin"));
        }
    };
}

package!(arbiter, "The arbiter: the only way to the data that says which customer owns which game.");
package!(freshness, "How fresh an answer must be, and how fresh it was.");
package!(gamelist, "Shows customers their games.");
package!(payment, "What the store asks of a payment provider.");
package!(purchase, "Sells games.");
