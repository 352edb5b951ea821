//! The API packages, each with the version of its contract, as services say that they serve them.
//!
//! The major version is that of the package's name. The minor one grows with whatever is added to the contract, so that a
//! caller who needs the addition can tell.

use semver::Version;

/// An API package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its full name, with the major version.
    pub name: &'static str,
    /// The version of its contract.
    pub version: Version,
}

/// What the arbiter serves.
pub const ARBITER: Package = Package { name: "gameshelf.arbiter.v1", version: Version::new(1, 0, 0) };
/// What purchase serves.
pub const PURCHASE: Package = Package { name: "gameshelf.purchase.v1", version: Version::new(1, 0, 0) };
/// What game-list serves.
pub const GAME_LIST: Package = Package { name: "gameshelf.gamelist.v1", version: Version::new(1, 0, 0) };
/// What a payment provider serves.
pub const PAYMENT: Package = Package { name: "gameshelf.payment.v1", version: Version::new(1, 0, 0) };

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::proto;

    #[test]
    fn each_is_a_package_of_the_contract_with_its_major_version() {
        for (package, descriptors) in [
            (ARBITER, proto::arbiter::DESCRIPTORS),
            (PURCHASE, proto::purchase::DESCRIPTORS),
            (GAME_LIST, proto::gamelist::DESCRIPTORS),
            (PAYMENT, proto::payment::DESCRIPTORS),
        ] {
            let files = FileDescriptorSet::decode(descriptors).unwrap().file;
            let serves = |file: &&prost_types::FileDescriptorProto| {
                file.package() == package.name && !file.service.is_empty()
            };
            assert!(files.iter().find(serves).is_some(), "{}", package.name);
            assert!(package.name.ends_with(&format!(".v{}", package.version.major)));
        }
    }
}
