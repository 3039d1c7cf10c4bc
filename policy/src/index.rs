//! The index of an app's rules: a tree of their segments, built once, in which a path finds the rule that decides
//! without being compared with every pattern. It finds what ranking all of them would find; a property holds that.

use std::sync::Arc;

use http::Method;

use crate::pattern::{Pattern, Segment};
use crate::{DenyReason, Rule};

/// Rules by their patterns.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// The best first: by the rank of the pattern, then those that name methods.
    entries: Vec<IndexEntry>,
    root: IndexNode,
}

#[derive(Clone, Debug)]
struct IndexEntry {
    /// The same for patterns of the same rank; smaller is more specific.
    class: usize,
    rule: Arc<Rule>,
}

/// The patterns that begin with the same segments.
#[derive(Clone, Debug, Default)]
struct IndexNode {
    /// By the next segment, sorted.
    literals: Vec<(Box<[u8]>, IndexNode)>,
    any: Option<Box<IndexNode>>,
    /// The entries of patterns that end here.
    exact: Vec<usize>,
    /// The entries of patterns that take all below.
    below: Vec<usize>,
}

impl Index {
    /// Indexes rules, each under a pattern: its own, or that folded.
    pub(crate) fn new(rules: &[Arc<Rule>], patterns: impl IntoIterator<Item = Pattern>) -> Self {
        let mut sorted: Vec<(Pattern, &Arc<Rule>)> = patterns.into_iter().zip(rules).collect();
        let key = |(pattern, rule): &(Pattern, &Arc<Rule>)| (pattern.rank(), !rule.methods.is_empty());
        sorted.sort_by_key(|entry| std::cmp::Reverse(key(entry)));
        let mut index = Self { entries: Vec::with_capacity(sorted.len()), root: IndexNode::default() };
        let mut class = 0;
        for (at, (pattern, rule)) in sorted.iter().enumerate() {
            if at > 0 && sorted[at - 1].0.rank() != pattern.rank() {
                class += 1;
            }
            index.entries.push(IndexEntry { class, rule: (*rule).clone() });
            index.root.insert_pattern(pattern, at);
        }
        index
    }

    /// The rule that decides on a path: the first of the most specific pattern that takes the method. A method that
    /// none of them names is refused, never handed to a wider pattern.
    pub(crate) fn find_rule(&self, path: &[u8], method: &Method) -> Result<&Arc<Rule>, DenyReason> {
        let (mut class, mut best) = (usize::MAX, None);
        self.each_entry(path, &mut |at| {
            let entry = &self.entries[at];
            if entry.class < class {
                (class, best) = (entry.class, None);
            }
            let takes = || entry.rule.methods.is_empty() || entry.rule.methods.contains(method);
            if entry.class == class && best.is_none_or(|best| at < best) && takes() {
                best = Some(at);
            }
        });
        match best {
            Some(best) => Ok(&self.entries[best].rule),
            None if class == usize::MAX => Err(DenyReason::NoRoute),
            None => Err(DenyReason::Method),
        }
    }

    /// All rules.
    pub(crate) fn all_rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.entries.iter().map(|entry| &entry.rule)
    }

    /// The rules of the most specific pattern of a path, in their order.
    pub(crate) fn deciding_rules(&self, path: &[u8]) -> Vec<&Arc<Rule>> {
        let mut found = Vec::new();
        self.each_entry(path, &mut |at| found.push(at));
        found.sort_unstable();
        let best = found.first().map(|at| self.entries[*at].class);
        let of_the_best = found.into_iter().map(|at| &self.entries[at]);
        of_the_best.filter(|entry| Some(entry.class) == best).map(|entry| &entry.rule).collect()
    }

    /// Calls for each entry whose pattern takes the path.
    fn each_entry(&self, path: &[u8], found: &mut impl FnMut(usize)) {
        if let Some(rest) = path.strip_prefix(b"/") {
            if rest.is_empty() {
                self.root.exact.iter().copied().for_each(&mut *found); // the folded `/`
            }
            self.root.each_entry(Some(rest), found);
        }
    }
}

