//! A terminal that `script` makes, and what is left to be seen on it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Said, orchestr8};

/// A terminal of so many columns, with 24 rows.
#[derive(Debug)]
pub(crate) struct Terminal {
    folder: PathBuf,
    columns: usize,
}

impl Terminal {
    /// In a folder that is the data directory, too.
    pub(crate) fn new(folder: &Path, columns: usize) -> Self {
        Self { folder: folder.to_owned(), columns }
    }

    /// Runs the program as a person does, who types this. Both streams are the terminal's, and come as `stdout`.
    pub(crate) fn says(&self, args: &str, typed: &str) -> Said {
        let program = orchestr8();
        let program_path = program.get_program().to_str().expect("UTF-8");
        let line = format!("stty cols {} rows 24; {program_path} {args}", self.columns);
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(&self.folder);
        // As the program is always called here, at a terminal that can do what terminals do.
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("ORCHESTR8_HOME", &self.folder).env("TERM", "xterm").env_remove("CI");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it belongs to every Debian");
        child.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("it reads");
        child.wait_with_output().expect("our child").into()
    }

    /// Returns the rows that are left of what was written. Of the signs that move a cursor it knows those that the program uses.
    pub(crate) fn shows(&self, written: &str) -> Vec<String> {
        let (mut rows, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
        let mut signs = written.chars().peekable();
        while let Some(sign) = signs.next() {
            match sign {
                '\u{1b}' => {
                    assert_eq!(signs.next(), Some('['), "{written:?}");
                    let mut count = String::new();
                    while let Some(digit) = signs.next_if(|sign| sign.is_ascii_digit() || *sign == ';') {
                        count.push(digit);
                    }
                    match signs.next() {
                        Some('A') => row = row.saturating_sub(count.parse().expect("a number")),
                        Some('J') => {
                            rows.truncate(row + 1);
                            rows[row].truncate(column);
                        }
                        Some('m') => {}
                        other => unreachable!("{other:?} is no sign that the program uses"),
                    }
                }
                '\r' => column = 0,
                '\n' => {
                    (row, column) = (row + 1, 0);
                    rows.resize(rows.len().max(row + 1), Vec::new());
                }
                sign => {
                    if column == self.columns {
                        (row, column) = (row + 1, 0);
                        rows.resize(rows.len().max(row + 1), Vec::new());
                    }
                    let row: &mut Vec<char> = &mut rows[row];
                    row.resize(row.len().max(column + 1), ' ');
                    row[column] = sign;
                    column += 1;
                }
            }
        }
        rows.into_iter().map(String::from_iter).filter(|row| !row.is_empty()).collect()
    }
}
