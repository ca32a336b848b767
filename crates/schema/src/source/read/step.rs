//! A step of a workflow file: what all kinds have in common.

use serde_json::{Map, Value};

use super::{Field, Object, Reader};
use crate::{
    Code, Step, StepId,
    policy::OnError,
    problem::quote,
    workflow::{AgentCall, AgentStep, Capture, Comparison, Condition, Operator, Output, StepKind},
};

/// The deepest nesting of steps; the limit on the document's own depth is met first, so this is for values made in Rust.
const MAX_SCOPES: usize = 32;

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
impl Reader<'_> {
    /// Reads a list of steps, each of which is marked if it is broken.
    pub(super) fn steps(&mut self, list: Option<Field<'_>>) -> Vec<Step> {
        let Some(list) = self.list(list) else { return Vec::new() };
        if self.scopes == MAX_SCOPES {
            let message = format!("steps are nested more than {MAX_SCOPES} deep");
            self.problems.report(Code::TooDeep, list.at, message).help("use sub-workflows");
            return Vec::new();
        }
        self.scopes += 1;
        let steps = list.items().map(|item| self.marked(item)).collect();
        self.scopes -= 1;
        steps
    }

    fn marked(&mut self, item: Field<'_>) -> Step {
        let index = self.broken.len();
        self.broken.push(false);
        let (errors, inner) = (self.problems.errors(), self.inner_errors);
        let step = self.step(item, index);
        // What is wrong with a step inside does not make this one unreadable.
        let found = self.problems.errors() - errors;
        self.broken[index] = found > self.inner_errors - inner;
        self.inner_errors = inner + found;
        step
    }

    /// Reads a step; what is wrong or missing in it is replaced by a stand-in.
    fn step(&mut self, field: Field<'_>, index: usize) -> Step {
        let field = Field { name: "", ..field };
        let empty = Map::new();
        let step = self.object(Some(field));
        let readable = step.is_some();
        let step = step.unwrap_or(Object { map: &empty, at: field.at, name: "" });
        let id = if readable { self.required(&step, "id", "letters, digits, `-` and `_`") } else { None };
        let id: Option<StepId> = self.parse(id, "step id", "1 to 128 letters, digits, `-` and `_`");
        let dependencies = self.dependencies(&step);
        let kind = if readable { self.kind(&step) } else { None };
        let kind = kind.unwrap_or_else(|| {
            StepKind::Agent(AgentStep { agent: AgentCall::new(stand_in("@invalid/invalid")), input: None })
        });
        let mut result = Step::new(id.unwrap_or_else(|| stand_in(&format!("-invalid-{index}"))), kind);
        result.name = self.owned(step.get("name"));
        result.description = self.owned(step.get("description"));
        result.dependencies = dependencies;
        result.condition = self.condition(step.get("condition"));
        result.output = self.output(step.get("output")).map(Box::new);
        result.policies = self.step_policies(step.get("policies"));
        result.on_error = self
            .choice(
                step.get("onError"),
                &[
                    ("fail", OnError::Fail),
                    ("continue", OnError::Continue),
                    ("retry", OnError::Retry),
                    ("fallback", OnError::Fallback),
                ],
            )
            .unwrap_or_default();
        result.fallback_step_id = self.parse(step.get("fallbackStepId"), "step id", "the id of a step");
        result.compensate = self.compensate(step.get("compensate")).map(Box::new);
        result.hooks = self.step_hooks(step.get("hooks"));
        if let Some(kind) = step.get("type") {
            match kind.value.as_str() {
                Some("agent" | "sequential" | "parallel") => {
                    self.ignored(&step, "type", "the kind's key says it already");
                }
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
        let given: Vec<Field<'_>> = StepKind::KEYS.iter().filter_map(|kind| step.get(kind)).collect();
        let field = match &*given {
            [] => {
                self.problems
                    .report(Code::StepKind, step.at, "the step does not say what it does")
                    .help(format!("give it one of {}", StepKind::KEYS.join(", ")));
                return None;
            }
            [field] => *field,
            [first, second, ..] => {
                let message = format!("step has both `{}` and `{}`", first.name, second.name);
                self.problems.report(Code::StepKind, second.at, message).on_key().help("keep one");
                return None;
            }
        };
        if let Some(input) = step.get("input").filter(|_| field.name != "agent") {
            let help = match field.name {
                "tool" => "use `tool.arguments`",
                "workflow" => "use `workflow.input`",
                _ => "the steps inside read what they need themselves",
            };
            let article = if field.name == "approval" { "an" } else { "a" };
            let message = format!("`input` on {article} {} step", field.name);
            self.problems.report(Code::KeyNotForKind, input.at, message).on_key().help(help);
        }
        Some(match field.name {
            "agent" => StepKind::Agent(AgentStep { agent: self.agent(field)?, input: self.input(step.get("input")) }),
            "tool" => StepKind::Tool(self.tool(field)?),
            "parallel" => StepKind::Parallel(self.parallel(field)?),
            "branch" => StepKind::Branch(self.branch(field)?),
            "map" => StepKind::Map(Box::new(self.map_step(field)?)),
            "loop" => StepKind::Loop(Box::new(self.loop_step(field)?)),
            "workflow" => StepKind::Workflow(self.sub_workflow(field)?),
            "wait" => StepKind::Wait(self.wait(field)?),
            _ => StepKind::Approval(self.approval(field)?),
        })
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
        Some(Condition::Comparison(Box::new(Comparison { expression: expression?, operator: operator?, value })))
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
            return Some(Output { value: Some(field.value.clone()), ..Output::default() });
        }
        let object = self.object(Some(field))?;
        let result = Output {
            schema: self.schema(object.get("schema")),
            capture: self.capture(object.get("capture")),
            value: object.get("value").map(|value| value.value.clone()),
        };
        self.unknown_keys(&object, &["schema", "capture", "value"]);
        Some(result)
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
pub(super) fn stand_in<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(id) => id,
        Err(_) => unreachable!("`{text}` is well formed"),
    }
}
