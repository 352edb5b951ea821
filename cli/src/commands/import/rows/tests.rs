//! Odd files, and what becomes of each row.

use super::*;
use proptest::prelude::*;

fn catalog() -> Catalog {
    Catalog::parse(include_bytes!("../../../../../samples/catalog.csv")).unwrap()
}

fn read_text(text: &str) -> Rows {
    read(text.as_bytes(), Some(&catalog())).unwrap()
}

fn refused(file: &[u8]) -> String {
    read(file, Some(&catalog())).expect_err("the file is wrong").to_string()
}

/// Customer, game and end time of each row.
fn shown(rows: &Rows) -> Vec<String> {
    let shown = rows.good.iter().map(|row| {
        let end_time = row.end_time.as_ref().map(|time| format!(" until {time}")).unwrap_or_default();
        format!("{}: {} {}{end_time}", row.line, row.customer_id, row.game_id)
    });
    shown.collect()
}

#[test]
fn each_customer_and_game_counts_once() {
    let rows = read_text(
        "customer_id,game_title\n1,Tiny Forest\n2,TINY forest!\n1,\"Salt, and Signal\"\n1,tiny-forest\n",
    );
    assert_eq!(shown(&rows), ["2: 1 tiny-forest", "3: 2 tiny-forest", "4: 1 salt-and-signal"]);
    assert_eq!((rows.repeated, rows.rejected.len()), (1, 0));
}

#[test]
fn an_export_is_read_without_a_catalogue() {
    let csv = "customer_id,game_id,end_time\n1,tiny-forest,\n2,gone,2030-01-01T00:00:00.250Z\n2,A b,\n3,a,tomorrow\n";
    let json = concat!(
        "{\"customer_id\":\"1\",\"game_id\":\"tiny-forest\"}\n",
        "{\"customer_id\":\"2\",\"game_id\":\"gone\",\"end_time\":\"2030-01-01T00:00:00.250Z\"}\n",
        "{\"customer_id\":\"2\",\"game_id\":\"A b\"}\n",
        "{\"customer_id\":\"3\",\"game_id\":\"a\",\"end_time\":\"tomorrow\"}",
    );
    for (file, first) in [(csv, 2), (json, 1)] {
        let rows = read(file.as_bytes(), None).unwrap();
        let expected = [
            format!("{first}: 1 tiny-forest"),
            format!("{}: 2 gone until 2030-01-01T00:00:00.250Z", first + 1),
        ];
        assert_eq!(shown(&rows), expected);
        let rejected: Vec<_> =
            rows.rejected.iter().map(|row| (row.line - first, row.game_title.as_str())).collect();
        assert_eq!(rejected, [(2, "A b"), (3, "a")]);
    }
    let error = read(b"customer_id,game_title\n", None).expect_err("a catalogue is needed").to_string();
    assert!(error.ends_with("say which with --catalog"), "{error}");
    let error =
        read(b"{\"customer_id\":\"1\",\"game_id\":\"a\"}\n{\n", None).expect_err("no JSON").to_string();
    assert!(error.starts_with("line 2: the line is no row of JSON"), "{error}");
}

#[test]
fn a_row_of_no_use_is_rejected_with_line_and_reason() {
    let rows = read_text(
        "customer_id,game_title\n,Tiny Forest\n1,Unwritten\n1\n1,Tiny Forest,x\n1,\n1,!!!\n1\t2,Tiny Forest\n1,Gone\n",
    );
    let reasons: Vec<_> = rows.rejected.iter().map(|row| format!("{}: {}", row.line, row.reason)).collect();
    assert_eq!(
        reasons,
        [
            "2: customer_id must not be empty",
            "3: no game of the catalogue has the id unwritten",
            "4: 2 fields are needed, and there are 1",
            "5: 2 fields are needed, and there are 3",
            "6: game_title must not be empty",
            "7: the id of the title must not be empty",
            "8: customer_id must not contain control characters",
            "9: no game of the catalogue has the id gone",
        ]
    );
    assert_eq!(rows.rejected[1].game_title, "Unwritten");
}

#[test]
fn lines_are_counted_over_empty_ones_and_with_any_line_end() {
    let rows = read_text("customer_id,game_title\r\n1,Gone\r\n\r\n\r\n1,Lost\r\n");
    assert_eq!(rows.rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
    let rows = read_text("customer_id,game_title\n\n1,Gone\n1,Lost");
    assert_eq!(rows.rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_file_that_is_no_export_is_refused_with_its_line() {
    let header = "line 1: the header must be customer_id,game_title, or customer_id,game_id,end_time";
    assert_eq!(refused(b""), header);
    assert_eq!(refused(b"\x7fELF\x02\x01"), header);
    assert_eq!(refused(b"customer_id;game_title\n1;Tiny Forest\n"), header);
    assert_eq!(refused(b"customer_id,game_title\n1,Tiny\n1,\xff\n"), "line 3: the text is not UTF-8");
}

#[test]
fn a_quote_that_is_not_closed_is_refused_with_its_line() {
    let open = "line 4: a quoted field goes on over the end of the line; is a quote not closed?";
    let begin = "customer_id,game_title\n1,Tiny Forest\n\n";
    for rest in [
        "1,\"Hollow Comet\n2,Tiny Forest\n",
        "1,\"Hollow Comet\n2,\"Tiny Forest\"\n",
        "1,\"Hollow Comet\n",
        "\"1\r2\",Tiny Forest\n",
    ] {
        assert_eq!(refused(format!("{begin}{rest}").as_bytes()), open, "{rest}");
    }
}

#[test]
fn the_sample_has_every_kind_of_row() {
    let rows = read_text(include_str!("../../../../../samples/ownership.csv"));
    assert_eq!((rows.good.len(), rows.repeated, rows.rejected.len()), (14, 4, 8));
}

proptest! {
    #[test]
    fn every_row_is_counted_once(rows in proptest::collection::vec(("[a-c]{0,1}", "Tiny Forest|Hollow Comet|Gone|,"), 0..40)) {
        let lines = rows.iter().map(|(customer_id, title)| format!("{customer_id},\"{title}\"\n"));
        let read = read_text(&format!("customer_id,game_title\n{}", lines.collect::<String>()));
        prop_assert_eq!(read.good.len() + usize::try_from(read.repeated).unwrap() + read.rejected.len(), rows.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut file = b"customer_id,game_title\n".to_vec();
        file.extend_from_slice(&tail);
        let _ = read(&file, Some(&catalog()));
    }
}
