//! Makes the table of docs/src/performance.md of what criterion measured last: medians, per element where a group says how many it has, and their
//! ratio to the group's floor.
//!
//! `cargo bench -p benches && cargo run -p benches --bin table` prints it; with `-- --write` it is put in its place on the page.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// One line of the table.
struct Row {
    function: String,
    nanoseconds: f64,
}

impl Row {
    fn is_floor(&self) -> bool {
        self.function.starts_with("floor")
    }
}

/// Lists the folders below `folder` that hold what was measured last.
fn results(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("benchmark.json").exists() && path.ends_with("new") {
            found.push(path);
        } else if path.is_dir() {
            results(&path, found)?;
        }
    }
    Ok(())
}

fn json(path: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// Reads one result: its group and its line.
fn row(folder: &Path) -> Result<(String, Row), Box<dyn Error>> {
    let (known, measured) = (json(&folder.join("benchmark.json"))?, json(&folder.join("estimates.json"))?);
    let median = measured["median"]["point_estimate"].as_f64().ok_or("a result without a median")?;
    let elements = known["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    let names = ["function_id", "value_str"].map(|part| known[part].as_str());
    let function = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let group = known["group_id"].as_str().unwrap_or_default().to_owned();
    Ok((group, Row { function, nanoseconds: median / elements }))
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.0} ns"),
        1e3..1e6 => format!("{:.2} µs", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}

fn table(groups: &BTreeMap<String, Vec<Row>>) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("| group | | median, per element | to its floor |\n|---|---|---|---|\n");
    for (group, rows) in groups {
        let floor = rows.iter().find(|row| row.is_floor()).map(|row| row.nanoseconds);
        for row in rows {
            let ratio = floor.filter(|_| !row.is_floor()).map(|floor| format!("{:.1}", row.nanoseconds / floor));
            let (took, ratio) = (time(row.nanoseconds), ratio.unwrap_or_default());
            writeln!(text, "| {group} | {} | {took} | {ratio} |", row.function)?;
        }
    }
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut found = vec![];
    results(&target.join("criterion"), &mut found)
        .map_err(|error| format!("there is nothing measured yet ({error}); run `cargo bench -p benches` first"))?;
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for folder in found {
        let (group, row) = row(&folder)?;
        groups.entry(group).or_default().push(row);
    }
    for rows in groups.values_mut() {
        rows.sort_by(|a, b| b.is_floor().cmp(&a.is_floor()).then(a.nanoseconds.total_cmp(&b.nanoseconds)));
    }
    let table = table(&groups)?;
    if !std::env::args().any(|argument| argument == "--write") {
        print!("{table}");
        return Ok(());
    }
    let page = root.join("docs/src/performance.md");
    let text = fs::read_to_string(&page)?;
    let (begin, end) = ("<!-- criterion: begin -->\n", "<!-- criterion: end -->");
    let (before, rest) = text.split_once(begin).ok_or("the page has no place for the table")?;
    let (_, after) = rest.split_once(end).ok_or("the place for the table has no end")?;
    fs::write(&page, format!("{before}{begin}\n{table}\n{end}{after}"))?;
    Ok(())
}
