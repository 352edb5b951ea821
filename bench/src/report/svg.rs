//! The picture: a bar for each ratio, on a scale on which every goal is at the same place.

use std::fmt::Write;

use super::Row;

const WIDTH: f64 = 1_000.0;
const ROW_HEIGHT: f64 = 34.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 40.0;
/// Where the bars begin and end; the names stand before, the figures behind.
const BARS_FROM: f64 = 430.0;
const BARS_TO: f64 = 850.0;
/// The ends of the scale, as multiples of the goal. A bar that reaches beyond is cut there.
const SCALE_FROM: f64 = 0.125;
const SCALE_TO: f64 = 8.0;
/// The lines of the scale, each with what it says.
const MARKS: [(f64, &str); 5] =
    [(0.25, "a quarter"), (0.5, "half"), (1.0, "goal"), (2.0, "twice"), (4.0, "4 times")];

pub(super) fn picture(rows: &[Row]) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.at_least.is_some()).collect();
    #[expect(clippy::cast_precision_loss, reason = "there are a few rows")]
    let height = TOP + BOTTOM + ROW_HEIGHT * rows.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<title>Each ratio of rates, ours to the rival's, beside its goal</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="16" y="26" font-size="16" font-weight="bold" fill="#1f2328">Rates as multiples of a rival's, beside their goals</text>
"##
    );
    for (mark, name) in MARKS {
        add_mark(&mut svg, mark, name, height);
    }
    let mut y = TOP;
    for row in rows {
        add_row(&mut svg, row, y);
        y += ROW_HEIGHT;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The place of a multiple of the goal on the logarithmic scale.
fn x(of_goal: f64) -> f64 {
    let share = (of_goal.clamp(SCALE_FROM, SCALE_TO) / SCALE_FROM).ln() / (SCALE_TO / SCALE_FROM).ln();
    BARS_FROM + share * (BARS_TO - BARS_FROM)
}

fn add_mark(svg: &mut String, mark: f64, name: &str, height: f64) {
    let x = x(mark);
    let (colour, width) = if name == "goal" { ("#1f2328", 1.5) } else { ("#d0d7de", 1.0) };
    let (from, to) = (TOP - 6.0, height - BOTTOM + 6.0);
    add(
        svg,
        format_args!(
            r#"<line x1="{x:.1}" y1="{from}" x2="{x:.1}" y2="{to}" stroke="{colour}" stroke-width="{width}"/>"#
        ),
    );
    let below = height - BOTTOM + 22.0;
    add(
        svg,
        format_args!(r##"<text x="{x:.1}" y="{below}" text-anchor="middle" fill="#59636e">{name}</text>"##),
    );
}

fn add_row(svg: &mut String, row: &Row, y: f64) {
    let (work_y, rival_y) = (y + 14.0, y + 28.0);
    let (work, rival) = (escaped(&row.work), escaped(&row.rival));
    add(svg, format_args!(r##"<text x="16" y="{work_y}" fill="#1f2328">{work}</text>"##));
    add(svg, format_args!(r##"<text x="16" y="{rival_y}" font-size="11" fill="#59636e">{rival}</text>"##));
    let (Some(ratio), Some(at_least)) = (row.ratio, row.at_least) else {
        let (x, y) = (BARS_FROM + 6.0, y + 21.0);
        add(svg, format_args!(r##"<text x="{x}" y="{y}" fill="#59636e">not measured</text>"##));
        return;
    };
    // The colours can be told apart without seeing red and green.
    let colour = if row.is_met == Some(true) { "#1a7f5a" } else { "#d1730f" };
    let (bar_y, width, height) = (y + 6.0, x(ratio / at_least) - BARS_FROM, ROW_HEIGHT - 14.0);
    add(
        svg,
        format_args!(
            r#"<rect x="{BARS_FROM}" y="{bar_y}" width="{width:.1}" height="{height}" rx="2" fill="{colour}"/>"#
        ),
    );
    let (text_x, text_y) = (BARS_TO + 12.0, y + 21.0);
    let goal = format!("{at_least:.2}");
    let goal = goal.trim_end_matches('0').trim_end_matches('.');
    add(svg, format_args!(r##"<text x="{text_x}" y="{text_y}" fill="#1f2328">{ratio:.2} of {goal}</text>"##));
}

fn add(svg: &mut String, line: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{line}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_at_the_same_place_and_long_bars_are_cut() {
        assert!(x(0.5) < x(1.0) && x(1.0) < x(2.0));
        assert!((x(1_000.0) - BARS_TO).abs() < 1e-9);
        assert!((x(0.0) - BARS_FROM).abs() < 1e-9);
    }

    #[test]
    fn a_row_shows_its_ratio_and_its_goal() {
        let row = Row { ratio: Some(3.5), ..Row::new("grant <1>".to_owned(), "rival", Some(3.0)) };
        let failed = Row::new("list".to_owned(), "rival", Some(1.0));
        let svg = picture(&[row, failed]);
        assert!(
            svg.contains("3.50 of 3<") && svg.contains("grant &lt;1&gt;") && svg.contains("not measured")
        );
    }
}
