//! Each wrong input is one clear error with an exit code by its kind.

use std::fs;
use std::net::TcpListener;

use crate::harness::{Mesh, Process, free_port_base, gameshelf, project_file, run};

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["sell"][..],
        &["buy", "anna"],
        &["buy", "anna", "Not A Slug"],
        &["list", "anna", "--at-most-ms", "-1"],
    ] {
        let done = run(arguments);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains("error: "), "{done:?}");
    }
}

#[test]
fn a_mesh_that_cannot_be_reached_ends_with_4_and_says_what_to_do() {
    let port_base = free_port_base().to_string();
    for arguments in [
        &["buy", "anna", "tiny-forest"][..],
        &["list", "anna"],
        &["list", "anna", "--as-of", "1"],
        &["history", "anna"],
        &["why", "anna", "tiny-forest"],
        &["stock", "tiny-forest"],
        &["watch"],
    ] {
        let done = run(&[&["--port-base", &port_base], arguments].concat());
        assert_eq!(done.code, 4, "{done:?}");
        assert!(done.stderr.contains("hint: is the mesh running? Start it with `gameshelf up`"), "{done:?}");
    }
    let id = "01890a5d-ac96-474b-8cce-b302099a8066";
    for write in [
        &["grant", "anna", "tiny-forest"][..],
        &["transfer", "anna", "bo", "tiny-forest"],
        &["reserve", "anna", "tiny-forest"],
        &["confirm", id],
        &["release", id],
        &["stock", "tiny-forest", "--set", "1"],
    ] {
        let done = run(&[&["--port-base", &port_base], write].concat());
        assert_eq!(done.code, 4, "{done:?}");
        assert!(done.stderr.contains("do it again with --request-id "), "{done:?}");
    }
    let file = project_file("samples/ownership.csv").display().to_string();
    let catalog = project_file("samples/catalog.csv").display().to_string();
    let directory = tempfile::tempdir().unwrap();
    let rejects = directory.path().join("rejects.csv").display().to_string();
    let import = ["import", &file, "--catalog", &catalog, "--rejects", &rejects, "--give-up-after-ms", "0"];
    let done = run(&[&["--output", "json", "--port-base", &port_base], &import[..]].concat());
    let error = done.error(4);
    assert_eq!(error["metadata"]["rows_done"], "0");
    assert!(
        error["message"].as_str().unwrap().starts_with("the import stopped after 0 of 14 rows"),
        "{error}"
    );
}

#[test]
fn a_wrong_import_file_is_refused_whole_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = project_file("samples/catalog.csv").display().to_string();
    let import = |content: &[u8], catalog: &str| {
        let file = directory.path().join("export.csv");
        fs::write(&file, content).unwrap();
        let done = run(&["--output", "json", "import", &file.display().to_string(), "--catalog", catalog]);
        done.error(5)["message"].as_str().unwrap().to_owned()
    };
    let header = "line 1: the header must be customer_id,game_title, or customer_id,game_id,end_time";
    assert!(import(b"player,game\n1,Tiny Forest\n", &catalog).ends_with(header));
    assert!(import(b"\x00\x01\x02", &catalog).ends_with(header));
    assert!(
        import(b"customer_id,game_title\n1,Tiny\n1,\xff\n", &catalog)
            .ends_with("line 3: the text is not UTF-8")
    );
    let not_a_catalogue = project_file("samples/ownership.csv").display().to_string();
    assert!(
        import(b"customer_id,game_title\n", &not_a_catalogue).contains("line 1: the header must be game_id,")
    );
    assert!(!directory.path().join("export.rejects.csv").exists());
    let done = run(&["--output", "json", "import", "no-such-file.csv", "--catalog", &catalog]);
    assert!(done.error(5)["message"].as_str().unwrap().starts_with("no-such-file.csv: "), "{done:?}");
}

#[test]
fn rejected_rows_never_overwrite_what_is_imported() {
    let directory = tempfile::tempdir().unwrap();
    let [file, catalog] = ["ownership.csv", "catalog.csv"].map(|name| {
        let path = directory.path().join(name);
        fs::copy(project_file(&format!("samples/{name}")), &path).unwrap();
        path.display().to_string()
    });
    let link = directory.path().join("link.csv");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for rejects in [&file, &catalog, &link.display().to_string()] {
        let before = fs::read(rejects).unwrap();
        let arguments = ["--output", "json", "import", &file, "--catalog", &catalog, "--rejects", rejects];
        let error = run(&arguments).error(5);
        assert_eq!(error["reason"], "REJECTS_FILE");
        assert!(error["message"].as_str().unwrap().contains("would overwrite the"), "{error}");
        assert_eq!(fs::read(rejects).unwrap(), before);
    }
}

/// `up` with a data directory and ports of its own.
fn up(more: &[&str]) -> crate::harness::Done {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().display().to_string();
    let port_base = free_port_base().to_string();
    // What comes last wins.
    let own =
        ["--output", "json", "up", "--wait-ms", "100", "--data-dir", &data_dir, "--port-base", &port_base];
    run(&[&own, more].concat())
}

