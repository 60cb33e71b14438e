//! The measurement: all contenders in turns, round after round.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    MeasureArgs,
    contender::{self, CONTENDERS, Contender, Missing},
    load::{self, Load, Pressure},
    numbers::Spread,
    process::Server,
    report::{Report, Row, Target, machine},
    tokens::{Issuer, SERVER},
    work::{Prober, Work},
};

/// Connections at which memory is measured.
const MANY: u32 = 64;

/// A contender that runs.
struct Runner {
    contender: &'static Contender,
    server: Server,
    command: Command,
    prober: Prober,
}

/// Who does not take part, and why.
type LeftOut = Vec<(&'static str, String)>;

/// The measurements of each round.
struct Task {
    runner: usize,
    work: Work,
    load: Load,
    beside: Option<Load>,
}

/// Measures what the arguments ask for.
///
/// # Errors
/// If a contender cannot be built or started, or gives a wrong answer.
pub fn measure(args: &MeasureArgs) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let bar = bar();
    let (mut runners, missing, _provider) = start(args, root, &bar)?;

    let mut tasks = Vec::new();
    for (index, Runner { contender, server, prober, .. }) in runners.iter().enumerate() {
        bar.set_message(format!("checking what {} answers", contender.name));
        let guarded = contender.guarded;
        if guarded {
            prober
                .must_refuse(&server.host)
                .with_context(|| format!("{} lets in whom it should not", contender.name))?;
        }
        for work in contender.works.iter().copied().filter(|work| args.does(*work)) {
            let of = |part: &str| load::folder(root, contender.name, part);
            let load = Load::new(of(work.name()), prober, server, work, guarded).context(contender.name)?;
            let beside = (work == Work::Flood)
                .then(|| Load::forged(of("forged"), prober, server))
                .transpose()
                .context(contender.name)?;
            tasks.push(Task { runner: index, work, load, beside });
        }
    }
    ensure!(!tasks.is_empty(), "nothing to measure: no contender that was chosen does the work that was chosen");

    let pressure = |connections, seconds| Pressure { cpus: &args.load_cpu, threads: 1, connections, pause: 0, seconds };
    let mut rows: Vec<_> = tasks
        .iter()
        .map(|task| Row {
            contender: runners[task.runner].contender.name,
            work: task.work.name(),
            samples: Vec::new(),
            peak: None,
        })
        .collect();
    let steps = tasks.len() as u64 * u64::from(args.rounds + 1) + runners.len() as u64;
    bar.set_length(steps);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (about {eta} left)")?);
    for round in 0..=args.rounds {
        // Alternates the direction, so that slow changes of the machine affect neighbours alike.
        let mut order: Vec<_> = (0..tasks.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let Task { runner, work, load, beside } = &tasks[index];
            let Runner { contender, server, .. } = &runners[*runner];
            bar.set_message(format!("{} {}", contender.name, work.name()));
            let sample = load.run(server, pressure(args.connections, args.seconds), beside.as_ref());
            let sample = sample.with_context(|| format!("{} {}", contender.name, work.name()))?;
            if round > 0 {
                rows[index].samples.push(sample); // round 0 was to warm up
            }
            bar.inc(1);
        }
    }
    for (index, runner) in runners.iter_mut().enumerate() {
        bar.set_message(format!("memory of {}", runner.contender.name));
        if let Some(task) = tasks.iter().position(|task| task.runner == index) {
            runner.server.forget_peak()?;
            tasks[task].load.run(&runner.server, pressure(MANY, args.seconds), None)?;
            rows[task].peak = Some(runner.server.peak()?);
        }
        bar.inc(1);
    }
    let settings = format!(
        "{} rounds of {} s, {} connections (memory: {MANY}); the server on core {}, wrk on core {}",
        args.rounds, args.seconds, args.connections, args.server_cpu, args.load_cpu
    );
    let mut report = Report { machine: machine(), settings, rows, missing, targets: Vec::new() };
    targets(&mut report);
    if let Some(step9) = runners.iter().find(|runner| runner.contender.name == "step9") {
        bar.set_message("two workers");
        report.targets.push(Target::new(
            "step9 with two workers, to one".to_owned(),
            workers(args, step9, root)?,
            1.7,
            true,
        ));
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Builds and starts the chosen contenders. If one needs it, also starts the server of the issuer's keys, which must be
/// kept until the end.
fn start(args: &MeasureArgs, root: &Path, bar: &ProgressBar) -> Result<(Vec<Runner>, LeftOut, Option<Server>)> {
    let (mut runners, mut missing) = (Vec::new(), Vec::new());
    let chosen: Vec<_> = CONTENDERS.iter().filter(|contender| args.wants(contender)).collect();
    bar.set_message("building what is in Rust");
    contender::build(&chosen)?;
    let keys = root.join("keys");
    let issuer = Arc::new(Issuer::new(keys.clone(), SERVER)?);
    let mut provider = None;
    let mut at_url = Arc::clone(&issuer);
    if chosen.iter().any(|contender| contender.needs_provider()) {
        // Idle but for a fetch now and then, and on the load's core.
        let mut command = contender::provider(&keys)?;
        let server = Server::start(&args.load_cpu, command.current_dir(root))?;
        at_url = Arc::new(Issuer::new(keys, &server.url)?);
        provider = Some(server);
    }
    for contender in chosen {
        bar.set_message(format!("installing and starting {}", contender.name));
        let issuer = if contender.needs_provider() { &at_url } else { &issuer };
        match contender.prepare(root, issuer)? {
            Ok(command) => {
                let server = Server::start(&args.server_cpu, &command)
                    .with_context(|| format!("{} cannot be started", contender.name))?;
                runners.push(Runner { contender, server, command, prober: Prober::new(Arc::clone(issuer))? });
            }
            Err(Missing(why)) => missing.push((contender.name, why)),
        }
    }
    Ok((runners, missing, provider))
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length(); // shown at a terminal only
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} …") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// The targets, beside the measured values.
fn targets(report: &mut Report) {
    let ratio = |(one, one_work): (&str, &str), (other, other_work): (&str, &str)| {
        let row = |name: &str, work| {
            report.row(name, work).ok_or_else(|| {
                let reason = report.missing.iter().find(|(missing, _)| *missing == name).map(|(_, why)| why.as_str());
                reason.map_or_else(|| format!("{name} {work} was not asked for"), str::to_owned)
            })
        };
        let (one, other) = (row(one, one_work)?, row(other, other_work)?);
        Ok::<_, String>((
            Spread::of_ratios(one.rates(), other.rates()),
            Spread::of_ratios(one.rates_of_a_core(), other.rates_of_a_core()),
        ))
    };
    let mut targets = Vec::new();
    // A bare handler fits into the processor's first caches and a server does not, so the ratio to it depends on the
    // processor. The ratio to other servers does so much less.
    for (one, one_work, other, least) in [
        ("step4", "echo", "bare", 0.75),
        ("step9", "echo", "bare", 0.62),
        ("step10", "echo", "bare", 0.62),
        ("step4", "echo", "rmcp", 2.5),
        ("step9", "tokens", "step9", 0.85),
        ("step9", "echo", "rmcp, verifying", 4.0),
        ("step9", "echo", "Go SDK", 15.0),
        ("step9", "echo", "FastAPI", 50.0),
        ("step9", "echo", "FastMCP", 50.0),
        ("step9", "echo", "TypeScript SDK", 50.0),
        ("step9", "echo", "step9, log off", 0.95),
        ("step10", "echo", "step9", 0.95),
        ("step12", "echo", "step10", 0.9),
    ] {
        let what = format!("{one} {one_work}, to {other}");
        let ratio = ratio((one, one_work), (other, "echo"));
        let by_processor_time = ratio.as_ref().ok().map(|(_, time)| *time);
        let target = Target::new(what, ratio.map(|(seen, _)| seen), least, true);
        targets.push(Target { by_processor_time, judged: other != "bare", ..target });
    }
    let peak = report.row("step9", "echo").and_then(|row| row.peak);
    targets.push(Target::new(
        format!("step9's peak resident MB at {MANY} connections"),
        peak.map(|peak| Spread::of([peak])).ok_or_else(|| "step9 was not asked for".to_owned()),
        20.0,
        false,
    ));
    report.targets = targets;
}

/// Two cores for the server to one, where two more are there for the load.
fn workers(args: &MeasureArgs, step9: &Runner, root: &Path) -> Result<Result<Spread, String>> {
    let cores = std::thread::available_parallelism()?.get();
    if cores < 4 {
        return Ok(Err(format!("it takes four cores, here are {cores}")));
    }
    let pressure = Pressure { cpus: "2,3", threads: 2, connections: MANY, pause: 0, seconds: args.seconds };
    let start = |cpus: &str| -> Result<_> {
        let folder = root.join("run").join(format!("workers-{cpus}"));
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(step9.command.get_program());
        command.args(step9.command.get_args()).current_dir(folder);
        let server = Server::start(cpus, &command)?; // as many workers as it has cores
        let load = Load::new(load::folder(root, "workers", cpus), &step9.prober, &server, Work::Echo, true)?;
        Ok((server, load))
    };
    let servers = [start("0")?, start("0,1")?];
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=args.rounds {
        for ((server, load), rates) in servers.iter().zip(&mut rates) {
            let rate = load.run(server, pressure, None)?.rate;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let [one, two] = rates;
    Ok(Ok(Spread::of_ratios(two, one)))
}
