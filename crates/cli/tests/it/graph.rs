//! `orchestr8 graph`, of files and of executions.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::support::{assert_steady, example, orchestr8, say};

/// Three steps with every kind of edge that agents can have; the soft one comes from a default.
const REVIEW: &str = r#"version: 1.0.0
metadata: { id: review, name: Review <&> "publish" }
steps:
  - { id: fetch, agent: { id: "@acme/fetch" } }
  - id: review
    agent: { id: "@acme/review" }
    dependencies: [fetch]
    input: { text: "${steps.fetch.output.text}" }
  - id: publish
    agent: { id: "@acme/publish" }
    dependencies: [review]
    input: { text: "${steps.fetch.output.text ?? 'nothing'}" }
  - id: end
    agent: { id: "@acme/mail" }
    condition: { unless: "steps.publish.status == 'completed'" }
"#;

fn written(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("review.yaml");
    fs::write(&path, text).expect("the folder is ours");
    let path = path.to_str().expect("the path is UTF-8").to_owned();
    (folder, path)
}

#[test]
fn a_file_is_drawn_in_each_language() {
    let (_folder, path) = written(REVIEW);
    for language in ["mermaid", "dot", "svg"] {
        let said = say(orchestr8().args(["graph", &path, "--to", language]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{language}");
        assert_steady(&format!("graph_{language}"), &said.stdout);
        let again = say(orchestr8().args(["graph", &path, "--to", language]));
        assert_eq!(again.stdout, said.stdout, "same input, same bytes");
    }
    let said = say(orchestr8().args(["graph", &path, "--json"]));
    let body: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_steady("graph_json", &format!("{body:#}"));
}

const COMPOSITES: &str = r#"version: 1.0.0
metadata: { id: composites, name: Composites }
steps:
  - { id: fetch, tool: { name: http.get, arguments: { url: "${inputs.url}" } } }
  - id: reviews
    dependencies: [fetch]
    map:
      items: "${steps.fetch.output.files}"
      steps:
        - { id: load, agent: { id: "@acme/load" }, input: { file: "${item}", base: "${steps.fetch.output.base}" } }
        - { id: score, agent: { id: "@acme/score" }, dependencies: [load], onError: fallback, fallbackStepId: guess }
        - { id: guess, agent: { id: "@acme/guess" } }
  - id: route
    branch:
      cases:
        - name: large
          when: "length(steps.reviews.output) > `3`"
          steps:
            - { id: audit, agent: { id: "@acme/audit" } }
            - { id: sign-off, dependencies: [audit], approval: { prompt: "Release?" } }
      default: { steps: [] }
  - id: refine
    dependencies: [route]
    loop:
      until: "loop.value"
      maxIterations: 5
      steps:
        - id: both
          parallel: { steps: [{ id: left, agent: { id: "@acme/left" } }, { id: right, agent: { id: "@acme/right" } }] }
      value: "${steps.both.output.left}"
  - { id: first, dependencies: [refine], workflow: { ref: ./child.yaml } }
  - { id: second, dependencies: [first], workflow: { ref: ./child.yaml } }
  - { id: pause, dependencies: [route], wait: { duration: 2h } }
"#;
const CHILD: &str =
    "version: 1.0.0\nmetadata: { id: child, name: Child }\nsteps: [{ id: fetch, agent: { id: \"@acme/fetch\" } }]\n";

#[test]
fn composites_are_drawn_closed_or_with_what_is_inside() {
    let (folder, path) = written(COMPOSITES);
    fs::write(folder.path().join("child.yaml"), CHILD).expect("the folder is ours");
    let closed = say(orchestr8().args(["graph", &path]));
    assert_eq!((closed.code, closed.stderr.as_str()), (Some(0), ""));
    let mut text = closed.stdout;
    for language in ["mermaid", "dot"] {
        let said = say(orchestr8().args(["graph", &path, "--expand", "--to", language]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{language}");
        text.push_str(&said.stdout);
    }
    assert_steady("graph_composites", &text);
    let svg = say(orchestr8().args(["graph", &path, "--expand", "--to", "svg"]));
    assert_eq!(svg.stdout.matches("<g class=\"step").count(), 17);
    assert!(svg.stdout.contains("data-path=\"second.fetch\""), "a sub-workflow is opened, too");
}

#[test]
fn a_drawing_goes_to_a_file_and_a_workflow_comes_from_standard_input() {
    let (folder, path) = written(REVIEW);
    let target = folder.path().join("review.svg");
    let target = target.to_str().expect("the path is UTF-8");
    let said = say(orchestr8()
        .args(["graph", "-", "--to", "svg", "-o", target])
        .stdin(Stdio::from(fs::File::open(&path).expect("the file is there"))));
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{}", said.stderr);
    let direct = say(orchestr8().args(["graph", &path, "--to", "svg"]));
    assert_eq!(fs::read_to_string(target).expect("it was written"), direct.stdout);
}

#[test]
fn what_is_no_workflow_has_no_graph() {
    let (_folder, path) = written(&REVIEW.replace("dependencies: [fetch]", "dependencies: [fetsh]"));
    let said = say(orchestr8().args(["graph", &path]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(said.stderr.contains("did you mean `fetch`?"), "{}", said.stderr);
    let said = say(orchestr8().args(["graph", "missing.yaml"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(said.stderr.contains("cannot read `missing.yaml`"), "{}", said.stderr);
}

#[cfg(feature = "server")]
#[test]
fn an_execution_is_drawn_with_the_statuses_of_its_steps() {
    use crate::support::running_server::RunningServer;

    let server = RunningServer::start(&mut orchestr8());
    let document = fs::read_to_string(example("vertical-slice.json")).expect("the example is there");
    let answer = server.post_yaml("/v1/workflows/execute?mode=sync", document).send().expect("the server answers");
    let answer: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
    let id = answer["executionId"].as_str().expect("an id");

    let said = say(orchestr8().args(["graph", id, "--port", server.port()]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_steady("graph_execution", &said.stdout);
    let said = say(orchestr8().args(["graph", id, "--port", server.port(), "--json"]));
    let body: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!(body["nodes"][0]["status"], "completed");
    let said = say(orchestr8().args(["graph", id, "--port", server.port(), "--to", "svg"]));
    assert_eq!(said.stdout.matches("data-status=\"completed\" role").count(), 2);

    let refused = server.get(&format!("/v1/executions/{id}/graph?expand=step1")).send().expect("the server answers");
    assert_eq!(refused.status(), 400, "an agent step has nothing inside");
    let page = server.get(&format!("/v1/executions/{id}/graph?format=svg&style=page")).send();
    let page = page.and_then(reqwest::blocking::Response::text).expect("the server answers");
    assert!(!page.contains("<style") && !page.contains("style=\""), "a page's policy may forbid both");

    let nobody = say(orchestr8().args(["graph", "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10", "--port", server.port()]));
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(2), ""));
}
