//! The catalogue.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    assert_steady, example, orchestr8,
    running_server::{RunningServer, describe},
};

/// A project with a folder of workflows.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().expect("a folder"));
        project.write(".orchestr8/config.json", r#"{ "workflows": { "paths": ["flows"] } }"#);
        fs::create_dir_all(project.0.path().join("flows")).expect("a folder");
        project
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// A server of this project; its working directory is below it.
    fn serve(&self) -> RunningServer {
        RunningServer::start(orchestr8().current_dir(self.0.path().join("flows")))
    }

    /// Takes the place of the folder out of an answer.
    fn steady(&self, text: &str) -> String {
        let folder = fs::canonicalize(self.0.path()).expect("it is there");
        text.replace(folder.to_str().expect("UTF-8"), "[project]")
            .replace(self.0.path().to_str().expect("UTF-8"), "[project]")
    }
}

fn greeting(id: &str, step: &str) -> String {
    format!(
        "version: 1.0.0\nmetadata: {{ id: {id}, name: Greeting, description: Greets }}\n\
         inputs: {{ type: object, properties: {{ name: {{ type: string }} }} }}\nsteps:\n  - id: {step}\n    \
         agent: {{ id: '@orchestr8/hello-world' }}\n    input: {{ name: '${{inputs.name ?? \"Ada\"}}' }}\n"
    )
}

fn ask(server: &RunningServer, path: &str) -> Value {
    server.get(path).send().expect("the server answers").json().expect("JSON")
}

fn execute(server: &RunningServer, body: &Value) -> (u16, Value) {
    let answer = server.post("/v1/workflows/execute?mode=sync").json(body).send().expect("the server answers");
    (answer.status().as_u16(), answer.json().expect("JSON"))
}

