//! Steps that hold steps, and sub-workflows.

use serde_json::Value;

use super::{Field, Object, Reader};
use crate::{
    Code, Step,
    workflow::{
        Accumulator, BranchStep, Case, DefaultCase, Join, LoopCondition, LoopStep, MapStep, OnItemError, OnLimit,
        ParallelStep, WorkflowStep,
    },
};

const CONDITION: &str = "JMESPath, such as \"inputs.amount > `1000`\"";

impl Reader<'_> {
    /// Reads the steps of a composite, which must be there.
    fn body(&mut self, object: &Object<'_>) -> Option<Vec<Step>> {
        let list = self.required(object, "steps", "a list of steps")?;
        Some(self.steps(Some(list)))
    }

    pub(super) fn parallel(&mut self, field: Field<'_>) -> Option<ParallelStep> {
        if field.value.is_array() {
            self.mismatch(field, "an object").help("`parallel: {steps: […]}`");
            return None;
        }
        let object = self.object(Some(field))?;
        let steps = self.body(&object);
        let join = object.get("join").and_then(|join| self.join(join));
        let cancel_remaining = self.boolean(object.get("cancelRemaining"));
        self.unknown_keys(&object, &["steps", "join", "cancelRemaining"]);
        Some(ParallelStep {
            steps: steps?,
            join: join.unwrap_or_default(),
            cancel_remaining: cancel_remaining.unwrap_or(true),
        })
    }

    fn join(&mut self, field: Field<'_>) -> Option<Join> {
        match field.value {
            Value::Object(_) => {
                let object = self.object(Some(field))?;
                let count = self.required(&object, "atLeast", "how many steps must complete");
                let count = self.integer(count);
                self.unknown_keys(&object, &["atLeast"]);
                count.map(Join::AtLeast)
            }
            Value::String(_) => self.choice(Some(field), &[("all", Join::All), ("any", Join::Any)]),
            _ => {
                self.mismatch(field, "`all`, `any` or `{atLeast: n}`");
                None
            }
        }
    }

    pub(super) fn branch(&mut self, field: Field<'_>) -> Option<BranchStep> {
        let object = self.object(Some(field))?;
        let list = self.required(&object, "cases", "a list of `{when, steps}`");
        let list = self.list(list);
        let cases = list.map(|list| list.items().filter_map(|item| self.case(item)).collect());
        let default = self.object(object.get("default")).and_then(|default| {
            let steps = self.body(&default);
            self.unknown_keys(&default, &["steps"]);
            steps.map(DefaultCase::new)
        });
        self.unknown_keys(&object, &["cases", "default"]);
        Some(BranchStep { cases: cases?, default })
    }

    fn case(&mut self, item: Field<'_>) -> Option<Case> {
        let case = self.object(Some(Field { name: "", ..item }))?;
        let name = self.owned(case.get("name"));
        let when = self.required(&case, "when", CONDITION);
        let when = self.owned(when);
        let steps = self.body(&case);
        self.unknown_keys(&case, &["name", "when", "steps"]);
        // A stand-in for the condition keeps the steps, to which others may refer.
        Some(Case { name, when: when.unwrap_or_default(), steps: steps? })
    }

    pub(super) fn map_step(&mut self, field: Field<'_>) -> Option<MapStep> {
        let object = self.object(Some(field))?;
        let items = self.required(&object, "items", "a template giving a list, such as \"${inputs.files}\"");
        if let Some(items) = items.filter(|items| match items.value {
            Value::Array(_) => false,
            Value::String(text) => !text.contains("${"),
            _ => true,
        }) {
            self.mismatch(items, "a list");
        }
        let items = template(items);
        let name = "a letter or `_`, then letters, digits, `_` and `-`";
        let item = self.parse(object.get("as"), "name for an item", name);
        let index = self.parse(object.get("indexAs"), "name for an index", name);
        let key = template(object.get("key"));
        let concurrency = self.integer(object.get("concurrency"));
        let steps = self.body(&object);
        let output = template(object.get("output"));
        let on_item_error = self.choice(
            object.get("onItemError"),
            &[("fail", OnItemError::Fail), ("continue", OnItemError::Continue), ("skip", OnItemError::Skip)],
        );
        let accumulator = self.object(object.get("accumulator")).and_then(|object| {
            let init = template(object.get("init")).unwrap_or_default();
            let value = self.required(&object, "value", "a template of the next value");
            let value = template(value);
            self.unknown_keys(&object, &["init", "value"]);
            Some(Accumulator::new(init, value?))
        });
        let max_items = self.integer(object.get("maxItems"));
        let known = [
            "items",
            "as",
            "indexAs",
            "key",
            "concurrency",
            "steps",
            "output",
            "onItemError",
            "accumulator",
            "maxItems",
        ];
        self.unknown_keys(&object, &known);
        let mut result = MapStep::new(items.unwrap_or_default(), steps?);
        result.item = item.unwrap_or(result.item);
        result.index = index.unwrap_or(result.index);
        result.key = key;
        result.concurrency = concurrency.unwrap_or(result.concurrency);
        result.output = output;
        result.on_item_error = on_item_error.unwrap_or_default();
        result.accumulator = accumulator;
        result.max_items = max_items.unwrap_or(result.max_items);
        Some(result)
    }

    pub(super) fn loop_step(&mut self, field: Field<'_>) -> Option<LoopStep> {
        let object = self.object(Some(field))?;
        let condition = match (object.get("while"), object.get("until")) {
            (Some(text), None) => self.owned(Some(text)).map(LoopCondition::While),
            (None, Some(text)) => self.owned(Some(text)).map(LoopCondition::Until),
            (None, None) => {
                self.problems
                    .report(Code::Missing, object.at, "`loop` needs `while` or `until`")
                    .help("`while` is checked before an iteration, `until` after it");
                None
            }
            (Some(_), Some(until)) => {
                self.problems
                    .report(Code::WrongForm, until.at, "loop has both `while` and `until`")
                    .on_key()
                    .help("keep one");
                None
            }
        };
        let max_iterations = self.required(&object, "maxIterations", "1 to 10000");
        let max_iterations = self.integer(max_iterations);
        let steps = self.body(&object);
        let init = template(object.get("init"));
        let value = template(object.get("value"));
        let delay = self.duration(object.get("delay"));
        let on_limit = self.choice(object.get("onLimit"), &[("fail", OnLimit::Fail), ("accept", OnLimit::Accept)]);
        self.unknown_keys(&object, &["while", "until", "maxIterations", "steps", "init", "value", "delay", "onLimit"]);
        // Stand-ins keep the steps, to which others may refer.
        let condition = condition.unwrap_or_else(|| LoopCondition::While(String::new()));
        let mut result = LoopStep::new(condition, max_iterations.unwrap_or(1), steps?);
        result.init = init.unwrap_or_default();
        result.value = value;
        result.delay = delay.unwrap_or_default();
        result.on_limit = on_limit.unwrap_or_default();
        Some(result)
    }

    pub(super) fn sub_workflow(&mut self, field: Field<'_>) -> Option<WorkflowStep> {
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`workflow: {ref: …}`");
            return None;
        }
        let object = self.object(Some(field))?;
        let reference = self.required(&object, "ref", "a path such as ./child.yaml, or the id of a workflow");
        let reference = self.owned(reference);
        let input = self.object_template(object.get("input"));
        self.unknown_keys(&object, &["ref", "input"]);
        Some(WorkflowStep { reference: reference?, input })
    }
}

fn template(field: Option<Field<'_>>) -> Option<Value> {
    field.map(|field| field.value.clone())
}
