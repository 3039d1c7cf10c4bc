//! The order of the operations of a Bulk: as they were sent, with POSTs brought forward to whoever refers to them.

use std::collections::VecDeque;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The operation of that number.
    Run(usize),
    /// The references that closed a circle, added to what the operation of that number has made.
    Complete(usize),
}

/// The steps, for operations of which each names those it refers to. Only POSTs can be referred to, so only they are
/// brought forward and only they stand in circles.
pub(super) fn arrange_steps(refers_to: &[&[usize]]) -> VecDeque<Step> {
    let mut order = Arrangement {
        refers_to,
        seen: vec![Placement::Not; refers_to.len()],
        late: Vec::new(),
        steps: VecDeque::new(),
    };
    for at in 0..refers_to.len() {
        order.visit(at);
    }
    order.steps
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    Not,
    /// Whoever it refers to is placed first.
    Open,
    Done,
}

struct Arrangement<'a> {
    refers_to: &'a [&'a [usize]],
    seen: Vec<Placement>,
    /// Operations that are placed before one they refer to, with the number of those that are still to come.
    late: Vec<(usize, usize)>,
    steps: VecDeque<Step>,
}

impl Arrangement<'_> {
    /// Places an operation and, before it, whoever it refers to. Without recursion: a chain may be as long as a Bulk.
    fn visit(&mut self, at: usize) {
        if self.seen[at] != Placement::Not {
            return;
        }
        self.seen[at] = Placement::Open;
        let mut open = vec![(at, 0)];
        while let Some((at, next)) = open.last_mut() {
            let at = *at;
            match self.refers_to[at].get(*next) {
                Some(target) => {
                    *next += 1;
                    if self.seen[*target] == Placement::Not {
                        self.seen[*target] = Placement::Open;
                        open.push((*target, 0));
                    }
                }
                None => {
                    open.pop();
                    self.place(at);
                }
            }
        }
    }

    fn place(&mut self, at: usize) {
        self.steps.push_back(Step::Run(at));
        // Itself included: a resource may refer to itself.
        let to_come =
            self.refers_to[at].iter().filter(|target| self.seen[**target] == Placement::Open).count();
        self.seen[at] = Placement::Done;
        if to_come > 0 {
            self.late.push((at, to_come));
        }
        let (refers_to, steps) = (self.refers_to, &mut self.steps);
        self.late.retain_mut(|(late, to_come)| {
            if refers_to[*late].contains(&at) {
                *to_come -= 1;
            }
            if *to_come == 0 {
                steps.push_back(Step::Complete(*late));
            }
            *to_come > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(refers_to: &[&[usize]]) -> Vec<Step> {
        arrange_steps(refers_to).into()
    }

    #[test]
    fn operations_keep_their_order_and_posts_come_forward() {
        use Step::{Complete, Run};
        assert_eq!(steps(&[&[], &[], &[]]), [Run(0), Run(1), Run(2)]);
        assert_eq!(steps(&[&[2], &[], &[]]), [Run(2), Run(0), Run(1)]);
        assert_eq!(steps(&[&[], &[0]]), [Run(0), Run(1)]);
        assert_eq!(steps(&[&[1], &[2], &[]]), [Run(2), Run(1), Run(0)]);
        // Circles: of two, of one, of three, and two through one.
        assert_eq!(steps(&[&[1], &[0]]), [Run(1), Run(0), Complete(1)]);
        assert_eq!(steps(&[&[0]]), [Run(0), Complete(0)]);
        assert_eq!(steps(&[&[1], &[2], &[0]]), [Run(2), Run(1), Run(0), Complete(2)]);
        assert_eq!(steps(&[&[1, 2], &[0], &[0]]), [Run(1), Run(2), Run(0), Complete(1), Complete(2)]);
    }

    #[test]
    fn a_chain_as_long_as_a_bulk_is_no_matter() {
        let targets: Vec<Vec<usize>> =
            (0..100_000).map(|at| if at + 1 < 100_000 { vec![at + 1] } else { vec![] }).collect();
        let targets: Vec<&[usize]> = targets.iter().map(Vec::as_slice).collect();
        assert_eq!(arrange_steps(&targets).front(), Some(&Step::Run(99_999)));
    }

    proptest! {
        #[test]
        fn each_runs_once_and_is_whole_in_the_end(
            targets in prop::collection::vec(prop::collection::btree_set(0_usize..8, 0..4), 1..8)
        ) {
            let many = targets.len();
            let targets: Vec<Vec<usize>> = targets.into_iter()
                .map(|set| set.into_iter().filter(|target| *target < many).collect()).collect();
            let slices: Vec<&[usize]> = targets.iter().map(Vec::as_slice).collect();
            let steps: Vec<Step> = arrange_steps(&slices).into();
            let place = |step| steps.iter().position(|one| *one == step);
            for (at, targets) in targets.iter().enumerate() {
                prop_assert_eq!(steps.iter().filter(|step| **step == Step::Run(at)).count(), 1);
                let run = place(Step::Run(at)).unwrap();
                let lacking: Vec<usize> = targets.iter().copied()
                    .filter(|target| place(Step::Run(*target)).unwrap() >= run).collect();
                match place(Step::Complete(at)) {
                    None => prop_assert!(lacking.is_empty()),
                    Some(complete) => {
                        prop_assert!(!lacking.is_empty());
                        prop_assert!(lacking.iter().all(|target| place(Step::Run(*target)).unwrap() < complete));
                    }
                }
            }
        }
    }
}
