//! What both stacks need to know of a call: its name, its outcome, and how to end its body.

mod observe;
mod stamp;
mod until;

use http::HeaderMap;
use tonic::Code;

pub(crate) use observe::{Called, Instruments, Observation, Observed, Side};
pub(crate) use stamp::{Stamp, Stamped};
pub(crate) use until::{Ending, Until, trailers};

const GRPC_STATUS: &str = "grpc-status";

/// The service and the method of a path `/package.Service/Method`; empty where the path has another form.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default()
}

/// Whether the path is of the health protocol.
fn is_health(path: &str) -> bool {
    path.starts_with("/grpc.health.")
}

/// Whether the path is of the protocols by which callers learn whether a server is there and what it is. They must be
/// answered above all when it is overloaded: a server that seems to be away sends its load to the others.
pub(crate) fn tells_condition(path: &str) -> bool {
    is_health(path) || path.starts_with("/gameshelf.mesh.")
}

/// Whether the path belongs to the protocols by which machines look after a server, and not to its work.
pub(crate) fn is_infrastructure(path: &str) -> bool {
    tells_condition(path) || path.starts_with("/grpc.reflection.")
}

/// The code in headers or trailers, or none when they carry none.
pub(crate) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_into_service_and_method() {
        assert_eq!(split("/package.Service/Method"), ("package.Service", "Method"));
        for path in ["", "/", "Method", "/Method"] {
            assert_eq!(split(path), ("", ""), "{path:?}");
        }
    }

    #[test]
    fn only_the_protocols_of_machines_are_infrastructure() {
        assert!(is_infrastructure("/grpc.health.v1.Health/Check"));
        assert!(is_infrastructure("/gameshelf.mesh.v1.MeshService/Describe"));
        assert!(is_infrastructure("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
        assert!(!is_infrastructure("/package.Service/Method"));
        assert!(!is_health("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
    }
}
