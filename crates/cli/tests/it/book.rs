//! The book: each of its pages stands in the summary, and each link, the README's and those between pages included, leads somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

/// Lists the pages of a folder and of those in it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let pages = entries.flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] });
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The lines of a page that are not code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    })
}

/// Lists the targets of a page's links and pictures. Spans of code hold none.
fn links(page: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        let behind = outside.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        behind.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    };
    prose(page).flat_map(of_line).collect()
}

/// Lists the anchors of a page, as mdBook and code hosts make them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let slug = |heading: String| {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    prose(page).filter_map(heading).map(slug).collect()
}

#[test]
fn every_page_stands_in_the_summary() {
    let source = root().join("docs/src");
    let summary = fs::read_to_string(source.join("SUMMARY.md")).expect("it is there");
    let listed: BTreeSet<PathBuf> = links(&summary).iter().map(|page| source.join(page)).collect();
    let found: BTreeSet<PathBuf> = pages(&source).into_iter().filter(|page| !page.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, found);
}

#[test]
fn every_link_leads_somewhere() {
    let (root, mut dead) = (root(), vec![]);
    let mut read = pages(&root.join("docs"));
    read.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    for page in &read {
        let text = fs::read_to_string(page).expect("readable");
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.with_file_name("").join(path) };
            let leads = match fs::read_to_string(&target) {
                Ok(there) if target.extension().is_some_and(|extension| extension == "md") => {
                    anchor.is_empty() || anchors(&there).contains(anchor)
                }
                _ => target.exists(),
            };
            if !leads {
                dead.push(format!("{}: {link}", page.strip_prefix(&root).expect("in the repository").display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}
