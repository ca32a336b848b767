//! Random workflows of every kind of step.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What a random workflow may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shapes {
    /// Groups that end before all of their steps have.
    pub(crate) early_joins: bool,
    /// Failures that are not fatal.
    pub(crate) tolerance: bool,
    /// Compensation after a failure.
    pub(crate) undoing: bool,
    /// One in so many has limits on tokens and steps; none if absent.
    pub(crate) budgets: Option<usize>,
}

/// Random workflows; a shorter list of choices gives a simpler one.
pub(crate) fn workflows(shapes: Shapes) -> impl Strategy<Value = Value> {
    (prop::collection::vec(any::<u8>(), 1..100), any::<bool>(), any::<bool>()).prop_map(
        move |(choices, stop, propagate)| {
            let mut builder = Builder { choices, at: 0, names: 0, shapes, children: Map::new() };
            let hooks = builder.workflow_hooks();
            let budget = builder.budget();
            let steps = builder.scope(0);
            // A child is found under its own id.
            let references: Map<_, _> = builder.children.keys().map(|id| (id.clone(), json!(id))).collect();
            json!({
                "version": "1.0.0",
                "metadata": { "id": "random", "name": "Random" },
                "steps": steps,
                "hooks": hooks,
                "policies": {
                    "onFailure": if stop || !shapes.tolerance { "stop" } else { "continue" },
                    "compensation": { "onFailure": shapes.undoing },
                    "cancellation": { "propagate": propagate },
                    "timeout": { "global": 3_600_000 },
                    "budget": budget
                },
                "x-workflows": builder.children,
                "x-references": references
            })
        },
    )
}

struct Builder {
    choices: Vec<u8>,
    at: usize,
    names: u32,
    shapes: Shapes,
    /// The workflows that steps run, by id.
    children: Map<String, Value>,
}

impl Builder {
    /// Takes a choice below a number; without any left, the first.
    fn choose(&mut self, count: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % count
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("s{}", self.names)
    }

    fn scope(&mut self, depth: usize) -> Vec<Value> {
        let count = 1 + self.choose(if depth == 0 { 6 } else { 4 });
        let mut steps: Vec<Value> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for _ in 0..count {
            let mut step = self.step(depth, &names);
            let name = step["id"].as_str().expect("named").to_owned();
            if self.choose(6) == 5 && self.shapes.tolerance {
                let fallback = self.name();
                step["onError"] = json!("fallback");
                step["fallbackStepId"] = json!(fallback);
                let mut stand_in = json!({ "id": fallback, "agent": { "id": "@test/any" } });
                if let Some(earlier) = names.first().filter(|_| self.choices.len().is_multiple_of(2)) {
                    stand_in["dependencies"] = json!([earlier]);
                }
                steps.push(stand_in);
            }
            steps.push(step);
            names.push(name);
        }
        steps
    }

    fn step(&mut self, depth: usize, earlier: &[String]) -> Value {
        let name = self.name();
        let mut step = json!({ "id": name });
        let mut hard = Vec::new();
        let mut soft = Vec::new();
        for other in earlier {
            match self.choose(5) {
                2 | 3 => hard.push(other.clone()),
                4 => soft.push(other.clone()),
                _ => {}
            }
        }
        let kinds = if depth < 2 { 15 } else { 8 };
        let kind = self.choose(kinds);
        let (key, value) = match kind {
            0..=2 => ("agent", json!({ "id": "@test/any" })),
            3 => ("tool", json!({ "name": "any" })),
            5 => ("wait", json!({ "duration": "5s" })),
            4 | 6 => ("wait", json!({ "signal": "go", "timeout": "1m" })),
            7 => {
                let on_timeout = [json!("fail"), json!("reject"), json!({ "answer": {} })];
                let on_timeout = on_timeout[self.choose(3)].clone();
                ("approval", json!({ "prompt": "Shall it?", "timeout": "1m", "onTimeout": on_timeout }))
            }
            8 => ("parallel", self.parallel(depth)),
            9 => ("branch", self.branch(depth)),
            10..=12 => ("map", self.map(depth)),
            13 => ("loop", self.looped(depth, &name)),
            _ => ("workflow", self.child(depth)),
        };
        step[key] = value;
        let calls = matches!(key, "agent" | "tool");
        if calls {
            let input: Map<_, _> = soft
                .iter()
                .map(|other| (other.clone(), json!(format!("${{steps.{other}.output ?? null}}"))))
                .chain(hard.iter().map(|other| (other.clone(), json!(format!("${{steps.{other}.status}}")))))
                .collect();
            match key {
                "tool" => step["tool"]["arguments"] = Value::Object(input),
                _ => step["input"] = Value::Object(input),
            }
        } else if let Some(other) = soft.first() {
            step["condition"] = json!({ "if": format!("steps.{other}.status != 'skipped'") });
        }
        if !hard.is_empty() {
            step["dependencies"] = json!(hard);
        }
        match self.choose(6) {
            4 if self.shapes.tolerance => step["onError"] = json!("continue"),
            5 if calls => step["onError"] = json!("retry"),
            _ => {}
        }
        if calls && self.choose(4) != 3 {
            let on = ["completed", "attempt"][self.choose(2)];
            let input = json!({ "of": "${self.stepPath}", "output": "${self.output.step ?? null}" });
            step["compensate"] = json!({ "agent": { "id": "@test/any" }, "input": input, "on": on });
        }
        if self.choose(5) == 4 {
            step["hooks"] = self.hooks(&["before", "after", "onError"]);
        }
        if self.choose(5) == 4 {
            step["policies"] = json!({ "deadline": 60_000 });
        }
        if step.get("condition").is_none() && self.choose(6) == 5 {
            step["condition"] = json!({ "if": "inputs.no" });
        }
        step
    }

