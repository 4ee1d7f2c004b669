//! What a bench is asked for on the command line: `--gate`, and how often things are done.

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Whether a missed limit fails the run.
    pub(crate) gate: bool,
    /// How often everything is done; the best time counts.
    pub(crate) rounds: usize,
    /// How many calls a round has, or pods.
    pub(crate) count: usize,
}

impl Options {
    /// Those given; `count` is what `--<name>` says.
    pub(crate) fn read(name: &str, rounds: usize, count: usize) -> Self {
        let mut options = Self { gate: false, rounds, count };
        let counting = format!("--{name}");
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number =
                || words.next().and_then(|text| text.parse().ok()).expect("a number after the option");
            match word.as_str() {
                "--gate" => options.gate = true,
                "--rounds" => options.rounds = number(),
                // Cargo adds it.
                "--bench" => {}
                counted if counted == counting => options.count = number(),
                other => panic!("unknown option {other:?}; known: --gate, --rounds N, {counting} N"),
            }
        }
        options
    }
}
