//! What was measured, as Markdown and as a chart.

use std::time::Duration;

use crate::measure::Usage;

/// Everything is compared with the first row, which is osync's.
#[derive(Debug)]
pub(crate) struct Case {
    title: String,
    rows: Vec<Row>,
}

/// One tool's figures.
#[derive(Debug)]
pub(crate) struct Row {
    tool: &'static str,
    figures: Figures,
}

#[derive(Debug)]
enum Figures {
    /// Something was done once.
    Run(Usage),
    /// Something changed: until all was equal, times included, and until the content was there.
    Change { usage: Usage, shown: Duration },
    /// Ages of changes on arrival.
    Ages { p50: Duration, p99: Duration },
}

impl Row {
    /// A copy by `tool`.
    pub(crate) fn copied(tool: &'static str, usage: Usage) -> Self {
        Self { tool, figures: Figures::Run(usage) }
    }

    /// A change that `tool` brought to the target, where its content was after `shown`; its processes go on, so
    /// their CPU time is not known.
    pub(crate) fn changed(tool: &'static str, usage: Usage, shown: Duration) -> Self {
        Self { tool, figures: Figures::Change { usage, shown } }
    }

    /// Ages of changes that `tool` brought to the target.
    pub(crate) fn probed(tool: &'static str, p50: Duration, p99: Duration) -> Self {
        Self { tool, figures: Figures::Ages { p50, p99 } }
    }

    /// The figure that counts.
    fn time(&self) -> Duration {
        match &self.figures {
            Figures::Run(usage) | Figures::Change { usage, .. } => usage.wall,
            Figures::Ages { p50, .. } => *p50,
        }
    }
}

impl Case {
    /// What `rows` say of `title`.
    pub(crate) fn new(title: &str, rows: Vec<Row>) -> Self {
        Self { title: title.to_owned(), rows }
    }

    /// How many times as long as the first row took row `row`.
    fn ratio(&self, row: &Row) -> f64 {
        let first = self.rows.first().map_or(0.0, |first| first.time().as_secs_f64());
        row.time().as_secs_f64() / first.max(1e-9)
    }

    /// A heading and a table.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", capital(&self.title));
        text += match self.rows.first().map(|row| &row.figures) {
            Some(Figures::Run(_)) => {
                "| | time | x osync | CPU time | over loopback |\n|---|---:|---:|---:|---:|\n"
            }
            Some(Figures::Change { .. }) => {
                "| | equal | x osync | content there | over loopback |\n|---|---:|---:|---:|---:|\n"
            }
            Some(Figures::Ages { .. }) | None => {
                "| | p50 | x osync | p99 |\n|---|---:|---:|---:|\n"
            }
        };
        for row in &self.rows {
            let ratio = self.ratio(row);
            let line = match &row.figures {
                Figures::Run(usage) => line(row.tool, usage, ratio, usage.cpu),
                Figures::Change { usage, shown } => line(row.tool, usage, ratio, *shown),
                Figures::Ages { p50, p99 } => {
                    let (p50, p99) = (shown(*p50), shown(*p99));
                    format!("| {} | {p50} | {ratio:.0} | {p99} |\n", row.tool)
                }
            };
            text.push_str(&line);
        }
        text
    }
}

fn line(tool: &str, usage: &Usage, ratio: f64, other: Duration) -> String {
    let (wall, other, wire) = (shown(usage.wall), shown(other), shown_bytes(usage.wire_bytes));
    format!("| {tool} | {wall} | {ratio:.2} | {other} | {wire} |\n")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.1} ms", seconds * 1e3) }
}

fn shown_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let bytes = bytes as f64;
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        ..1e9 => format!("{:.2} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

const CHART_WIDTH: f64 = 760.0;
const LABEL_WIDTH: f64 = 170.0;
const BAR_HEIGHT: f64 = 14.0;
const GAP: f64 = 4.0;
const TITLE_HEIGHT: f64 = 26.0;
/// Bars end here, and say how long they would be.
const RATIO_MAX: f64 = 10.0;

/// How many times as long as osync each tool took, as bars.
pub(crate) fn chart(cases: &[Case]) -> String {
    let height: f64 = cases
        .iter()
        .map(|case| {
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let rows = case.rows.len() as f64;
            TITLE_HEIGHT + rows * (BAR_HEIGHT + GAP)
        })
        .sum::<f64>()
        + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {CHART_WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{CHART_WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 6.0;
    for case in cases {
        y += TITLE_HEIGHT;
        let title = escaped(&capital(&case.title));
        let at = y - 9.0;
        push(&mut svg, &format!("<text x=\"8\" y=\"{at}\" font-weight=\"bold\">{title}</text>"));
        for (index, row) in case.rows.iter().enumerate() {
            let ratio = case.ratio(row);
            let room = CHART_WIDTH - LABEL_WIDTH - 150.0;
            let width = (ratio.min(RATIO_MAX) / RATIO_MAX * room).max(1.0);
            let colour = if index == 0 { "#1a6b54" } else { "#b8c4cc" };
            let (text_y, label_x) = (y + BAR_HEIGHT - 3.0, LABEL_WIDTH - 8.0);
            let label = escaped(row.tool);
            let beyond = if ratio > RATIO_MAX { " \u{2192}" } else { "" };
            let value = format!("{beyond} {} ({ratio:.1} x)", shown(row.time()));
            let value_x = LABEL_WIDTH + width + 4.0;
            push(
                &mut svg,
                &format!(
                    "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\">{label}</text>\
                     <rect x=\"{LABEL_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
                     fill=\"{colour}\"/><text x=\"{value_x:.1}\" y=\"{text_y}\">{value}</text>"
                ),
            );
            y += BAR_HEIGHT + GAP;
        }
    }
    svg + "</svg>\n"
}

fn push(svg: &mut String, line: &str) {
    svg.push_str(line);
    svg.push('\n');
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
