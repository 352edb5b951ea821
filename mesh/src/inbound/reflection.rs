//! The standard reflection protocol, in both versions that clients use.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Adds reflection of the services that are served, and of no other, to the routes.
pub(super) fn add(
    routes: Routes,
    service_names: &[&'static str],
    descriptors: &[&'static [u8]],
) -> Result<Routes, Error> {
    let v1 = builder(service_names, descriptors).build_v1()?;
    let v1alpha = builder(service_names, descriptors).build_v1alpha()?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn builder(service_names: &[&'static str], descriptors: &[&'static [u8]]) -> Builder<'static> {
    let infrastructure = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let builder = descriptors
        .iter()
        .copied()
        .chain(infrastructure)
        .fold(Builder::configure(), Builder::register_encoded_file_descriptor_set);
    // Named one by one: a descriptor set may hold services that this server does not serve.
    service_names
        .iter()
        .copied()
        .chain([HEALTH, REFLECTION, REFLECTION_ALPHA])
        .fold(builder, Builder::with_service_name)
}
