//! What is drawn at a terminal while an execution is followed, and what is left of it.

use std::fs;

use crate::support::{orchestr8, say, terminal::Terminal};

/// Twelve items at a time, of twenty-four; beside them one step that takes long.
const MANY: &str = "\
version: 1.0.0
metadata: { id: many, name: Many }
steps:
  - id: a-step-whose-name-is-longer-than-the-terminal-is-wide
    agent: { id: \"@orchestr8/delay\" }
    input: { duration: 900ms }
  - id: items
    map:
      items: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]
      concurrency: 12
      steps:
        - { id: work, agent: { id: \"@orchestr8/delay\" }, input: { duration: 250ms } }
";

/// The numbers behind each bar: how many steps have ended, of how many that are known.
fn bars(written: &str) -> Vec<(usize, usize)> {
    let numbers = |line: &str| {
        let (percent, share) = line.trim().rsplit_once(' ')?;
        let (ended, known) = share.split_once('/')?;
        let (ended, known): (usize, usize) = (ended.parse().ok()?, known.parse().ok()?);
        let percent: usize = percent.rsplit(' ').next()?.strip_suffix('%')?.parse().ok()?;
        assert_eq!(percent, ended * 100 / known, "{line}");
        Some((ended, known))
    };
    written.lines().filter_map(numbers).collect()
}

#[test]
fn progress_is_drawn_in_place_and_nothing_of_it_is_left() {
    for columns in [20, 80] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("many.yaml"), MANY).expect("written");
        let terminal = Terminal::new(folder.path(), columns);
        let said = terminal.says("run many.yaml --local", "");
        assert_eq!(said.code, Some(0), "{}", said.stdout);

        // More steps than ten are counted, and the bar knows of each item.
        assert!(said.stdout.contains(" steps run"), "{}", said.stdout);
        let bars = bars(&said.stdout);
        assert!(bars.iter().all(|(ended, known)| ended <= known), "{bars:?}");
        assert_eq!(bars.last().map(|(_, known)| *known), Some(26), "{bars:?}");
        let cells = said.stdout.lines().filter(|line| line.contains('░')).map(|line| line.matches(['█', '░']).count());
        let most = cells.max().expect("it is drawn");
        // Where there is no room for the whole bar, the numbers have theirs.
        assert!(if columns == 80 { most == 30 } else { (1..columns).contains(&most) }, "{}", said.stdout);
        // It takes 900 ms at least, and is drawn at most 15 times in each second.
        let took =
            said.stdout.split("Completed in ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a summary");
        let seconds = took.trim_end_matches(['m', 's']).parse::<f64>().expect("a number");
        let seconds = if took.ends_with("ms") { seconds / 1000.0 } else { seconds };
        assert!((bars.len() as f64) < (seconds + 1.0) * 15.0, "{} in {took}", bars.len());

        // What was drawn is gone, and what was told stands there once.
        let rows = terminal.shows(&said.stdout).concat();
        assert!(!rows.contains(['█', '░', '⠋', '⠙', '⠹', '⠼', '⠴', '⠦', '⠧', '⠇']), "{rows}");
        assert_eq!(rows.matches('✓').count(), 26, "{rows}");
        assert_eq!(rows.matches("Completed in ").count(), 1, "{rows}");
    }
}

#[test]
fn nothing_is_drawn_where_nobody_wants_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("many.yaml"), MANY).expect("written");
    for flags in ["--quiet", "--no-progress", "--json"] {
        let said = Terminal::new(folder.path(), 80).says(&format!("{flags} run many.yaml --local"), "");
        assert_eq!(said.code, Some(0), "{flags}: {}", said.stdout);
        assert!(!said.stdout.contains(['\u{1b}', '█', '░', '⠙']), "{flags}: {}", said.stdout);
        assert_eq!(said.stdout.contains('✓'), flags == "--no-progress", "{flags}: {}", said.stdout);
    }
    // Without a terminal it is a plain line per finished step.
    let said = say(orchestr8().current_dir(&folder).args(["run", "many.yaml"]));
    assert_eq!(said.stderr.lines().filter(|line| line.starts_with("✓ ")).count(), 26, "{}", said.stderr);
    assert!(!said.stderr.contains(['\u{1b}', '█', '░', '⠙']), "{}", said.stderr);
}
