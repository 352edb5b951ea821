//! Who was tried for a call, as the mesh tells it with the answer: `127.0.0.1:7000@1.0.1=UNAVAILABLE, 127.0.0.1:7001@1.0.0=OK`.

use mesh::version::TRIED_HEADER;
use serde::Serialize;
use tonic::metadata::MetadataMap;

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Try {
    /// The version that was asked; none where it was something else that was tried, or held the next try up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    pub(super) outcome: String,
}

/// All tries of a call, in order.
pub(super) fn read(metadata: &MetadataMap) -> Vec<Try> {
    let text = metadata.get(TRIED_HEADER.as_str()).and_then(|text| text.to_str().ok()).unwrap_or_default();
    text.split(", ").filter(|part| !part.is_empty()).map(parse).collect()
}

fn parse(part: &str) -> Try {
    let asked = part.rsplit_once('=').and_then(|(instance, outcome)| {
        let (_, version) = instance.rsplit_once('@')?;
        Some(Try { version: Some(version.to_owned()), outcome: outcome.to_owned() })
    });
    asked.unwrap_or_else(|| Try { version: None, outcome: part.to_owned() })
}

/// `1.0.1 UNAVAILABLE, 1.0.0 OK`.
pub(super) fn in_words(tries: &[Try]) -> String {
    let one = |one: &Try| match &one.version {
        Some(version) => format!("{version} {}", one.outcome),
        None => one.outcome.clone(),
    };
    tries.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_tried_is_read_and_said() {
        let mut metadata = MetadataMap::new();
        assert!(read(&metadata).is_empty());
        let told = "[::1]:7000@1.0.1-rc.1=UNAVAILABLE, BUDGET, 127.0.0.1:7001@1.0.0=OK";
        metadata.insert("mesh-tried", told.parse().unwrap());
        let tries = read(&metadata);
        assert_eq!(in_words(&tries), "1.0.1-rc.1 UNAVAILABLE, BUDGET, 1.0.0 OK");
        assert_eq!(tries[1], Try { version: None, outcome: "BUDGET".to_owned() });
    }
}
