//! Compilation of every template and condition, and what they read of other steps.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    Checking,
    condition::report_jmespath,
    graph::{Edges, Order},
    policies,
    valid::{ValidInput, ValidStep},
};
use crate::{
    Code, Step, StepIndex,
    expression::{
        Path, Root, Segment, StepField, Template,
        compile::{Compiler, Reference, Target, Visible, is_forbidden},
        parse,
    },
    jmespath::JmesPath,
    json_schema::JsonValidator,
    problem::{At, Problems},
    workflow::{Capture, ExpressionSecurity, Input, StepKind},
};

/// What the compilation of one place gave.
pub(super) struct Compiled<T> {
    pub(super) value: T,
    pub(super) references: Vec<Reference>,
}

/// The most variables that are shown by reading `variables` as a whole, over all readers.
const MAX_SHOWN_CAPTURES: usize = 1_000_000;

/// Reads where steps set variables.
pub(super) fn captures<'w>(
    steps: &'w [Step],
    broken: &[bool],
    problems: &mut Problems,
) -> IndexMap<&'w str, Vec<(StepIndex, Path)>> {
    let root = At::ROOT;
    let list = root.key("steps");
    let mut captures: IndexMap<&str, Vec<(StepIndex, Path)>> = IndexMap::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(capture) = step.output.as_ref().and_then(|output| output.capture.as_ref()) else { continue };
        if broken.get(index).copied().unwrap_or(false) {
            continue;
        }
        let at = list.index(index);
        let at = at.key("output");
        let at = at.key("capture");
        let step = StepIndex(u32::try_from(index).unwrap_or(u32::MAX));
        let mut add = |name: &'w str, segments: Vec<Segment>| {
            let root = Root::Step { step, field: StepField::Output };
            captures.entry(name).or_default().push((step, Path { root, segments }));
        };
        match capture {
            Capture::Fields(names) => {
                for (index, name) in names.iter().enumerate() {
                    if check_name(name, &at.index(index), problems) {
                        add(name, vec![Segment::Name(name.as_str().into())]);
                    }
                }
            }
            Capture::Paths(paths) => {
                for (name, path) in paths {
                    let at = at.key(name);
                    if !check_name(name, &at, problems) {
                        continue;
                    }
                    match parse::path(path) {
                        Some(segments) => add(name, segments),
                        None => {
                            problems
                                .report(Code::ExpressionSyntax, at, "this is no path in the output")
                                .help("paths look like items[0].name");
                        }
                    }
                }
            }
        }
    }
    captures
}

fn check_name(name: &str, at: &At<'_>, problems: &mut Problems) -> bool {
    if is_forbidden(name) {
        problems.report(Code::ForbiddenName, at, format!("`{name}` is not allowed"));
        return false;
    }
    if name.is_empty() {
        problems.report(Code::WrongForm, at, "a variable needs a name");
        return false;
    }
    true
}

/// Compiles a step. `captured` are the captures that it sees, where they are known already.
pub(super) fn step(
    step: &Step,
    index: usize,
    visible: &Visible<'_>,
    hard: &[StepIndex],
    captured: &HashMap<&str, &Path>,
    problems: &mut Problems,
) -> Compiled<ValidStep> {
    let mut direct = hard.to_vec();
    direct.sort_unstable();
    let root = At::ROOT;
    let list = root.key("steps");
    let at = list.index(index);
    let mut compiler = Compiler {
        visible,
        dependencies: Some(&direct),
        captured,
        max_depth: ExpressionSecurity::default().max_expansion_depth as usize,
        problems,
        references: Vec::new(),
    };
    let input = match &step.kind {
        StepKind::Agent(agent) => &agent.input,
        _ => &Input::default(),
    };
    let valid_input = compiler.input(input, &at.key("input"));
    let condition = step.condition.as_ref().and_then(|condition| compiler.condition(condition, &at.key("condition")));
    let idempotency_key = step.policies.idempotency_key.as_ref().map(|key| {
        let at = at.key("policies");
        compiler.template(&Value::String(key.clone()), &at.key("idempotencyKey"))
    });
    let references = std::mem::take(&mut compiler.references);
    let output = at.key("output");
    let output_schema = step
        .output
        .as_ref()
        .and_then(|output| output.schema.as_ref())
        .and_then(|schema| compile_schema(schema, &output.key("schema"), problems));
    let own = StepIndex(u32::try_from(index).unwrap_or(u32::MAX));
    let names: Vec<&str> = match step.output.as_ref().and_then(|output| output.capture.as_ref()) {
        Some(Capture::Fields(names)) => names.iter().map(String::as_str).collect(),
        Some(Capture::Paths(paths)) => paths.keys().map(String::as_str).collect(),
        None => Vec::new(),
    };
    let captures = names
        .into_iter()
        .filter_map(|name| {
            let (_, path) = visible.captures.get(name)?.iter().find(|(step, _)| *step == own)?;
            Some((name.to_owned(), path.clone()))
        })
        .collect();
    let value = ValidStep {
        id: step.id.clone(),
        dependencies: hard.to_vec(),
        soft: Vec::new(),
        fallback: None,
        serves: None,
        condition,
        input: valid_input,
        output_schema,
        captures,
        idempotency_key,
    };
    Compiled { value, references }
}

