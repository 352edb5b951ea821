//! Two sides, measured in turns: what the machine does besides falls on both.

use super::contender::Contender;
use crate::load::{Measured, Slice};
use crate::rivals::Pgbench;
use crate::servers::Usage;

/// What was measured of one side, in all rounds.
pub(crate) struct Side {
    /// Requests a second, of each round.
    pub(crate) rates: Vec<f64>,
    /// All rounds together.
    pub(crate) measured: Measured,
    /// What each process used in its turns, those of the warm-up too.
    pub(crate) usage: Vec<(&'static str, Usage)>,
}

/// What was measured of both, and of pgbench at the same work.
pub(crate) struct Pair {
    pub(crate) ours: Side,
    pub(crate) rival: Side,
    pub(crate) pgbench_rates: Vec<f64>,
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) rounds: u32,
    pub(crate) slice: Slice,
}

impl Turns {
    /// Ours, the rival, and pgbench where there is one; again and again. `note` is told after each round.
    pub(crate) fn measure(
        self,
        ours: &Contender,
        rival: &Contender,
        mut pgbench: Option<(&mut Pgbench, u32)>,
        note: impl Fn(u32),
    ) -> anyhow::Result<Pair> {
        let (mut our_turns, mut rival_turns, mut pgbench_rates) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            our_turns.push(turn(ours, self.slice)?);
            rival_turns.push(turn(rival, self.slice)?);
            if let Some((pgbench, connections)) = &mut pgbench {
                pgbench_rates.push(pgbench.run(*connections, self.slice.measured)?);
            }
            note(round);
        }
        let none = || anyhow::anyhow!("there are no rounds");
        Ok(Pair {
            ours: together(our_turns).ok_or_else(none)?,
            rival: together(rival_turns).ok_or_else(none)?,
            pgbench_rates,
        })
    }
}

fn turn(contender: &Contender, slice: Slice) -> anyhow::Result<Side> {
    let usage = || -> anyhow::Result<Vec<(&'static str, Usage)>> {
        contender.processes.iter().map(|process| Ok((process.name, process.usage()?))).collect()
    };
    let before = usage()?;
    let measured = contender.closed(slice)?;
    let used = usage()?.into_iter().zip(before).map(|((name, after), (_, before))| (name, after - before));
    Ok(Side { rates: vec![measured.per_second()], usage: used.collect(), measured })
}

fn together(turns: Vec<Side>) -> Option<Side> {
    turns.into_iter().reduce(|mut all, turn| {
        all.rates.extend(turn.rates);
        all.measured.add_slice(&turn.measured);
        for ((_, all), (_, turn)) in all.usage.iter_mut().zip(turn.usage) {
            *all = *all + turn;
        }
        all
    })
}

/// The middle of the values, between the two in the middle where there are two; nothing of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
