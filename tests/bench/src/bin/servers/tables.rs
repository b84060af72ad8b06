//! Tables of what was found out, in Markdown: a row per workload, a column per server.

use crate::race::Race;

/// A row: its head, a cell for each server by name, and what stands behind them.
pub(crate) struct Row {
    pub(crate) head: String,
    pub(crate) cells: Vec<(String, String)>,
}

/// A table with these columns in this order; a server without a cell has an empty one. Nothing when
/// nobody has a cell.
pub(crate) fn markdown(title: &str, note: &str, columns: &[String], rows: &[Row]) -> String {
    if rows.iter().all(|row| row.cells.is_empty()) {
        return String::new();
    }
    let mut text = format!("\n### {title}\n\n{note}\n\n| | {} |\n", columns.join(" | "));
    text += &format!("|---|{}\n", "--:|".repeat(columns.len()));
    for row in rows {
        let cells = columns.iter().map(|column| {
            let cell = row.cells.iter().find(|cell| cell.0 == *column);
            cell.map_or("", |cell| cell.1.as_str())
        });
        let cells: Vec<&str> = cells.collect();
        text += &format!("| {} | {} |\n", row.head, cells.join(" | "));
    }
    text + "\n"
}

/// CPU time, and the ratio to `base`.
pub(crate) fn cpu(race: &Race, base: &str) -> Row {
    row(race, |name| {
        let entry = race.entry(name)?;
        let cpu = digits(entry.median(|turn| turn.cost));
        Some(match race.ratio(name, base) {
            Some(ratio) if name != base => format!("{cpu} ({ratio:.2})"),
            _ => cpu,
        })
    })
}

/// Figures without a comparison.
pub(crate) fn plain(race: &Race) -> Row {
    row(race, |name| {
        Some(digits(race.entry(name)?.median(|turn| turn.cost)))
    })
}

/// System calls, and those among them which wait.
pub(crate) fn calls(race: &Race) -> Row {
    row(race, |name| {
        let entry = race.entry(name)?;
        let all = entry.median(|turn| turn.cost);
        let waits = entry.median(|turn| turn.waits);
        Some(format!("{all:.3} ({waits:.3})"))
    })
}

/// Thousands per second, and how busy the server was.
pub(crate) fn throughput(race: &Race) -> Row {
    row(race, |name| {
        let entry = race.entry(name)?;
        let per_second = digits(entry.median(|turn| turn.per_second) / 1e3);
        let busy = entry.median(|turn| turn.busy) * 100.0;
        Some(format!("{per_second} ({busy:.0} %)"))
    })
}

fn row(race: &Race, cell: impl Fn(&str) -> Option<String>) -> Row {
    let names = race.entries.iter().map(|entry| &entry.name);
    let ran = names.filter_map(|name| Some((name.clone(), cell(name)?)));
    // A row of nothing else says no more than the reasons do.
    let failed = race.failures.iter().filter(|_| !race.entries.is_empty());
    let failed = failed.map(|(name, _)| (name.clone(), "not run".to_owned()));
    Row {
        head: race.workload.clone(),
        cells: ran.chain(failed).collect(),
    }
}

/// Three digits are all that such measurements bear.
fn digits(value: f64) -> String {
    match value {
        negligible if negligible.abs() < 0.000_5 => "0".to_owned(),
        negative if negative < 0.0 => format!("{negative:.0}"),
        small if small < 0.995 => format!("{small:.3}"),
        small if small < 9.95 => format!("{small:.2}"),
        medium if medium < 99.5 => format!("{medium:.1}"),
        large => format!("{large:.0}"),
    }
}
