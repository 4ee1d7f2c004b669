//! Which cases a person wants.

use super::suite::{AnySuite, Title};

/// What to run, and what to do afterwards.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of cases or suites; none means all that are not long.
    pub names: Vec<String>,
    /// Also the long ones.
    pub all: bool,
    /// Keep each cluster until the run is interrupted.
    pub keep: bool,
}

impl Selection {
    /// Fails for a name that nothing has.
    pub(super) fn check(&self, suites: &[&dyn AnySuite]) -> anyhow::Result<()> {
        let known = |name: &&String| {
            suites
                .iter()
                .any(|suite| suite.name() == **name || suite.titles().iter().any(|case| case.name == **name))
        };
        let unknown: Vec<&String> = self.names.iter().filter(|name| !known(name)).collect();
        anyhow::ensure!(unknown.is_empty(), "no case or suite {unknown:?}; there are:\n{}", super::list());
        Ok(())
    }

    /// Whether `case` of the suite called `suite` is selected.
    pub(super) fn wants(&self, suite: &str, case: Title) -> bool {
        let named = self.names.iter().any(|name| name == case.name || name == suite);
        if self.names.is_empty() { self.all || !case.long } else { named }
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::{Case, Suite};
    use super::*;

    const SUITE: Suite = Suite {
        name: "sea",
        prepare: |_| anyhow::bail!("no cluster"),
        cases: &[case("tide", false), case("storm", true)],
    };

    const fn case(name: &'static str, long: bool) -> Case {
        Case { name, about: "", long, run: |_| Ok(()) }
    }

    fn selected(names: &[&str], all: bool) -> Vec<&'static str> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection { names, all, keep: false };
        let wanted = SUITE.titles().into_iter().filter(|case| selection.wants(SUITE.name, *case));
        wanted.map(|case| case.name).collect()
    }

    #[test]
    fn long_cases_run_when_asked_for() {
        assert_eq!(selected(&[], false), ["tide"]);
        assert_eq!(selected(&[], true), ["tide", "storm"]);
        assert_eq!(selected(&["storm"], false), ["storm"]);
        assert_eq!(selected(&["sea"], false), ["tide", "storm"]);
    }

    #[test]
    fn a_name_that_nothing_has_is_refused() {
        let selection = Selection { names: vec!["moon".to_owned()], ..Selection::default() };
        let error = selection.check(&[&SUITE]).expect_err("there is no moon");
        assert!(error.to_string().contains("moon"), "{error}");
    }
}