    /// Limits that are reached now and then.
    fn budget(&mut self) -> Value {
        let Some(one_in) = self.shapes.budgets else { return Value::Null };
        if self.choose(one_in) + 1 != one_in {
            return Value::Null;
        }
        let tokens = 10 + 10 * self.choose(12);
        match self.choose(3) {
            0 => json!({ "maxTokens": tokens }),
            1 => json!({ "maxSteps": 1 + self.choose(12) }),
            _ => json!({ "maxTokens": tokens, "maxSteps": 4 + self.choose(12) }),
        }
    }

    /// A workflow of its own, which sees nothing of what is around it but its input.
    fn child(&mut self, depth: usize) -> Value {
        let id = self.name();
        let steps = self.scope(depth + 1);
        let document = json!({
            "version": "1.0.0",
            "metadata": { "id": id, "name": "Child" },
            "inputs": { "properties": { "yes": { "type": "boolean" }, "no": { "type": "boolean" } } },
            "steps": steps,
            // Whether its steps are undone is for itself to say.
            "policies": { "compensation": { "onFailure": self.shapes.undoing } }
        });
        self.children.insert(id.clone(), document);
        json!({ "ref": id, "input": { "yes": true, "no": false } })
    }

    fn workflow_hooks(&mut self) -> Value {
        match self.choose(3) {
            2 => self.hooks(&[
                "beforeExecution",
                "afterExecution",
                "onError",
                "onCancel",
                "beforeStep",
                "afterStep",
                "onStepError",
            ]),
            _ => json!({}),
        }
    }

    /// Hooks at some of these points.
    fn hooks(&mut self, points: &[&str]) -> Value {
        let mut hooks = Map::new();
        for point in points {
            let mut list = vec![json!({ "agent": { "id": "@test/any" } }); self.choose(3)];
            if point.starts_with("before")
                && let Some(last) = list.last_mut()
            {
                last["mode"] = json!("guard");
            }
            if let Some(first) = list.first_mut().filter(|_| self.choose(4) == 3) {
                // There is no error before an end, so this has no value at some points.
                first["input"] = json!({ "point": "${self.point}", "of": "${self.input.replaced}" });
            }
            if !list.is_empty() {
                hooks.insert((*point).to_owned(), json!(list));
            }
        }
        Value::Object(hooks)
    }

    fn parallel(&mut self, depth: usize) -> Value {
        let steps = self.scope(depth + 1);
        let mut group = json!({ "steps": steps });
        if self.shapes.early_joins {
            match self.choose(4) {
                1 => group["join"] = json!("any"),
                2 => group["join"] = json!({ "atLeast": 1 }),
                _ => {}
            }
            if group.get("join").is_some() && self.choose(2) == 1 {
                group["cancelRemaining"] = json!(false);
            }
        }
        group
    }

    fn branch(&mut self, depth: usize) -> Value {
        let first = self.scope(depth + 1);
        let second = self.scope(depth + 1);
        let when = ["inputs.yes", "inputs.no"][self.choose(2)];
        let mut branch = json!({ "cases": [
            { "name": "first", "when": "inputs.no && inputs.yes", "steps": first },
            { "when": when, "steps": second }
        ]});
        if self.choose(2) == 1 {
            branch["default"] = json!({ "steps": [] });
        }
        branch
    }

    fn map(&mut self, depth: usize) -> Value {
        let steps = self.scope(depth + 1);
        let item = format!("item{}", self.names);
        let index = format!("index{}", self.names);
        let items: Vec<_> = (0..4 - self.choose(5)).collect();
        let mut map = json!({
            "items": items,
            "as": item,
            "indexAs": index,
            "steps": steps,
        });
        let on_item_error = ["fail", "continue", "skip"][self.choose(3)];
        map["onItemError"] = json!(if self.shapes.tolerance { on_item_error } else { "fail" });
        let concurrency = 1 + self.choose(3);
        map["concurrency"] = json!(concurrency);
        if self.choose(3) == 2 {
            map["key"] = json!(format!("k${{{item}}}"));
        }
        match self.choose(3) {
            1 => {
                let value = format!("${{accumulator ?? 0}}-${{{index}}}");
                map["accumulator"] = json!({ "init": "none", "value": value });
            }
            2 => {}
            // Numbers have no parts.
            _ if self.choose(6) == 5 => map["output"] = json!({ "of": format!("${{{item}.part}}") }),
            _ => map["output"] = json!({ "of": format!("${{{item}}}") }),
        }
        map
    }

    fn looped(&mut self, depth: usize, name: &str) -> Value {
        let steps = self.scope(depth + 1);
        let mut looped = json!({
            "maxIterations": 1 + self.choose(3),
            "steps": steps,
            "init": name,
            "value": "${loop.value}+",
        });
        looped["onLimit"] = json!(["fail", "accept"][self.choose(2)]);
        if self.choose(2) == 0 {
            looped["until"] = json!("loop.index >= `1`");
        } else {
            looped["while"] = json!("loop.index < `2`");
        }
        if self.choose(4) == 3 {
            looped["delay"] = json!("1s");
        }
        looped
    }
}
