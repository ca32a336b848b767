//! The tutorial, typed as it is written: each command says what the page shows, and each excerpt stands in a file.

use std::{fs, path::PathBuf};

use crate::support::{Said, orchestr8, say, steady};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Lists the blocks of one language of a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begun = page.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    begun.into_iter().map(|block| block.split("```").next().unwrap_or_default()).collect()
}

/// Splits a line as a shell does where there are double quotes.
fn words(line: &str) -> Vec<String> {
    let plain = |part: &str| part.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let quoted = |(index, part): (usize, &str)| if index % 2 == 1 { vec![part.to_owned()] } else { plain(part) };
    line.split('"').enumerate().flat_map(quoted).collect()
}

/// One who types, with a data directory and a server of their own.
struct Reader {
    home: tempfile::TempDir,
}

impl Reader {
    fn type_in(&self, line: &str) -> Said {
        let mut command = orchestr8();
        command.current_dir(root().join("examples/tutorial")).env("ORCHESTR8_HOME", self.home.path());
        say(command.env("ORCHESTR8_SERVER_PORT", "0").env("USER", "ada").args(words(line)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.type_in("stop --force");
    }
}

#[test]
fn every_command_says_what_the_page_shows() {
    let page = fs::read_to_string(root().join("docs/src/tutorial.md")).expect("it is there");
    let reader = Reader { home: tempfile::tempdir().expect("a folder") };
    for block in blocks(&page, "console") {
        for typed in block.split("$ orchestr8 ").skip(1) {
            let (line, shown) = typed.split_once('\n').expect("a command, and what it says");
            let shown = steady(shown);
            // What only looks, or is refused too early, can be typed again until what it waits for has happened.
            let may_repeat = ["approve", "status", "why", "inspect"].iter().any(|name| line.starts_with(name));
            let mut said = reader.type_in(line);
            let is_shown = |said: &Said| steady(&format!("{}{}", said.stderr, said.stdout)) == shown;
            for _ in 0..if may_repeat { 500 } else { 0 } {
                if is_shown(&said) {
                    break;
                }
                said = reader.type_in(line);
            }
            assert_eq!(steady(&format!("{}{}", said.stderr, said.stdout)), shown, "{line}");
        }
    }
}

#[test]
fn every_excerpt_stands_in_the_file() {
    let page = fs::read_to_string(root().join("docs/src/tutorial.md")).expect("it is there");
    let file = fs::read_to_string(root().join("examples/tutorial/article.yaml")).expect("it is there");
    let excerpts = blocks(&page, "yaml");
    assert!(excerpts.len() >= 4, "the page shows the file");
    for excerpt in excerpts {
        assert!(file.contains(excerpt), "{excerpt}");
    }
}
