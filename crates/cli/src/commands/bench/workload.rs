//! What is measured

use std::path::Path;

use orchestr8_agent_base::AgentRegistry;
use orchestr8_schema::ValidWorkflow;
use serde_json::{Value, json};

use crate::{Error, commands::run::check, ui::Ui, workflow_file::WorkflowFile};

/// A workflow with the name that it is shown by.
#[derive(Debug)]
pub(super) struct Workload {
    name: String,
    workflow: ValidWorkflow,
}

impl Workload {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no valid workflow.
    pub(super) fn of_file(ui: Ui, path: &Path, agents: &AgentRegistry) -> Result<Self, Error> {
        let workflow = check(ui, &WorkflowFile::read(path)?, agents)?;
        Ok(Self { name: path.display().to_string(), workflow })
    }

    fn of_steps(name: &str, steps: &Value) -> Result<Self, Error> {
        let document = json!({ "version": "1.0.0", "metadata": { "id": name, "name": name }, "steps": steps });
        let workflow = ValidWorkflow::from_value(&document);
        let workflow = workflow.map_err(|error| Error::internal("making a workflow to measure").with_source(error))?;
        Ok(Self { name: name.to_owned(), workflow })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn workflow(&self) -> &ValidWorkflow {
        &self.workflow
    }
}

/// Makes what is measured unless something else is named.
///
/// # Errors
///
/// When one of them is not valid, which is a defect.
pub(super) fn usual() -> Result<Vec<Workload>, Error> {
    let step = |id: String, dependencies: Vec<String>| json!({ "id": id, "agent": { "id": "@orchestr8/echo" }, "input": { "text": "a few words" }, "dependencies": dependencies });
    let single = step("only".to_owned(), Vec::new());
    let sequential: Vec<_> = (0..5)
        .map(|number: u32| {
            let before = number.checked_sub(1).map(|before| format!("step-{before}"));
            step(format!("step-{number}"), before.into_iter().collect())
        })
        .collect();
    let parallel: Vec<_> = (0..10).map(|number| step(format!("step-{number}"), Vec::new())).collect();
    let inner = |id: &str, input: Value| json!([{ "id": id, "agent": { "id": "@orchestr8/echo" }, "input": input }]);
    let complex = json!([
        step("begin".to_owned(), Vec::new()),
        { "id": "each", "dependencies": ["begin"], "map": {
            "items": [1, 2, 3, 4, 5],
            "steps": inner("one", json!({ "number": "${item}" })),
        } },
        { "id": "rounds", "dependencies": ["begin"], "loop": {
            "until": "loop.index >= `2`", "maxIterations": 5, "init": 0,
            "steps": inner("round", json!({ "number": "${loop.index}" })),
            "value": "${steps.round.output.number}",
        } },
        { "id": "either", "dependencies": ["each", "rounds"], "branch": {
            "cases": [{ "name": "many", "when": "length(steps.each.output) > `3`", "steps": inner("many", json!({})) }],
            "default": { "steps": [] },
        } },
        step("end".to_owned(), vec!["either".to_owned()]),
    ]);
    Ok(vec![
        Workload::of_steps("single", &json!([single]))?,
        Workload::of_steps("sequential", &json!(sequential))?,
        Workload::of_steps("parallel", &json!(parallel))?,
        Workload::of_steps("complex", &complex)?,
    ])
}