impl IndexNode {
    fn insert_pattern(&mut self, pattern: &Pattern, entry: usize) {
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Literal(literal) => {
                    let at = match node.find_child(literal) {
                        Ok(at) => at,
                        Err(at) => {
                            node.literals.insert(at, (literal.clone(), Self::default()));
                            at
                        }
                    };
                    &mut node.literals[at].1
                }
            };
        }
        if pattern.takes_below() { &mut node.below } else { &mut node.exact }.push(entry);
    }

    fn find_child(&self, segment: &[u8]) -> Result<usize, usize> {
        self.literals.binary_search_by(|(literal, _)| (**literal).cmp(segment))
    }

    /// `rest` is the path behind this node; `None` where it ends here. No deeper than the longest pattern.
    fn each_entry(&self, rest: Option<&[u8]>, found: &mut impl FnMut(usize)) {
        self.below.iter().copied().for_each(&mut *found);
        let Some(rest) = rest else { return self.exact.iter().copied().for_each(found) };
        let end = rest.iter().position(|byte| *byte == b'/');
        let (segment, rest) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end + 1..])));
        if let Ok(at) = self.find_child(segment) {
            self.literals[at].1.each_entry(rest, found);
        }
        if let Some(any) = self.any.as_ref().filter(|_| !segment.is_empty()) {
            any.each_entry(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Allow, OnChange};

    fn rules(rules: &[(String, usize)]) -> Vec<Arc<Rule>> {
        const METHODS: [&[Method]; 4] = [&[], &[Method::GET], &[Method::POST], &[Method::GET, Method::POST]];
        let made = rules.iter().filter_map(|(pattern, methods)| {
            let pattern = Pattern::parse_path(pattern).ok()?;
            let methods = METHODS[*methods].into();
            Some(Arc::new(Rule {
                pattern,
                methods,
                allow: Allow::Public,
                on_change: OnChange::Cut,
                upstream: None,
            }))
        });
        made.collect()
    }

    /// The rules of the most specific pattern, found by comparing a path with each.
    fn ranked<'r>(rules: &'r [Arc<Rule>], path: &[u8]) -> Vec<&'r Arc<Rule>> {
        let matching: Vec<_> = rules.iter().filter(|rule| rule.pattern.matches(path)).collect();
        let best = matching.iter().map(|rule| rule.pattern.rank()).max();
        let mut deciding: Vec<_> =
            matching.into_iter().filter(|rule| Some(rule.pattern.rank()) == best).collect();
        deciding.sort_by_key(|rule| rule.methods.is_empty());
        deciding
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

        #[test]
        fn it_finds_what_ranking_finds(
            patterns in proptest::collection::vec(("(/(a|b|ab|\\*)){0,4}(/|/\\*\\*)?", 0..4_usize), 0..12),
            path in "(/(a|b|ab|c|)){0,5}/?",
        ) {
            let rules = rules(&patterns);
            let index = Index::new(&rules, rules.iter().map(|rule| rule.pattern.clone()));
            let deciding = ranked(&rules, path.as_bytes());
            let texts = |rules: &[&Arc<Rule>]| rules.iter().map(|rule| Rule::clone(rule)).collect::<Vec<_>>();
            proptest::prop_assert_eq!(texts(&index.deciding_rules(path.as_bytes())), texts(&deciding));
            for method in [Method::GET, Method::POST, Method::PUT] {
                let takes = |rule: &&&Arc<Rule>| rule.methods.is_empty() || rule.methods.contains(&method);
                let expected = match deciding.iter().find(takes) {
                    Some(rule) => Ok(*rule),
                    None if deciding.is_empty() => Err(DenyReason::NoRoute),
                    None => Err(DenyReason::Method),
                };
                proptest::prop_assert_eq!(index.find_rule(path.as_bytes(), &method), expected);
            }
        }
    }
}
