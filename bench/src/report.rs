//! The report: one table, the targets, and both as JSON.

use std::{fmt::Write, fs, process::Command};

use serde::Serialize;

use crate::{load::Sample, numbers::Spread};

/// One contender doing one kind of work.
#[derive(Serialize)]
pub struct Row {
    pub contender: &'static str,
    pub work: &'static str,
    /// One for each round.
    pub samples: Vec<Sample>,
    /// The most resident memory under load, at 64 connections, in MB (10⁶ bytes).
    pub peak: Option<f64>,
}

/// A bound, and the measured value.
#[derive(Serialize)]
pub struct Target {
    pub what: String,
    pub seen: Option<Spread>,
    /// The same, from the answers in a second of each server's own processor time.
    pub by_processor_time: Option<Spread>,
    /// Why nothing was measured.
    pub not_measured: Option<String>,
    pub bound: f64,
    /// Whether the bound is a minimum; otherwise the value must stay below it.
    pub least: bool,
    /// Whether missing it fails the run.
    pub judged: bool,
}

/// Prints a line for each. Whether none fails the run.
pub fn print(targets: &[Target]) -> bool {
    for target in targets {
        println!("{}", target.line());
    }
    !targets.iter().any(Target::fails)
}

impl Target {
    pub fn new(what: String, seen: Result<Spread, String>, bound: f64, least: bool) -> Self {
        let (seen, not_measured) = match seen {
            Ok(seen) => (Some(seen), None),
            Err(why) => (None, Some(why)),
        };
        Target { what, seen, by_processor_time: None, not_measured, bound, least, judged: true }
    }

    /// Whether it was missed: by the clock and, where measured, by processor time too. Other work of the machine can
    /// cause a miss by the clock alone.
    pub fn missed(&self) -> bool {
        self.is_missed_by(|seen| seen.median)
    }

    /// Whether it fails the run: not even the best round met it. On a busy machine rounds differ so much that a median
    /// below the bound proves nothing.
    pub fn fails(&self) -> bool {
        self.judged && self.missed_in_every_round()
    }

    fn missed_in_every_round(&self) -> bool {
        self.is_missed_by(|seen| if self.least { seen.high } else { seen.low })
    }

    fn is_missed_by(&self, value: impl Fn(Spread) -> f64) -> bool {
        let miss = |seen| if self.least { value(seen) < self.bound } else { value(seen) >= self.bound };
        self.seen.is_some_and(&miss) && self.by_processor_time.is_none_or(&miss)
    }

    pub fn line(&self) -> String {
        let bound = format!("{} {}", if self.least { "at least" } else { "below" }, self.bound);
        match (&self.seen, &self.not_measured) {
            (Some(seen), _) => {
                let mark = match (self.missed_in_every_round(), self.missed()) {
                    (true, _) => "MISSED",
                    (false, true) => "missed, but not in every round",
                    (false, false) => "ok",
                };
                let by_time = self
                    .by_processor_time
                    .map_or_else(String::new, |time| format!("; by processor time {}", show(time, 2)));
                format!("{mark} - {}: {}{by_time}; {bound}", self.what, show(*seen, 2))
            }
            (None, why) => format!("skipped - {}; {bound}: {}", self.what, why.as_deref().unwrap_or_default()),
        }
    }
}

#[derive(Serialize)]
pub struct Report {
    pub machine: Vec<(&'static str, String)>,
    pub settings: String,
    pub rows: Vec<Row>,
    /// Contenders left out, and why.
    pub missing: Vec<(&'static str, String)>,
    pub targets: Vec<Target>,
}

impl Row {
    pub fn is(&self, contender: &str, work: &str) -> bool {
        self.contender == contender && self.work == work
    }

    pub fn rates(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.rate)
    }

    pub fn rates_of_a_core(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(Sample::rate_of_a_core)
    }

    fn spread(&self, what: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(what))
    }
}

