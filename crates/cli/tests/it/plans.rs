//! The same workflow in JSON, in YAML and built in Rust is one plan.

#[path = "../../../schema/tests/common/generate.rs"]
mod generate;

use generate::{Document, any_workflow, options, to_yaml};
use orchestr8_agent_base::{
    AgentManifest, AgentRegistry, agent_fn,
    tool::{ToolSpec, tool_fn},
};
use orchestr8_core::plan::Plan;
use orchestr8_schema::{
    ValidWorkflow, Workflow,
    source::{Format, load, load_value},
    validate::validate,
};
use proptest::prelude::*;

fn registry() -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    for (id, versions) in [("@acme/agent", &["1.0.0", "1.2.3"][..]), ("@acme/other", &["1.2.0", "1.9.0"])] {
        for version in versions {
            let manifest = AgentManifest::new(id, version, "Answers what it is given").expect("well formed");
            let agent = agent_fn(manifest, |input, _cx, _cancel| async { Ok(input) });
            registry.register(agent).expect("registered once");
        }
    }
    for name in ["http.get", "server:do_it"] {
        let spec = ToolSpec::new(name, "Answers its arguments").expect("well formed");
        let tool = tool_fn(spec, |arguments, _cx, _cancel| async { Ok(arguments) });
        registry.tools_mut().register(tool).expect("registered once");
    }
    registry
}

/// All that a plan says: its steps, how they are called and what they wait for, and the compiled steps themselves.
fn description(workflow: &ValidWorkflow, registry: &AgentRegistry) -> Result<String, TestCaseError> {
    let plan = Plan::compile(workflow, registry).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let compiled: Vec<_> = plan.units().iter().map(|unit| (unit.workflow.steps(), unit.workflow.scopes())).collect();
    let parts = (plan.units(), plan.steps(), plan.scopes(), plan.graph(), plan.hooks(), plan.limits());
    Ok(format!("{parts:#?}\n{:#?}\n{compiled:#?}", plan.agent_versions()))
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 20 };
    ProptestConfig { failure_persistence: None, cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn however_a_workflow_is_written_its_plan_is_the_same(Document(document) in any_workflow()) {
        let registry = registry();
        let read = |result: Result<ValidWorkflow, orchestr8_schema::InvalidWorkflow>| result.map_err(|error| TestCaseError::fail(error.to_string()));
        let by_value = read(load_value(&document, &options()))?;
        let expected = description(&by_value, &registry)?;
        let by_json = read(load(document.to_string(), &options().format(Format::Json)))?;
        let by_yaml = read(load(to_yaml(&document).0, &options().format(Format::Yaml)))?;
        // What Rust builds is an AST; it is the same one, and never was a text.
        let ast: Workflow = by_value.workflow().clone();
        let built = read(validate(ast, &options()))?;
        let written_back = read(load(serde_json::to_string(&by_value).expect("it is JSON"), &options()))?;
        for (name, other) in [("JSON", by_json), ("YAML", by_yaml), ("Rust", built), ("written back", written_back)] {
            let plan = description(&other, &registry)?;
            prop_assert!(plan == expected, "{} gives another plan:\n{}\n{}", name, plan, expected);
        }
    }
}