impl Compiler<'_> {
    fn input(&mut self, input: &Input, at: &At<'_>) -> ValidInput {
        match input {
            Input::Plain(map) => {
                // A plain object that looks structured is written under `mapping`.
                let template = if Input::looks_structured(map) {
                    self.object(map, &at.key("mapping"))
                } else {
                    self.object(map, at)
                };
                ValidInput { template, max_size: Template::MAX_INPUT_SIZE, transform: None, schema: None }
            }
            Input::Structured(input) => {
                let security = input.expression_security.unwrap_or_default();
                let limits = at.key("expressionSecurity");
                if !(1..=64).contains(&security.max_expansion_depth) {
                    policies::out_of_range("1 to 64", &limits.key("maxExpansionDepth"), self.problems);
                }
                if !(1..=10_485_760).contains(&security.max_expansion_size) {
                    policies::out_of_range("1 to 10485760", &limits.key("maxExpansionSize"), self.problems);
                }
                let outer = std::mem::replace(&mut self.max_depth, security.max_expansion_depth as usize);
                let mapping = at.key("mapping");
                let template = match &input.mapping {
                    Some(map) => self.object(map, &mapping),
                    None => Template::Literal(Value::Object(serde_json::Map::new())),
                };
                self.max_depth = outer;
                let transform = input.transform.as_ref().and_then(|text| {
                    let compiled = JmesPath::compile(text);
                    compiled.map_err(|error| report_jmespath(self.problems, &error, text, &at.key("transform"))).ok()
                });
                let schema =
                    input.schema.as_ref().and_then(|schema| compile_schema(schema, &at.key("schema"), self.problems));
                if let (Template::Literal(value), Some(schema), None) = (&template, &schema, &input.transform) {
                    for violation in schema.validate(value).err().into_iter().flatten() {
                        let path = format!("{mapping}{}", violation.path());
                        self.problems.report(Code::ConstantViolatesSchema, path, violation.message());
                    }
                }
                ValidInput { template, max_size: security.max_expansion_size, transform, schema }
            }
        }
    }
}

/// Compiles a JSON Schema, and reports why it cannot be.
pub(super) fn compile_schema(schema: &Value, at: &At<'_>, problems: &mut Problems) -> Option<JsonValidator> {
    match JsonValidator::compile(schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            problems.report(Code::BadSchema, format!("{at}{}", error.path()), error.to_string());
            None
        }
    }
}

/// Which captures are seen where: for each reader, the name of a variable and the step that sets it.
pub(super) type Captured = HashMap<usize, Vec<(String, StepIndex)>>;