#[test]
fn workflows_of_the_folder_are_listed_shown_and_started_by_their_ids() {
    let project = Project::new();
    project.write("flows/greet.yaml", greeting("greet", "greet"));
    project.write("flows/parts/twice.yaml", "version: 1.0.0\nmetadata: { id: twice, name: Twice }\nsteps:\n  - { id: a, workflow: { ref: greet } }\n  - { id: b, workflow: { ref: ../greet.yaml } }\n");
    project.write("flows/greet.test.yaml", "workflow: ./greet.yaml\ntests: []\n");
    project.write("flows/package.json", r#"{ "name": "no workflow" }"#);
    project.write("flows/.hidden/other.yaml", greeting("hidden", "greet"));
    let server = project.serve();
    let list = describe("the catalogue", server.get("/v1/workflows").send().expect("the server answers"));
    assert_steady("server_workflows", &project.steady(&list));

    let shown = ask(&server, "/v1/workflows/greet");
    assert_eq!(shown["workflow"]["metadata"]["id"], "greet");
    assert_eq!(shown["inputs"]["type"], "object");
    let page = ask(&server, "/v1/workflows?limit=1");
    let next = format!("/v1/workflows?limit=1&cursor={}", page["nextCursor"].as_str().expect("there is more"));
    assert_eq!(ask(&server, &next)["workflows"][0]["id"], "twice");

    let (status, outcome) = execute(&server, &json!({ "workflowId": "greet", "input": { "name": "Grace" } }));
    assert_eq!((status, &outcome["outputs"]["greet"]["result"]), (200, &json!("Hello, Grace! Welcome to @orchestr8.")));
    let (status, outcome) = execute(&server, &json!({ "workflowId": "twice" }));
    assert_eq!((status, &outcome["status"]), (200, &json!("completed")), "{outcome}");
    // A workflow that is sent may refer to them, too.
    let sent = json!({
        "version": "1.0.0", "metadata": { "id": "sent", "name": "Sent" },
        "steps": [{ "id": "a", "workflow": { "ref": "twice" } }],
    });
    let (status, outcome) = execute(&server, &sent);
    assert_eq!((status, &outcome["status"]), (200, &json!("completed")), "{outcome}");
    let listed = ask(&server, "/v1/executions?workflowId=greet");
    assert_eq!(listed["executions"].as_array().map(Vec::len), Some(1));

    let (status, problem) = execute(&server, &json!({ "workflowId": "hidden" }));
    assert_eq!((status, &problem["code"]), (404, &json!("NOT_FOUND")));
    let (status, problem) = execute(&server, &json!({ "workflowId": "greet", "workflow": sent }));
    assert_eq!((status, &problem["code"]), (400, &json!("BAD_REQUEST")));
    let valid = server.post("/v1/workflows/validate").json(&json!({ "workflowId": "twice" }));
    let valid: Value = valid.send().expect("the server answers").json().expect("JSON");
    assert_eq!((&valid["valid"], &valid["stats"]["steps"]), (&json!(true), &json!(2)));
}

#[test]
fn files_that_cannot_be_used_are_told_and_touch_no_other() {
    let project = Project::new();
    project.write(".orchestr8/config.json", r#"{ "workflows": { "paths": ["flows", "gone", "named.yaml"] } }"#);
    project.write("flows/a.yaml", greeting("greet", "greet"));
    project.write("flows/b.yaml", greeting("greet", "other"));
    project.write("flows/broken.yaml", "steps: [");
    project.write("flows/c.yaml", greeting("wrong", "greet").replace("hello-world", "hallo-world"));
    project.write("flows/d.yaml", [0xff, 0xfe, 0x00]);
    project.write("named.yaml", "no: workflow");
    let server = project.serve();
    let list = ask(&server, "/v1/workflows");
    assert_eq!(list["workflows"].as_array().map(Vec::len), Some(1), "{list:#}");
    let unusable: Vec<_> = list["unusable"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|file| {
            let codes: Vec<_> =
                file["diagnostics"].as_array().expect("a list").iter().map(|found| found["code"].clone()).collect();
            json!([file["file"], file["reason"], codes])
        })
        .collect();
    assert_steady("server_workflows_unusable", &project.steady(&format!("{:#}", Value::from(unusable))));
    let (status, problem) = execute(&server, &json!({ "workflowId": "wrong" }));
    assert_eq!((status, &problem["issues"][0]["code"]), (404, &json!("O8405")));
    assert_eq!(execute(&server, &json!({ "workflowId": "greet" })).0, 200);
}

#[test]
fn the_next_request_sees_what_has_changed_on_disk() {
    let project = Project::new();
    let server = project.serve();
    let ids = || -> Vec<String> {
        let list = ask(&server, "/v1/workflows");
        let workflows = list["workflows"].as_array().expect("a list").iter();
        workflows.map(|one| format!("{}:{}", one["id"].as_str().expect("an id"), one["steps"])).collect()
    };
    assert_eq!(ids(), [] as [&str; 0]);
    let outer =
        "version: 1.0.0\nmetadata: { id: outer, name: Outer }\nsteps: [{ id: a, workflow: { ref: ../part.yaml } }]\n";
    project.write("flows/outer.yaml", outer);
    assert_eq!(ids(), [] as [&str; 0]);
    // The sub-workflow stands elsewhere, and counts all the same.
    project.write("part.yaml", greeting("part", "greet"));
    assert_eq!(ids(), ["outer:1"]);
    project.write("flows/greet.yaml", greeting("greet", "greet"));
    assert_eq!(ids(), ["greet:1", "outer:1"]);
    project.write("part.yaml", "steps: [");
    assert_eq!(ids(), ["greet:1"]);
    fs::remove_file(project.0.path().join("flows/greet.yaml")).expect("removed");
    assert_eq!(ids(), [] as [&str; 0]);
}

#[test]
fn a_flag_goes_before_the_settings() {
    let project = Project::new();
    project.write("flows/greet.yaml", greeting("greet", "greet"));
    project.write("others/other.yaml", greeting("other", "greet"));
    let mut command = orchestr8();
    command.current_dir(project.0.path()).args(["server", "--port", "0", "--workflows", "others"]);
    let server = RunningServer::of(&mut command);
    assert_eq!(ask(&server, "/v1/workflows")["workflows"][0]["id"], "other");
    assert_eq!(execute(&server, &json!({ "workflowId": "greet" })).0, 404);
}

#[test]
fn executions_have_the_time_that_the_settings_give_unless_their_workflow_says() {
    let mut command = orchestr8();
    let server = RunningServer::start(command.env("ORCHESTR8_EXECUTION_DEFAULT_TIMEOUT", "50ms"));
    let slow = fs::read_to_string(example("slow.yaml")).expect("the example is there");
    let run = |document: String| -> Value {
        let answer = server.post_yaml("/v1/workflows/execute?mode=sync", document).send().expect("the server answers");
        answer.json().expect("JSON")
    };
    let silent = run(slow.clone());
    assert_eq!((&silent["status"], &silent["errors"][0]["code"]), (&json!("failed"), &json!("TIMEOUT")), "{silent}");
    let own = run(slow.replace("30000", "200") + "policies: { timeout: { global: 10s } }\n");
    assert_eq!(own["status"], "completed", "{own}");
}
