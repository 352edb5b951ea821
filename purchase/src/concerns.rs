//! What is unsafe about how the service runs, told to whoever asks the mesh.

use database::{DatabaseConfig, Url};
use mesh::inbound::{Concern, Concerns};

/// What a store is that may lose what it acknowledged.
const STORE_UNSAFE: &str = "STORE_UNSAFE";

/// Tells what is unsafe about the store, where it is used all the same because that was allowed by name.
pub(crate) async fn tell_of_store(url: &Url, config: &DatabaseConfig, concerns: &Concerns) {
    let raise = |message: String, advice: String| {
        concerns.raise(Concern { reason: STORE_UNSAFE.to_owned(), message, advice });
    };
    match database::unsafe_settings(url, &config.postgres()).await {
        Ok(found) => found.iter().for_each(|setting| {
            raise(
                format!("the store may lose what it acknowledged: {setting}"),
                format!("turn {} on at the server, and take --database-allow-unsafe away", setting.name),
            );
        }),
        Err(error) => {
            tracing::warn!(%error, "the store could not be asked whether it is durable");
            raise(
                "whether the store is durable is not known, and one that is not was allowed".to_owned(),
                "take --database-allow-unsafe away: a store that is not durable is refused then".to_owned(),
            );
        }
    }
}
