//! Every code as people see it, drawn from a file with that mistake.

#[path = "../../../schema/tests/common/mistakes.rs"]
mod table;

use std::fmt::Write as _;

use anstream::adapter::strip_str;
use orchestr8_cli::{render::Report, workflow_file::WorkflowFile};
use orchestr8_schema::{
    Code,
    source::{Options, load},
};

#[test]
fn each_code_is_drawn_with_its_line() {
    let mut drawn = String::new();
    let mut missing = Code::ALL.to_vec();
    for (code, marked) in table::table() {
        let text = marked.replace('‸', "");
        let name = if text.starts_with('{') { "workflow.json" } else { "workflow.yaml" };
        let mut diagnostics = match load(&text, &table::options().file_name(name)) {
            Ok(valid) => valid.warnings().to_vec(),
            Err(invalid) => invalid.into_diagnostics(),
        };
        diagnostics.retain(|diagnostic| diagnostic.code == code);
        missing.retain(|other| *other != code);
        let report = Report::new(name, text, diagnostics).draw();
        let _ = writeln!(drawn, "{}", strip_str(&report));
    }
    assert_eq!(missing, [], "codes that no file has");
    insta::assert_snapshot!(drawn);
}

#[test]
fn a_mistake_in_a_sub_workflow_is_drawn_from_its_own_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let step = "agent: { id: \"@orchestr8/hello-world\" }";
    let head = "version: 1.0.0\nmetadata: { id: w, name: W }\nsteps:\n";
    let write = |name: &str, step: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
        std::fs::write(&path, format!("{head}{step}\n")).expect("the folder is ours");
        path
    };
    let parent = write("parent.yaml", "  - { id: a, workflow: { ref: ./parts/child.yaml } }");
    write("parts/child.yaml", "  - { id: b, workflow: { ref: ../leaf.yml } }");
    write("leaf.yml", &format!("  - {{ id: c, {step} }}"));
    let check = || WorkflowFile::read(&parent).expect("it is there").check(Options::new());
    assert_eq!(check().expect("valid").steps().len(), 1);

    write("leaf.yml", &format!("  - {{ id: c, dependencies: [d], {step} }}"));
    let report = strip_str(&check().expect_err("not valid").draw()).to_string();
    let shown = report.replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(shown, @r#"
    error[O8201]: no step `d`
     --> leaf.yml:4:29
      |
    4 |   - { id: c, dependencies: [d], agent: { id: "@orchestr8/hello-world" } }
      |                             ^
    error: parent.yaml has 1 error
    "#);
}
