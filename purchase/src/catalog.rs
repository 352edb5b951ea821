//! Reads the catalogue's file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use gameshelf::catalog::{Catalog, FILE_MAX_BYTES};

use crate::RunError;

/// Reads the catalogue. Called once, before anything is served.
pub(crate) fn load(path: &Path) -> Result<Catalog, RunError> {
    let unreadable = |source| RunError::CatalogUnreadable { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    // One byte over the limit is enough to see that there are too many.
    let limit = u64::try_from(FILE_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    Catalog::parse(&bytes)
        .map_err(|source| RunError::CatalogWrong { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_named_with_line_and_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.csv");
        let refused = |path: &Path| load(path).unwrap_err().to_string();
        assert!(refused(&path).contains("catalog.csv"), "{}", refused(&path));
        let file = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
            good,Good,listed,2019,499,USD,0\n\
            bad,Bad,sold,2019,499,USD,0\n";
        std::fs::write(&path, file).unwrap();
        let text = refused(&path);
        assert!(text.contains("catalog.csv") && text.contains("line 3: status must be"), "{text}");
    }
}
