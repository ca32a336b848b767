//! A step of a workflow file.

use serde_json::{Map, Value};

use super::{Field, Object, Reader};
use crate::{
    AgentId, Code, Step, StepId,
    policy::OnError,
    problem::quote,
    workflow::{
        AgentCall, AgentStep, Capture, Comparison, Condition, ExpressionSecurity, Input, Operator, Output, StepHooks,
        StepKind, StructuredInput, VersionRange,
    },
};

const STEP: &[&str] = &[
    "id",
    "name",
    "description",
    "dependencies",
    "dependsOn",
    "condition",
    "input",
    "output",
    "policies",
    "onError",
    "fallbackStepId",
    "compensate",
    "hooks",
    "type",
    "agent",
    "tool",
    "parallel",
    "branch",
    "map",
    "loop",
    "workflow",
    "wait",
    "approval",
];
const KINDS: &[&str] = &["agent", "tool", "parallel", "branch", "map", "loop", "workflow", "wait", "approval"];

impl Reader<'_> {
    /// Reads a step; what is wrong or missing in it is replaced by a stand-in.
    pub(super) fn step(&mut self, field: Field<'_>, index: usize) -> Step {
        let field = Field { name: "", ..field };
        let empty = Map::new();
        let step = self.object(Some(field));
        let readable = step.is_some();
        let step = step.unwrap_or(Object { map: &empty, at: field.at, name: "" });
        let id = if readable { self.required(&step, "id", "letters, digits, `-` and `_`") } else { None };
        let id: Option<StepId> = self.parse(id, "step id", "1 to 128 letters, digits, `-` and `_`");
        let dependencies = self.dependencies(&step);
        let kind = if readable { self.kind(&step) } else { None };
        let result = Step {
            id: id.unwrap_or_else(|| stand_in(&format!("-invalid-{index}"))),
            name: self.owned(step.get("name")),
            description: self.owned(step.get("description")),
            dependencies,
            condition: self.condition(step.get("condition")),
            output: self.output(step.get("output")),
            policies: self.step_policies(step.get("policies")),
            on_error: self
                .choice(
                    step.get("onError"),
                    &[
                        ("fail", OnError::Fail),
                        ("continue", OnError::Continue),
                        ("retry", OnError::Retry),
                        ("fallback", OnError::Fallback),
                    ],
                )
                .unwrap_or_default(),
            fallback_step_id: self.parse(step.get("fallbackStepId"), "step id", "the id of a step"),
            kind: kind.unwrap_or_else(|| {
                StepKind::Agent(AgentStep {
                    agent: AgentCall { id: stand_in("@invalid/invalid"), version: VersionRange::Latest, config: None },
                    input: Input::default(),
                })
            }),
            compensate: None,
            hooks: StepHooks::default(),
        };
        for key in ["hooks", "compensate"] {
            if let Some(field) = step.get(key) {
                let message = format!("this version does not run `{key}`");
                self.problems.report(Code::KeyNotForKind, field.at, message).on_key().help("remove it");
            }
        }
        if let Some(kind) = step.get("type") {
            match kind.value.as_str() {
                Some("agent" | "sequential" | "parallel") => self.ignored(&step, "type", "`agent` says it already"),
                _ => {
                    self.choice::<()>(Some(kind), &[("agent", ()), ("sequential", ()), ("parallel", ())]);
                }
            }
        }
        self.unknown_keys(&step, STEP);
        result
    }

    fn dependencies(&mut self, step: &Object<'_>) -> Vec<StepId> {
        let field = self.aliased(step, "dependencies", &["dependsOn"]);
        let Some(list) = self.list(field) else { return Vec::new() };
        list.items().filter_map(|item| self.parse(Some(item), "step id", "the id of a step")).collect()
    }

    fn kind(&mut self, step: &Object<'_>) -> Option<StepKind> {
        let given: Vec<Field<'_>> = KINDS.iter().filter_map(|kind| step.get(kind)).collect();
        match &*given {
            [] => {
                self.problems
                    .report(Code::StepKind, step.at, "the step does not say what it does")
                    .help("give it an `agent`");
                None
            }
            [agent] if agent.name == "agent" => Some(StepKind::Agent(AgentStep {
                agent: self.agent(*agent)?,
                input: self.input(step.get("input")).unwrap_or_default(),
            })),
            [other] => {
                let message = format!("this version does not run `{}` steps", other.name);
                self.problems.report(Code::StepKind, other.at, message).on_key().help("use an `agent`");
                None
            }
            [first, second, ..] => {
                let message = format!("step has both `{}` and `{}`", first.name, second.name);
                self.problems.report(Code::StepKind, second.at, message).on_key().help("keep one");
                None
            }
        }
    }

    fn agent(&mut self, field: Field<'_>) -> Option<AgentCall> {
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`agent: {id: …}`");
            return None;
        }
        let agent = self.object(Some(field))?;
        let id = self.required(&agent, "id", "agent ids look like @scope/name");
        let id: Option<AgentId> = self.parse(id, "agent id", "agent ids look like @scope/name");
        let version = self.parse(agent.get("version"), "version range", "x.y.z, ^x.y.z, ~x.y.z or latest");
        if let Some(config) = agent.get("config") {
            self.no_expressions(config, "`config`", "use `input`");
        }
        let config = self.map(agent.get("config"));
        self.unknown_keys(&agent, &["id", "version", "config"]);
        Some(AgentCall { id: id?, version: version.unwrap_or_default(), config })
    }

    fn input(&mut self, field: Option<Field<'_>>) -> Option<Input> {
        let object = self.object(field)?;
        if !Input::looks_structured(object.map) {
            return Some(Input::Plain(object.map.clone()));
        }
        let security = self.object(object.get("expressionSecurity")).map(|security| {
            let default = ExpressionSecurity::default();
            let depth = self.integer(security.get("maxExpansionDepth"));
            let size = self.integer(security.get("maxExpansionSize"));
            self.unknown_keys(&security, &["maxExpansionDepth", "maxExpansionSize"]);
            ExpressionSecurity {
                max_expansion_depth: depth.unwrap_or(default.max_expansion_depth),
                max_expansion_size: size.unwrap_or(default.max_expansion_size),
            }
        });
        Some(Input::Structured(StructuredInput {
            schema: self.schema(object.get("schema")),
            mapping: self.map(object.get("mapping")),
            expression_security: security,
            transform: self.owned(object.get("transform")),
        }))
    }

    fn condition(&mut self, field: Option<Field<'_>>) -> Option<Condition> {
        let field = field?;
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`condition: {if: …}`");
            return None;
        }
        let object = self.object(Some(field))?;
        let sugar = ["expression", "operator", "value"];
        let is_sugar = sugar.iter().any(|key| object.contains(key));
        if is_sugar && (object.contains("if") || object.contains("unless")) {
            self.problems
                .report(Code::WrongForm, object.at, "condition has both forms")
                .help("keep `if` and `unless`, or `expression` and `operator`");
            return None;
        }
        if !is_sugar {
            let condition =
                Condition::Predicates { if_: self.owned(object.get("if")), unless: self.owned(object.get("unless")) };
            self.unknown_keys(&object, &["if", "unless", "expression", "operator", "value"]);
            return Some(condition);
        }
        let expression = self.required(&object, "expression", "what is compared");
        let expression = self.owned(expression);
        let operator = self.required(&object, "operator", "such as equals");
        let operator = operator.and_then(|field| self.operator(field));
        let value = object.map.get("value").cloned().unwrap_or(Value::Null);
        self.unknown_keys(&object, &sugar);
        Some(Condition::Comparison(Comparison { expression: expression?, operator: operator?, value }))
    }

    fn operator(&mut self, field: Field<'_>) -> Option<Operator> {
        const OPERATORS: &[(&str, Operator)] = &[
            ("equals", Operator::Equals),
            ("not-equals", Operator::NotEquals),
            ("not-empty", Operator::NotEmpty),
            ("greater-than", Operator::GreaterThan),
            ("less-than", Operator::LessThan),
            ("contains", Operator::Contains),
        ];
        let text = self.text(Some(field))?;
        let known = OPERATORS.iter().find(|(name, _)| *name == text);
        if known.is_none() {
            let help = self
                .problems
                .did_you_mean(text, OPERATORS.iter().map(|(name, _)| *name))
                .unwrap_or_else(|| "equals, not-equals, not-empty, greater-than, less-than or contains".to_owned());
            let message = format!("no operator `{}`", quote(text));
            self.problems.report(Code::UnknownFunction, field.at, message).help(help);
        }
        known.map(|(_, operator)| *operator)
    }

    fn output(&mut self, field: Option<Field<'_>>) -> Option<Output> {
        let field = field?;
        if field.value.is_string() {
            let message = "an agent's output cannot be replaced";
            self.problems.report(Code::KeyNotForKind, field.at, message).on_key().help("`output: {schema, capture}`");
            return None;
        }
        let object = self.object(Some(field))?;
        if let Some(value) = object.get("value") {
            let message = "`output.value` on an agent step";
            self.problems.report(Code::KeyNotForKind, value.at, message).on_key().help("only composites have one");
        }
        let schema = self.schema(object.get("schema"));
        let capture = self.capture(object.get("capture"));
        self.unknown_keys(&object, &["schema", "capture", "value"]);
        Some(Output { schema, capture, value: None })
    }

    fn capture(&mut self, field: Option<Field<'_>>) -> Option<Capture> {
        let field = field?;
        if field.value.is_array() {
            return Some(Capture::Fields(self.texts(Some(field))));
        }
        if !field.value.is_object() {
            self.mismatch(field, "an object or a list");
            return None;
        }
        let object = self.object(Some(field))?;
        Some(Capture::Paths(self.named_texts(&object)))
    }
}

/// Makes an identifier that is known to be well formed.
fn stand_in<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(id) => id,
        Err(_) => unreachable!("`{text}` is well formed"),
    }
}