impl Report {
    pub fn row(&self, contender: &str, work: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.is(contender, work))
    }

    /// The table, as Markdown that can also be read as it is.
    pub fn table(&self) -> String {
        let limit = self.rows.first().filter(|row| row.contender == "bare");
        let mut rows = vec![
            ["contender", "work", "requests/s", "p50 ms", "p99 ms", "to the limit", "peak MB", "its core", "wrk's"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for row in &self.rows {
            let to_limit = limit.map(|limit| Spread::of_ratios(row.rates(), limit.rates()));
            let percent = |what: fn(&Sample) -> f64| format!("{:.0} %", 100.0 * row.spread(what).median);
            rows.push(vec![
                row.contender.to_owned(),
                row.work.to_owned(),
                show(row.spread(|sample| sample.rate), 0),
                show(row.spread(|sample| sample.p50), 2),
                show(row.spread(|sample| sample.p99), 2),
                to_limit.map_or_else(|| "–".to_owned(), |ratio| show(ratio, 3)),
                row.peak.map_or_else(String::new, |peak| format!("{peak:.1}")),
                percent(|sample| sample.server_cpu),
                percent(|sample| sample.load_cpu),
            ]);
        }
        let widths: Vec<_> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                let _ = if column < 2 { write!(text, "| {cell}{gap} ") } else { write!(text, "| {gap}{cell} ") };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    let _ = if column < 2 { write!(text, "|{dashes}-") } else { write!(text, "|{dashes}:") };
                }
                text.push_str("|\n");
            }
        }
        for row in self.rows.iter().filter(|row| row.samples.iter().any(|sample| sample.refused.is_some())) {
            let refused = row.spread(|sample| sample.refused.unwrap_or(0.0));
            let _ = writeln!(
                text,
                "\n{}, flood: beside it {} forged tokens/s were refused.",
                row.contender,
                show(refused, 0)
            );
        }
        for (contender, why) in &self.missing {
            let _ = writeln!(text, "\n{contender} was left out: {why}.");
        }
        // If the generator was busy and the server was not, the number measures the generator.
        let bound: Vec<_> = self
            .rows
            .iter()
            .filter(|row| {
                let (server, load) = (row.spread(|s| s.server_cpu).median, row.spread(|s| s.load_cpu).median);
                server < 0.95 && load > 0.95
            })
            .map(|row| format!("{} {}", row.contender, row.work))
            .collect();
        if !bound.is_empty() {
            let _ = writeln!(text, "\nHere wrk was busier than the server, which could do more: {}.", bound.join("; "));
        }
        text
    }

    /// Every target, met or missed, with the measured value.
    pub fn targets(&self) -> String {
        self.targets.iter().map(|target| target.line() + "\n").collect()
    }

    /// What the README has between its marks.
    pub fn markdown(&self) -> String {
        let machine = self.machine.iter().map(|(name, value)| ["- ", name, ": ", value, "\n"].concat());
        let machine = machine.collect::<String>();
        format!("{machine}- {}\n\n{}\n```text\n{}```\n", self.settings, self.table(), self.targets())
    }
}

/// Median and range.
fn show(spread: Spread, digits: usize) -> String {
    let Spread { median, low, high } = spread;
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}

/// The machine and the versions of the measurement.
pub fn machine() -> Vec<(&'static str, String)> {
    let first_line = |command: &str, args: &[&str]| {
        let output = Command::new(command).args(args).output().ok()?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let name = info.lines().find_map(|line| line.strip_prefix("model name"))?;
        Some(name.trim_start_matches(['\t', ' ', ':']).to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    [
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
        ("processor", cpu.map(|cpu| format!("{cpu}, {cores} cores"))),
        ("system", first_line("uname", &["-sr"])),
        ("Rust", first_line("rustc", &["--version"])),
        ("load", first_line("wrk", &["-v"]).map(|line| line.split(" Copyright").next().unwrap_or(&line).to_owned())),
        ("Go", first_line("go", &["version"])),
        ("Node.js", first_line("node", &["--version"])),
        ("Python", first_line("python3", &["--version"])),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_missed_on_the_wrong_side_of_its_bound_only() {
        let target = |seen: f64, least| Target::new(String::new(), Ok(Spread::of([seen])), 2.0, least);
        assert!(target(1.99, true).missed() && !target(2.0, true).missed());
        assert!(target(2.0, false).missed() && !target(1.99, false).missed());
        assert!(!Target::new(String::new(), Err("no go".to_owned()), 2.0, true).missed());
        let by_time = |seen: f64| Target { by_processor_time: Some(Spread::of([seen])), ..target(1.0, true) };
        assert!(by_time(1.9).missed() && !by_time(2.1).missed());
        let rounds = |seen: [f64; 3]| Target::new(String::new(), Ok(Spread::of(seen)), 2.0, true);
        assert!(rounds([1.0, 1.1, 2.1]).missed() && !rounds([1.0, 1.1, 2.1]).missed_in_every_round());
        assert!(rounds([1.0, 1.1, 1.9]).missed_in_every_round());
        let peaks = Target { least: false, ..rounds([1.9, 2.2, 2.3]) };
        assert!(peaks.missed() && !peaks.missed_in_every_round() && target(2.1, false).missed_in_every_round());
    }
}