#[test]
fn a_port_in_use_is_named() {
    let port_base = free_port_base();
    let listener = TcpListener::bind(("127.0.0.1", port_base + 2)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().display().to_string();
    let port_base = port_base.to_string();
    let error = run(&[
        "up",
        "--output",
        "json",
        "--wait-ms",
        "100",
        "--data-dir",
        &data_dir,
        "--port-base",
        &port_base,
    ])
    .error(5);
    assert_eq!(error["reason"], "PORT_IN_USE");
    assert!(error["message"].as_str().unwrap().contains(&address), "{error}");
    assert!(error["hints"][0].as_str().unwrap().contains("--port-base"), "{error}");

    let database = format!("sqlite:{data_dir}/books.sqlite");
    let done = run(&["payment-sandbox", "--listen", &address, "--database-url", &database]);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.stderr.contains(&format!("error: {address} is in use")), "{done:?}");
}

#[test]
fn what_another_process_holds_is_waited_for_aloud() {
    let port_base = free_port_base();
    let listener = TcpListener::bind(("127.0.0.1", port_base + 2)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = gameshelf();
        command.args(["up", "--wait-ms", "60000", "--port-base", &port_base.to_string(), "--data-dir"]);
        Process::start(command.arg(directory.path()))
    };
    let mut first = start();
    let port = format!("waiting for {} to become free", listener.local_addr().unwrap());
    crate::harness::wait_until("it is said that the port is waited for", || first.stderr().contains(&port));
    let mut second = start();
    let data_dir = format!("waiting for the data directory {} to become free", directory.path().display());
    crate::harness::wait_until("it is said that the directory is waited for", || {
        second.stderr().contains(&data_dir)
    });
    for up in [&mut second, &mut first] {
        crate::harness::signal(up.pid(), "TERM");
        assert_eq!(up.end().code(), Some(0), "{}", up.stderr());
    }
}

#[test]
fn a_data_directory_in_use_is_named_with_its_user() {
    let mesh = Mesh::start();
    let data_dir = mesh.data_dir.path().display().to_string();
    let port_base = free_port_base().to_string();
    let error = run(&[
        "up",
        "--output",
        "json",
        "--wait-ms",
        "100",
        "--data-dir",
        &data_dir,
        "--port-base",
        &port_base,
    ])
    .error(5);
    assert_eq!(error["reason"], "DATA_DIR_IN_USE");
    assert!(error["message"].as_str().unwrap().contains(&format!("(process {})", mesh.up.pid())), "{error}");
    assert_eq!(mesh.run(&["buy", "anna", "tiny-forest"]).code, 0, "the one that has it goes on");
}

#[test]
fn a_wrong_catalogue_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = directory.path().join("catalog.csv");
    let text = fs::read_to_string(project_file("samples/catalog.csv")).unwrap();
    fs::write(&catalog, text.replace("hollow-comet,Hollow Comet,listed", "hollow-comet,Hollow Comet,sold"))
        .unwrap();
    let catalog = catalog.display().to_string();
    let wrong = "line 10: status must be listed or delisted, and is \"sold\"";
    let error = up(&["--catalog", &catalog]).error(5);
    assert!(error["message"].as_str().unwrap().ends_with(wrong), "{error}");
    for service in ["purchase", "game-list"] {
        let database = format!("sqlite:{}", directory.path().join(service).display());
        let done =
            run(&[service, "--listen", "127.0.0.1:0", "--catalog", &catalog, "--database-url", &database]);
        assert_eq!(done.code, 5, "{done:?}");
        assert!(done.stderr.trim_end().ends_with(wrong), "{done:?}");
    }
    assert_eq!(up(&["--catalog", "no-such-file.csv"]).error(5)["reason"], "CATALOG");
}

#[test]
fn a_child_that_cannot_start_ends_up_with_its_error() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().display().to_string();
    let database = format!("sqlite:{data_dir}/payment-sandbox/books.sqlite");
    // The lock is taken before the port is printed, and the port is any: its log is what says that it serves.
    let mut holder = gameshelf();
    holder.args(["payment-sandbox", "--listen", "127.0.0.1:0", "--database-url", &database]);
    let holder = Process::start(&mut holder);
    crate::harness::wait_until("the books are open", || {
        directory.path().join("payment-sandbox/books.sqlite").exists() || holder.stderr().contains("error")
    });
    let port_base = free_port_base().to_string();
    let error = run(&[
        "up",
        "--output",
        "json",
        "--wait-ms",
        "100",
        "--data-dir",
        &data_dir,
        "--port-base",
        &port_base,
    ])
    .error(5);
    assert_eq!(error["metadata"]["service"], "payment-sandbox", "{error}");
    assert!(error["message"].as_str().unwrap().contains("books.sqlite"), "{error}");
}
