//! Which of the instances that may be called is called: the newest version that meets the requirement, and of its
//! instances the less loaded of two that are picked at random. (The least loaded of all would be found by every caller at
//! once.)

use crate::version::{Requirement, Version};

/// An instance that may be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) version: &'a Version,
    pub(super) load: f64,
    /// Whether it was ejected, and waits for a call that finds out whether it is well again.
    pub(super) wants_probe: bool,
}

/// The position of the instance to call; none where none meets the requirement. The first attempt of a call is the
/// one to probe with, because others may follow it; they are better spent on what is not in doubt.
pub(super) fn choose(
    candidates: &[Candidate<'_>],
    requirement: &Requirement,
    is_first: bool,
    mut below: impl FnMut(usize) -> usize,
) -> Option<usize> {
    let compatible: Vec<usize> =
        (0..candidates.len()).filter(|at| requirement.is_met_by(candidates[*at].version)).collect();
    let pool = preferred(candidates, compatible, is_first);
    let newest = pool.iter().map(|at| candidates[*at].version).max_by(|a, b| a.cmp_precedence(b))?;
    let of_newest: Vec<usize> =
        pool.into_iter().filter(|at| candidates[*at].version.cmp_precedence(newest).is_eq()).collect();
    if is_first && let Some(at) = of_newest.iter().find(|at| candidates[**at].wants_probe) {
        return Some(*at);
    }
    less_loaded_of_two(candidates, &of_newest, &mut below)
}

/// All that are compatible for the first attempt; for later ones those not in doubt, where there are any.
fn preferred(candidates: &[Candidate<'_>], compatible: Vec<usize>, is_first: bool) -> Vec<usize> {
    if is_first {
        return compatible;
    }
    let certain: Vec<usize> = compatible.iter().copied().filter(|at| !candidates[*at].wants_probe).collect();
    if certain.is_empty() { compatible } else { certain }
}

fn less_loaded_of_two(
    candidates: &[Candidate<'_>],
    pool: &[usize],
    below: &mut impl FnMut(usize) -> usize,
) -> Option<usize> {
    if pool.len() < 2 {
        return pool.first().copied();
    }
    let first = below(pool.len());
    let mut second = below(pool.len() - 1);
    if second >= first {
        second += 1;
    }
    let (first, second) = (*pool.get(first)?, *pool.get(second)?);
    Some(if candidates[second].load < candidates[first].load { second } else { first })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requirement(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    fn candidate(version: &Version, load: f64) -> Candidate<'_> {
        Candidate { version, load, wants_probe: false }
    }

    #[test]
    fn the_newest_version_that_meets_the_requirement_is_preferred() {
        let versions = [(1, 0, 0), (1, 2, 0), (1, 3, 1), (2, 0, 0)].map(|(a, b, c)| Version::new(a, b, c));
        let candidates = versions.each_ref().map(|version| candidate(version, 1.0));
        let choose = |text, upto: usize| choose(&candidates[..upto], &requirement(text), true, |_| 0);
        assert_eq!(choose("^1.0", 4), Some(2));
        assert_eq!(choose("^1.0", 2), Some(1));
        assert_eq!(choose("^2.0", 4), Some(3));
        assert_eq!(choose("^1.4", 4), None);
        assert_eq!(choose("^1.0", 0), None);
    }

    #[test]
    fn the_first_attempt_probes_and_later_ones_do_not_while_there_is_another() {
        let (old, new) = (Version::new(1, 0, 0), Version::new(1, 1, 0));
        let ejected = Candidate { wants_probe: true, ..candidate(&new, 900.0) };
        let range = requirement("^1.0");
        let same = [candidate(&new, 1.0), ejected, candidate(&new, 1.0)];
        assert_eq!(choose(&same, &range, true, |_| 0), Some(1));
        assert_ne!(choose(&same, &range, false, |_| 0), Some(1));
        assert_eq!(choose(&[candidate(&old, 1.0), ejected], &range, true, |_| 0), Some(1));
        assert_eq!(choose(&[candidate(&old, 1.0), ejected], &range, false, |_| 0), Some(0));
        assert_eq!(choose(&[ejected], &range, false, |_| 0), Some(0));
        // An older version is not probed while the newer one is well.
        let older = Candidate { wants_probe: true, ..candidate(&old, 1.0) };
        assert_eq!(choose(&[older, candidate(&new, 1.0)], &range, true, |_| 0), Some(1));
    }

    proptest! {
        #[test]
        fn what_is_chosen_meets_the_requirement_and_nothing_newer_does(
            versions in proptest::collection::vec((0u64..3, 0u64..4, 0u64..3, 0.0f64..9.0), 0..9),
            major in 0u64..3, minor in 0u64..4, random: u64,
        ) {
            let loads: Vec<f64> = versions.iter().map(|version| version.3).collect();
            let versions: Vec<Version> =
                versions.into_iter().map(|(major, minor, patch, _)| Version::new(major, minor, patch)).collect();
            let candidates: Vec<_> =
                versions.iter().zip(&loads).map(|(version, load)| candidate(version, *load)).collect();
            let range = requirement(&format!("^{major}.{minor}"));
            let chosen = choose(&candidates, &range, true, |bound| usize::try_from(random).unwrap() % bound);
            let best = versions.iter().filter(|version| range.is_met_by(version)).max();
            prop_assert_eq!(chosen.map(|at| &versions[at]), best);
        }

        #[test]
        fn the_most_loaded_is_chosen_never_while_there_is_another(
            loads in proptest::collection::hash_set(0u32..1000, 2..9), first: u16, second: u16,
        ) {
            let version = Version::new(1, 0, 0);
            let loads: Vec<u32> = loads.into_iter().collect();
            let candidates: Vec<_> =
                loads.iter().map(|load| candidate(&version, f64::from(*load))).collect();
            let mut random = [usize::from(first), usize::from(second)].into_iter();
            let chosen = choose(&candidates, &requirement("^1.0"), true, |bound| random.next().unwrap() % bound);
            prop_assert!(loads[chosen.unwrap()] < *loads.iter().max().unwrap());
        }
    }
}
