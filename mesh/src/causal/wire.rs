//! Tokens as metadata: a `gameshelf.mesh.v1.CausalTokens` in base64, as gRPC carries bytes.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use tonic::Status;

use super::tokens::{MAX_SCOPES, Scope, Token, Tokens};
use crate::errors::{self, Reason};
use crate::proto::v1;

/// gRPC writes no padding and reads either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What eight tokens of the longest scopes take, and no more.
const MAX_ENCODED_BYTES: usize = 1024;

/// The tokens of a request or an answer; none where it has none.
///
/// # Errors
/// When they are not of the format.
pub(super) fn read(headers: &HeaderMap) -> Result<Tokens, Status> {
    let Some(value) = headers.get(super::HEADER) else { return Ok(Tokens::default()) };
    decode(value).ok_or_else(|| {
        errors::status(
            Reason::CausalTokensMalformed,
            "the metadata mesh-causal-bin is not a gameshelf.mesh.v1.CausalTokens within its limits",
            &[("header", super::HEADER.to_owned())],
        )
    })
}

fn decode(value: &HeaderValue) -> Option<Tokens> {
    if value.len() > MAX_ENCODED_BYTES {
        return None;
    }
    let bytes = BASE64.decode(value.as_bytes()).ok()?;
    let message = v1::CausalTokens::decode(bytes.as_slice()).ok()?;
    if message.tokens.len() > MAX_SCOPES {
        return None;
    }
    let mut tokens = Tokens::default();
    for token in message.tokens {
        tokens.add(Token { scope: Scope::new(token.scope).ok()?, position: token.position });
    }
    Some(tokens)
}

/// Writes the tokens where there are any.
pub(super) fn write(tokens: &Tokens, headers: &mut HeaderMap) {
    if tokens.as_slice().is_empty() {
        return;
    }
    let tokens = tokens
        .as_slice()
        .iter()
        .map(|token| v1::CausalToken { scope: token.scope.as_bytes().to_vec(), position: token.position });
    let bytes = v1::CausalTokens { tokens: tokens.collect() }.encode_to_vec();
    if let Ok(value) = HeaderValue::from_str(&BASE64.encode(bytes)) {
        headers.insert(super::HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_within_the_limit(
            added in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..=64), any::<u64>()), 0..12),
        ) {
            let mut tokens = Tokens::default();
            for (scope, position) in added {
                tokens.add(Token { scope: Scope::new(scope).unwrap(), position });
            }
            let mut headers = HeaderMap::new();
            write(&tokens, &mut headers);
            prop_assert_eq!(read(&headers).unwrap(), tokens);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            headers.insert(super::super::HEADER, HeaderValue::from_str(&BASE64.encode(bytes)).unwrap());
            let _ = read(&headers);
        }
    }

    #[test]
    fn what_is_over_the_limits_is_refused() {
        let refused = |message: v1::CausalTokens| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(&BASE64.encode(message.encode_to_vec())).unwrap();
            headers.insert(super::super::HEADER, value);
            errors::reason_of(&read(&headers).unwrap_err())
        };
        let token = |scope: usize| v1::CausalToken { scope: vec![7; scope], position: 1 };
        for tokens in [vec![token(0)], vec![token(65)], vec![token(1); 9]] {
            assert_eq!(refused(v1::CausalTokens { tokens }), Some(Reason::CausalTokensMalformed));
        }
        let mut headers = HeaderMap::new();
        headers.insert(super::super::HEADER, HeaderValue::from_static("not base64!"));
        assert!(read(&headers).is_err());
    }
}
