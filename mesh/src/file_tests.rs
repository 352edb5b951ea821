use std::fs;
use std::path::Path;

use super::*;

const QUICK: FileConfig = FileConfig { interval_ms: 5, max_bytes: 64 };

fn number(content: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|_| format!("{text:?} is no number"))
}

async fn open(path: &Path) -> Result<Watched<u64>, FileError> {
    Watched::open(path, QUICK, &Environment::system(), number).await
}

/// Waits for a change that must come.
async fn changed(watched: &mut Watched<u64>) -> Snapshot<u64> {
    tokio::time::timeout(Duration::from_secs(20), watched.changed()).await.unwrap()
}

#[tokio::test]
async fn a_file_that_changes_is_swapped_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let mut watched = open(&path).await.unwrap();
    assert_eq!(*watched.current(), 1);
    // Of the same length and, as the file system may count, at the same time.
    for next in 2..9 {
        fs::write(folder.path().join("next"), next.to_string()).unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        assert_eq!(**changed(&mut watched).await.value(), next);
    }
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_value_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let mut watched = open(&path).await.unwrap();
    fs::write(folder.path().join("bad"), "one").unwrap();
    fs::rename(folder.path().join("bad"), &path).unwrap();
    let snapshot = changed(&mut watched).await;
    assert_eq!(**snapshot.value(), 1);
    assert!(snapshot.trouble().unwrap().ends_with("is not valid: \"one\" is no number"));

    fs::write(folder.path().join("large"), "1".repeat(65)).unwrap();
    fs::rename(folder.path().join("large"), &path).unwrap();
    let snapshot = changed(&mut watched).await;
    assert!(snapshot.trouble().unwrap().contains("limit of 64 bytes"), "{snapshot:?}");

    fs::remove_file(&path).unwrap();
    let snapshot = changed(&mut watched).await;
    assert_eq!(**snapshot.value(), 1);
    assert!(snapshot.trouble().unwrap().contains("cannot be read"), "{snapshot:?}");

    // The very content from before is good again.
    fs::write(&path, "1").unwrap();
    let snapshot = changed(&mut watched).await;
    assert_eq!((**snapshot.value(), snapshot.trouble()), (1, None));
}

#[tokio::test]
async fn a_file_that_is_bad_from_the_start_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    assert!(matches!(open(&path).await, Err(FileError::Read { .. })));
    fs::write(&path, "one").unwrap();
    assert!(matches!(open(&path).await, Err(FileError::Invalid { .. })));
    fs::write(&path, "1".repeat(65)).unwrap();
    assert!(matches!(open(&path).await, Err(FileError::TooLarge { limit_bytes: 64, .. })));
}

#[tokio::test]
async fn a_parser_that_panics_keeps_the_old_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let parse = |content: &[u8]| match number(content) {
        Ok(2) => panic!("it does not like 2"),
        parsed => parsed,
    };
    let mut watched = Watched::open(&path, QUICK, &Environment::system(), parse).await.unwrap();
    fs::write(&path, "2").unwrap();
    let snapshot = changed(&mut watched).await;
    assert_eq!(**snapshot.value(), 1);
    assert!(snapshot.trouble().unwrap().contains("its parser failed"), "{snapshot:?}");
    fs::write(&path, "3").unwrap();
    assert_eq!(**changed(&mut watched).await.value(), 3);
}

#[tokio::test]
async fn a_file_is_parsed_beside_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let parse = move |content: &[u8]| {
        // Holds the thread that it runs on until the test, on the runtime's only thread, goes on.
        hold.lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(20))
            .map_err(|error| error.to_string())
            .and_then(|()| number(content))
    };
    let environment = Environment::system();
    let mut opening = std::pin::pin!(Watched::open(&path, QUICK, &environment, parse));
    let held = tokio::time::timeout(Duration::from_millis(20), &mut opening).await;
    assert!(held.is_err(), "the parser waits");
    release.send(()).unwrap();
    assert_eq!(*opening.await.unwrap().current(), 1);
}
