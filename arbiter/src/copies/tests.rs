//! What is said of a copy that trimming may cut off.

use super::{TrimRisk, trim_risk};

#[test]
fn a_copy_is_warned_before_trimming_cuts_it_off() {
    let risk = |revision| trim_risk(revision, 1_000, 2_000);
    assert_eq!([999, 1_000, 1_099].map(risk), [TrimRisk::CutOff, TrimRisk::Soon, TrimRisk::Soon]);
    assert_eq!([1_100, 2_000].map(risk), [TrimRisk::None; 2]);
    assert_eq!(trim_risk(1_000, 1_000, 1_000), TrimRisk::None, "it needs nothing next");
    assert_eq!(trim_risk(1, 0, 2_000), TrimRisk::None, "nothing was trimmed yet");
    assert_eq!(trim_risk(0, 1_000, 2_000), TrimRisk::None, "it begins with a snapshot");
}
