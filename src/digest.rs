//! Digests of what is owned, by which copies and stores are compared without sending them.
//!
//! Customers fall into 256 partitions. The digest of a partition is the sum of its rows' digests modulo 2^128, so that it
//! follows each change without a look at the other rows, in any order. (An additive set hash, as in Bellare and Micciancio, "A New
//! Paradigm for Collision-Free Hashing", 1997. It finds damage and mistakes; it does not withstand somebody who forges rows.)

use std::ops::{Index, IndexMut};

use sha2::{Digest as _, Sha256};

/// How many partitions there are.
pub const PARTITIONS: usize = 256;

const ROW: &[u8] = b"gameshelf.row.v1";
const CONTENT: &[u8] = b"gameshelf.content.v1";

/// The partition of a customer: the first byte of the SHA-256 of its id.
#[must_use]
pub fn partition(customer_id: &str) -> u8 {
    Sha256::digest(customer_id.as_bytes())[0]
}

/// The sum of the digests of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// The row digest of one row: all that a copy holds of it. `since` is the revision since which the game is owned.
    #[must_use]
    pub fn of_row(customer_id: &str, game_id: &str, since: u64) -> Self {
        Self::of(ROW, customer_id, game_id, since)
    }

    /// The content digest of one row: what it is in any store. `ends_at_ms` is when the ownership ends by itself, in milliseconds
    /// since 1970.
    #[must_use]
    pub fn of_content(customer_id: &str, game_id: &str, ends_at_ms: Option<u64>) -> Self {
        Self::of(CONTENT, customer_id, game_id, ends_at_ms.unwrap_or(0))
    }

    fn of(kind: &[u8], customer_id: &str, game_id: &str, number: u64) -> Self {
        let mut hash = Sha256::new_with_prefix(kind);
        for id in [customer_id, game_id] {
            // Ids are shorter than that; longer ones would only be told apart less well.
            hash.update([u8::try_from(id.len()).unwrap_or(u8::MAX)]);
            hash.update(id.as_bytes());
        }
        hash.update(number.to_be_bytes());
        let hash = hash.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// With one more of these rows.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Without these rows.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// As it stands on the wire and in a store.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From how it stands on the wire and in a store.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// A digest for each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests(Box<[Digest; PARTITIONS]>);

impl Default for Digests {
    fn default() -> Self {
        Self(Box::new([Digest::default(); PARTITIONS]))
    }
}

impl Index<u8> for Digests {
    type Output = Digest;

    fn index(&self, partition: u8) -> &Digest {
        &self.0[usize::from(partition)]
    }
}

impl IndexMut<u8> for Digests {
    fn index_mut(&mut self, partition: u8) -> &mut Digest {
        &mut self.0[usize::from(partition)]
    }
}

impl Digests {
    /// All of them in order, 16 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|digest| digest.to_bytes()).collect()
    }

    /// From all of them in order, 16 bytes each; none where the bytes are not as many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digests, rest) = bytes.as_chunks::<16>();
        if digests.len() != PARTITIONS || !rest.is_empty() {
            return None;
        }
        let mut all = Self::default();
        for (place, bytes) in all.0.iter_mut().zip(digests) {
            *place = Digest::from_bytes(*bytes);
        }
        Some(all)
    }

    /// The partitions in which two differ, in order.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<u8> {
        (0..=u8::MAX).filter(|partition| self[*partition] != other[*partition]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_as_documented() {
        // SHA-256 of "gameshelf.row.v1", 3, "ann", 4, "aqua", 7 as 8 bytes; computed by another program.
        let digest = Digest::of_row("ann", "aqua", 7);
        assert_eq!(digest.0, ROW_EXAMPLE);
        assert_eq!(Digest::of_content("ann", "aqua", None).0, CONTENT_EXAMPLE);
        assert_eq!(partition("ann"), PARTITION_EXAMPLE);
    }

    const ROW_EXAMPLE: u128 = 0x4085_16d8_cc43_c333_6ff8_c700_48dd_cfba;
    const CONTENT_EXAMPLE: u128 = 0xedf5_1ff9_5faf_7d97_ed2e_7c17_895f_6b93;
    const PARTITION_EXAMPLE: u8 = 73;

    #[test]
    fn rows_count_in_any_order_and_can_be_taken_away() {
        let (one, other) = (Digest::of_row("ann", "aqua", 1), Digest::of_row("ann", "brick", 2));
        assert_eq!(one.plus(other), other.plus(one));
        assert_eq!(one.plus(other).minus(one), other);
        assert_ne!(Digest::of_row("ann", "aqua", 2), one);
        assert_ne!(Digest::of_row("a", "nnaqua", 1), one, "where an id ends counts");
    }

    #[test]
    fn all_partitions_stand_in_bytes() {
        let mut digests = Digests::default();
        digests[partition("ann")] = Digest::of_row("ann", "aqua", 1);
        let bytes = digests.to_bytes();
        assert_eq!(bytes.len(), 16 * PARTITIONS);
        let again = Digests::from_bytes(&bytes).unwrap();
        assert_eq!(again, digests);
        assert_eq!(again.differing(&Digests::default()), [partition("ann")]);
        assert_eq!(Digests::from_bytes(&bytes[1..]), None);
    }
}