impl Checking<'_> {
    /// Turns references to steps into soft edges, or reports them.
    pub(super) fn step_references(&mut self, references: &[(usize, Vec<Reference>)]) {
        let order = self.graph.order(Edges::Hard);
        let all = references.iter().flat_map(|(reader, list)| list.iter().map(move |reference| (*reader, reference)));
        let all: Vec<(usize, StepIndex, &Reference)> = all
            .filter_map(|(reader, reference)| match reference.target {
                Target::Step(target) => Some((reader, target, reference)),
                Target::Variable(_) | Target::Variables => None,
            })
            .collect();
        let pairs: Vec<_> = all.iter().map(|(reader, target, _)| (index(*reader), *target)).collect();
        let before = self.graph.come_before(&pairs, &order, Edges::Hard);
        for ((reader, target, reference), before) in all.into_iter().zip(before) {
            if !before {
                self.edge(reader, target, reference, None);
            }
        }
    }

    /// Adds a soft edge, or reports that the reference needs a dependency.
    fn edge(&mut self, reader: usize, target: StepIndex, reference: &Reference, variable: Option<&str>) {
        if reference.soft {
            if !self.graph.is_fallback_of(index(reader), target) {
                self.graph.soft[reader].push(target);
            }
            return;
        }
        let steps = &self.visible.workflow.steps;
        let (own, other) = (&steps[reader].id, &steps[target.get()].id);
        let what = variable.map_or_else(|| format!("`{other}`"), |name| format!("`variables.{name}` of `{other}`"));
        let problem = if target.get() == reader {
            let message = format!("`{own}` reads its own output");
            self.problems.report(Code::NotADependency, &reference.path, message).label("there is none yet")
        } else {
            let message = format!("`{own}` reads {what} without depending on it");
            self.problems
                .report(Code::NotADependency, &reference.path, message)
                .label(format!("`{other}` may not have finished yet"))
                .help(format!("add `{other}` to `dependencies` of `{own}`, or give a default with `??`"))
        };
        problem.within(reference.range.clone());
    }

    /// Decides which captures each reader sees.
    ///
    /// Those of its transitive dependencies, the last in their order; where it has none and the variable is not declared, the
    /// last one at all, and the reader waits for it.
    pub(super) fn capture_references(&mut self, references: &[(usize, Vec<Reference>)], all: &Order) -> Captured {
        let hard = self.graph.order(Edges::Hard);
        let captures = &self.visible.captures;
        let declared = &self.visible.workflow.context.variables;
        // Each question is a reader, a reference, and the captures of one name, the last one first.
        let mut questions: Vec<(usize, &Reference, &str, bool)> = Vec::new();
        for (reader, list) in references {
            for reference in list {
                match &reference.target {
                    Target::Variable(name) => questions.push((*reader, reference, name, true)),
                    Target::Variables => {
                        questions.extend(captures.keys().map(|name| (*reader, reference, *name, false)));
                    }
                    Target::Step(_) => {}
                }
            }
            if questions.len() > MAX_SHOWN_CAPTURES {
                let message = "`variables` as a whole shows too many captures";
                let path = list.first().map_or(String::new(), |reference| reference.path.clone());
                self.problems.report(Code::ExpressionLimit, path, message).help("name the variables");
                return Captured::new();
            }
        }
        let mut by_rank: HashMap<&str, Vec<StepIndex>> = HashMap::new();
        for (_, _, name, _) in &questions {
            by_rank.entry(name).or_insert_with(|| {
                let mut steps: Vec<_> = captures.get(name).into_iter().flatten().map(|(step, _)| *step).collect();
                steps.sort_by_key(|step| std::cmp::Reverse(all.rank(*step)));
                steps
            });
        }
        let nearest = self.nearest(&questions, &by_rank, &hard);
        let mut captured = Captured::new();
        for ((reader, reference, name, named), nearest) in questions.into_iter().zip(nearest) {
            let last = by_rank[name].first().copied();
            let seen = match (nearest, last) {
                (Some(step), _) => step,
                (None, Some(last)) if named && !declared.contains_key(name) => {
                    if reader < self.graph.len() {
                        self.edge(reader, last, reference, Some(name));
                    }
                    last
                }
                _ => continue,
            };
            captured.entry(reader).or_default().push((name.to_owned(), seen));
        }
        captured
    }

    /// Finds, for each question, the last of the captures that comes before the reader by dependencies alone.
    fn nearest(
        &self,
        questions: &[(usize, &Reference, &str, bool)],
        by_rank: &HashMap<&str, Vec<StepIndex>>,
        hard: &Order,
    ) -> Vec<Option<StepIndex>> {
        /// Above this, one pass over the graph answers for all readers of a name.
        const FEW: usize = 8;
        let mut nearest = vec![None; questions.len()];
        let mut pairs = Vec::new();
        let mut asked = Vec::new();
        let mut passes: HashMap<&str, Vec<Option<StepIndex>>> = HashMap::new();
        for (place, (reader, _, name, _)) in questions.iter().enumerate() {
            // Outside of steps, in the workflow's outputs, there are no dependencies.
            if *reader >= self.graph.len() {
                continue;
            }
            let steps = &by_rank[name];
            if steps.len() <= FEW {
                asked.extend(steps.iter().map(|step| (place, *step)));
                pairs.extend(steps.iter().map(|step| (index(*reader), *step)));
            } else {
                let pass = passes.entry(name).or_insert_with(|| self.graph.last_before(steps, hard));
                nearest[place] = pass[*reader];
            }
        }
        let answers = self.graph.come_before(&pairs, hard, Edges::Hard);
        for ((place, step), before) in asked.into_iter().zip(answers) {
            if before && nearest[place].is_none() {
                nearest[place] = Some(step);
            }
        }
        nearest
    }

    /// Reports steps that set the same variable at the same time.
    pub(super) fn concurrent_captures(&mut self, order: &Order) {
        let mut pairs = Vec::new();
        let mut names = Vec::new();
        for (name, list) in &self.visible.captures {
            let mut steps: Vec<_> = list.iter().map(|(step, _)| *step).collect();
            steps.sort_by_key(|step| order.rank(*step));
            steps.dedup();
            for pair in steps.windows(2) {
                pairs.push((pair[1], pair[0]));
                names.push(*name);
            }
        }
        let before = self.graph.come_before(&pairs, order, Edges::All);
        for (((a, b), name), before) in pairs.into_iter().zip(names).zip(before) {
            // A fallback and the step it stands in for never capture both.
            if before || self.graph.is_fallback_of(a, b) || self.graph.is_fallback_of(b, a) {
                continue;
            }
            let (first, second) = (a.min(b), a.max(b));
            let steps = &self.visible.workflow.steps;
            let (one, other) = (&steps[first.get()].id, &steps[second.get()].id);
            let path = format!("/steps/{}/output/capture", second.get());
            self.problems
                .report(Code::ConcurrentCaptures, path, format!("`{one}` and `{other}` both capture `{name}`"))
                .help(format!("order them: add `{one}` to `dependencies` of `{other}`"));
        }
    }
}

pub(super) fn index(place: usize) -> StepIndex {
    StepIndex(u32::try_from(place).unwrap_or(u32::MAX))
}
