//! Where a database is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// Where a database is: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone)]
pub enum Url {
    /// A file of an embedded database.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

/// A text that names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither of the two forms.
    #[error("must be sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Scheme,
    /// `sqlite:` without a path, or a database in memory, which would lose what was acknowledged.
    #[error("must name a file, such as sqlite:data/store.sqlite")]
    Path,
    /// A PostgreSQL URL that is malformed. The text is not repeated, since it may hold a password.
    #[error("is not a well-formed postgres:// URL")]
    Postgres,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(":memory:") || path.contains('?') {
                return Err(UrlError::Path);
            }
            Ok(Self::Sqlite(path.into()))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            text.parse().map(|options| Self::Postgres(Box::new(options))).map_err(|_| UrlError::Postgres)
        } else {
            Err(UrlError::Scheme)
        }
    }
}

/// Reads the URL of a database that must be a file, for a service that needs no server: a parser of option values.
///
/// # Errors
///
/// When it is no `sqlite:PATH`; the text completes a sentence that begins with the name of the option.
pub fn sqlite_file(text: &str) -> Result<PathBuf, String> {
    match text.parse() {
        Ok(Url::Sqlite(path)) => Ok(path),
        Ok(Url::Postgres(_)) | Err(UrlError::Scheme | UrlError::Postgres) => {
            Err("must be sqlite:PATH".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Never shows a password.
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(options) => write!(
                formatter,
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

/// Never shows a password.
impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        let shown = |text: &str| text.parse::<Url>().map(|url| url.to_string());
        assert_eq!(shown("sqlite:a/b.sqlite").as_deref(), Ok("sqlite:a/b.sqlite"));
        assert_eq!(shown("sqlite:///a/b.sqlite").as_deref(), Ok("sqlite:/a/b.sqlite"));
        assert_eq!(
            shown("postgres://me:secret@host:5433/shop").as_deref(),
            Ok("postgres://me@host:5433/shop")
        );
        assert_eq!(shown("sqlite:"), Err(UrlError::Path));
        assert_eq!(shown("sqlite::memory:"), Err(UrlError::Path));
        assert_eq!(shown("mysql://host"), Err(UrlError::Scheme));
        assert_eq!(shown("postgres://host:port"), Err(UrlError::Postgres));
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: Url = "postgres://me:secret@host/shop".parse().unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
    }
}
