//! osync beside what people use today, on the same trees in one run.
//!
//! ```text
//! main --> cases, live --> tool (copies once) | session (follows) --> measure
//!             '--> report: Markdown and a chart
//! ```
//!
//! Every copy is checked against its source before its time counts. Tools take turns, so that a machine
//! whose speed drifts treats all alike. Nobody syncs to disk, but where that is what is compared.

mod cases;
mod curve;
mod live;
mod measure;
mod report;
mod session;
mod tool;
mod tree;

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use crate::cases::Plan;
use crate::report::Case;

/// Compares osync with cp, tar, rsync and, where installed, unison, lsyncd and syncthing.
///
/// Build osync first: it is looked for beside this program.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which comparisons: small, durable, system, large, curve, changes, live, live-copy; all if none is named.
    /// "durable" tells something with a --bed on a disk only.
    cases: Vec<String>,
    /// Runs of each tool, of which the medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Part of the full size of every tree, above 0 up to 1.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Directory for the trees, about 20 GB at full scale; by default memory.
    #[arg(long, default_value = DEFAULT_BED)]
    bed: PathBuf,
    /// The tree to copy for "system".
    #[arg(long, default_value = "/usr")]
    system: PathBuf,
    /// Writes benchmarks.md and benchmarks.svg into this directory; without it the tables are only printed.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// A file system in memory.
const DEFAULT_BED: &str = "/dev/shm";

/// A comparison: several tables.
type Compare = fn(&Plan) -> Vec<Case>;

const COMPARISONS: [(&str, Compare); 8] = [
    ("small", cases::small),
    ("durable", cases::durable),
    ("system", cases::system),
    ("large", cases::large),
    ("curve", cases::curve),
    ("changes", cases::changes),
    ("live", live::in_sync),
    ("live-copy", live::during_copy),
];

fn main() {
    let Arguments { cases, rounds, scale, bed, system, write } = Arguments::parse();
    if let Some(unknown) =
        cases.iter().find(|case| COMPARISONS.iter().all(|(name, _)| name != &case.as_str()))
    {
        eprintln!("there is no comparison {unknown}; see --help");
        std::process::exit(2);
    }
    let plan = Plan { bed, rounds: rounds.max(1), scale: scale.clamp(0.001, 1.0), system };
    let wanted = |name: &str| cases.is_empty() || cases.iter().any(|case| case == name);
    let tables: Vec<Case> = COMPARISONS
        .iter()
        .filter(|(name, _)| wanted(name))
        .flat_map(|(_, compare)| compare(&plan))
        .collect();
    let text = tables.iter().map(Case::markdown).collect::<Vec<_>>().join("\n");
    println!("{text}");
    if let Some(directory) = write {
        let page = format!("{}\n{text}", head(&plan, &cases));
        fs::write(directory.join("benchmarks.md"), page).expect("the page can be written");
        fs::write(directory.join("benchmarks.svg"), report::chart(&tables))
            .expect("the chart can be written");
    }
}

/// What stands above the tables.
fn head(plan: &Plan, cases: &[String]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 =
        memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let gib = kib >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split(['-', '\n']).next().unwrap_or_default().to_owned();
    let Plan { rounds, scale, bed, .. } = plan;
    let in_memory = bed.as_os_str() == DEFAULT_BED;
    let (place, option) = if in_memory { ("in memory", "") } else { ("on a disk", " --bed DIR") };
    let cases = cases.join(" ");
    format!(
        "# Benchmarks\n\n\
         osync beside what people use today: the same trees in one run, tools in turn, medians of {rounds} runs, \
         each copy checked against its source. Trees {place}, {cores} cores, {gib} GiB, Linux {kernel}. \
         Read the ratios: absolute times are this machine's. But for the durable copy nobody syncs to disk. A copy is done once names, content and times are equal; of a change it is also told \
         when its content was there: a file that has grown gets its time once it has been proven. CPU time is that of all processes of a run; bytes over loopback count headers, \
         and are 0 for tools that do not use it.\n\n\
         ```sh\n\
         cargo build --release --locked --bin osync && \
         cargo run --release --locked -p osync-benches --bin compare -- --write docs \
         --rounds {rounds} --scale {scale}{option} {cases}\n\
         ```\n\n\
         `compare --help` says how to run less of it. `cargo bench -p osync-benches` measures the parts.\n\n\
         ![how many times as long as osync each tool takes](benchmarks.svg)\n"
    )
}
