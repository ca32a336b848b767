//! Compilation of conditions: which roots and steps they name, and nothing that depends on chance.

use ::jmespath::ast::Ast;

use crate::{
    Code,
    condition::{Comparison, Condition, Kind, Logic, Needs, Shown, Test},
    expression::{
        Operand, Path, Root, StepField,
        compile::{Compiler, Place, Reads},
        parse::{self, Part, Piece},
    },
    jmespath::{Chain, Fault, InvalidJmesPath, JmesPath, chain, children},
    problem::{At, Problems},
    workflow,
};

/// The most names of a chain that decide what is shown; deeper ones are picked by the condition itself.
const SHOWN_DEPTH: usize = 6;

impl Compiler<'_> {
    /// Compiles a condition that is one text: `when`, `while` and `until`.
    pub(super) fn single(&mut self, text: &str, at: &At<'_>) -> Option<Condition> {
        let if_ = Some(self.test(text, at)?);
        Some(Condition(Kind::Predicates { if_, unless: None }))
    }

    /// Compiles a condition; `None` if it has problems.
    pub(super) fn condition(&mut self, condition: &workflow::Condition, at: &At<'_>) -> Option<Condition> {
        Some(Condition(match condition {
            workflow::Condition::Predicates { if_, unless } => {
                let if_ = if_.as_ref().map(|text| self.predicate(text, "if", at));
                let unless = unless.as_ref().map(|text| self.predicate(text, "unless", at));
                if matches!(if_, Some(None)) || matches!(unless, Some(None)) {
                    return None;
                }
                Kind::Predicates { if_: if_.flatten(), unless: unless.flatten().map(Box::new) }
            }
            workflow::Condition::Comparison(comparison) => Kind::Comparison(Box::new(Comparison {
                test: self.test(&comparison.expression, &at.key("expression"))?,
                operator: comparison.operator,
                value: comparison.value.clone(),
            })),
        }))
    }

    fn predicate(&mut self, text: &str, key: &str, at: &At<'_>) -> Option<Test> {
        let at = &at.key(key);
        let test = self.test(text, at)?;
        if let Some(Ok(constant)) = test.constant() {
            let always = if constant { "is always true" } else { "can never be true" };
            self.problems
                .report(Code::ConstantCondition, at, format!("`{key}` {always}"))
                .help("in JMESPath, literals stand in backticks and names of roots are bare");
        }
        Some(test)
    }

    fn test(&mut self, text: &str, at: &At<'_>) -> Option<Test> {
        let test = if text.contains("${") { self.expression_test(text, at) } else { self.jmespath_test(text, at) }?;
        if let Some(Err(error)) = test.constant() {
            self.problems
                .report(Code::ConditionSyntax, at, format!("this always fails: {error}"))
                .help("in JMESPath, literals stand in backticks and names of roots are bare");
            return Some(test).filter(|_| self.problems.are_of_stored());
        }
        Some(test)
    }

    fn expression_test(&mut self, text: &str, at: &At<'_>) -> Option<Test> {
        let errors = self.problems.errors();
        let (parts, error) = parse::parse(text);
        if let Some(error) = error {
            self.syntax_error(error, at);
            return None;
        }
        let mut parts = parts.iter().filter(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()));
        let (Some(Part::Expression(parsed)), None) = (parts.next(), parts.next()) else {
            self.problems
                .report(Code::ConditionSyntax, at, "a condition with `${` must be exactly one expression")
                .help("write JMESPath without `${`, such as `steps.fetch.output.count > `10``");
            return None;
        };
        let expression = self.expression(parsed, text, at, Reads::Soft);
        (self.problems.errors() == errors).then_some(Test::Expression(expression))
    }

    fn jmespath_test(&mut self, text: &str, at: &At<'_>) -> Option<Test> {
        let errors = self.problems.errors();
        let quoted = Quoted::new(text);
        let path = match compile_jmespath(self.problems, &quoted.text) {
            Ok(path) => path,
            Err(mut error) => {
                error.offset = quoted.original(error.offset);
                report_jmespath(self.problems, &error, text, at);
                return None;
            }
        };
        let mut uses = Vec::new();
        let found = uses_of(path.ast(), Data::Root, &mut uses);
        if let Err((offset, message)) = found {
            let offset = quoted.original(offset).min(text.len());
            self.problems
                .report(Code::ConditionSyntax, at, message)
                .within(offset..text.len())
                .help("name roots and steps, such as `steps.fetch.output`");
            return None;
        }
        let mut shown = Vec::with_capacity(uses.len());
        for used in uses {
            self.show(used, &quoted, &mut shown, at);
        }
        self.check_nodes(path.ast(), at);
        if self.problems.errors() > errors {
            return None;
        }
        Some(match Logic::of(path.ast(), &shown) {
            Some(logic) => Test::Logic { text: path.into_text(), logic },
            None => {
                let needs = Needs::of(shown);
                Test::JmesPath(Box::new((path, needs)))
            }
        })
    }

    /// Notes what one chain of names shows.
    fn show<'a>(&mut self, used: Chain<'a>, quoted: &Quoted, shown: &mut Vec<Shown<'a>>, at: &At<'_>) {
        let range = quoted.range_of(&used);
        let place = Place { path: at, range: range.clone(), whole: range };
        let mut names = used.names;
        names.truncate(SHOWN_DEPTH);
        let pieces: Vec<_> = names.iter().map(|name| Piece::Name((*name).into())).collect();
        match &*names {
            ["steps"] => {
                self.problems
                    .report(Code::ConditionSyntax, at, "`steps` may only stand as `steps.<id>`")
                    .within(place.range)
                    .help("what it shows would depend on which step finished first");
            }
            ["steps", id] => {
                for field in StepField::ALL {
                    let path = [&*pieces, &[Piece::Name(field.as_str().into())]].concat();
                    let operand = if field == StepField::Output {
                        // One reference is enough for the graph.
                        self.read(&path, &place, true)
                    } else {
                        let step = self.names.ids.get(id).copied();
                        step.map(|step| Operand::Path(Path { root: Root::Step { step, field }, segments: Vec::new() }))
                    };
                    if let Some(operand) = operand {
                        shown.push(Shown { names: vec!["steps", id, field.as_str()], operand });
                    }
                }
            }
            [_, ..] => {
                if let Some(operand) = self.read(&pieces, &place, true) {
                    shown.push(Shown { names, operand });
                }
            }
            [] => {}
        }
    }

    fn check_nodes(&mut self, ast: &Ast, at: &At<'_>) {
        let mut todo = vec![ast];
        while let Some(node) = todo.pop() {
            if matches!(node, Ast::Subexpr { lhs, .. } if matches!(**lhs, Ast::Not { .. })) {
                self.problems
                    .report(Code::ConstantCondition, at, "`!a.b` means `(!a).b`, which is always null")
                    .help("write `!(a.b)`");
            }
            if let Ast::Field { name, .. } = node
                && crate::expression::compile::is_forbidden(name)
            {
                self.problems.report(Code::ForbiddenName, at, format!("`{name}` is not allowed"));
            }
            children(node, |child| todo.push(child));
        }
    }
}

/// Compiles a text; what was validated before may call functions in ways that are errors by now.
pub(crate) fn compile_jmespath(problems: &Problems, text: &str) -> Result<JmesPath, InvalidJmesPath> {
    if problems.are_of_stored() { JmesPath::parse(text) } else { JmesPath::compile(text) }
}

/// Reports why a text is no JMESPath.
pub(crate) fn report_jmespath(problems: &mut Problems, error: &InvalidJmesPath, text: &str, at: &At<'_>) {
    let (code, help) = match error.fault {
        Fault::Syntax => (Code::ConditionSyntax, None),
        Fault::Call => (Code::ConditionSyntax, Some("jmespath.org says what each function takes")),
        Fault::Function => (Code::UnknownFunction, Some("the functions are those of jmespath.org")),
        Fault::Limit => (Code::ExpressionLimit, None),
    };
    let start = error.offset.min(text.len().saturating_sub(1));
    let message = match error.fault {
        Fault::Syntax => format!("not valid JMESPath: {}", error.message),
        Fault::Function | Fault::Call | Fault::Limit => error.message.clone(),
    };
    let problem = problems.report(code, at, message).within(start..text.len());
    if let Some(help) = help {
        problem.help(help);
    }
}

/// Returns where in a condition the root `steps` begins a chain of names, in bytes; none of a text that is no condition.
pub(crate) fn step_chains(text: &str) -> Vec<usize> {
    let quoted = Quoted::new(text);
    let Ok(path) = JmesPath::compile(&quoted.text) else { return Vec::new() };
    let mut uses = Vec::new();
    if uses_of(path.ast(), Data::Root, &mut uses).is_err() {
        return Vec::new();
    }
    let of_steps = uses.iter().filter(|used| matches!(*used.names, ["steps", _, ..]));
    of_steps.map(|used| quoted.original(used.offset)).collect()
}

/// What a node of a condition is evaluated on.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    /// The object of all roots.
    Root,
    /// Something picked from it.
    Part,
}

/// Collects the chains of names that begin at the root; fails where the root as a whole is asked for.
fn uses_of<'a>(node: &'a Ast, data: Data, uses: &mut Vec<Chain<'a>>) -> Result<(), (usize, String)> {
    // Chains lean to the left and may be long, so they are walked without recursion.
    let mut node = node;
    loop {
        if data == Data::Root
            && let Some(used) = chain(node)
        {
            uses.push(used);
            return Ok(());
        }
        match node {
            Ast::Identity { offset } if data == Data::Root => {
                let message = "`@` and `*` at the root show more than is known to be there";
                return Err((*offset, message.to_owned()));
            }
            Ast::Subexpr { lhs, rhs, .. } | Ast::Projection { lhs, rhs, .. } => {
                uses_of(rhs, Data::Part, uses)?;
                node = lhs;
            }
            Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } | Ast::Comparison { lhs, rhs, .. } => {
                uses_of(rhs, data, uses)?;
                node = lhs;
            }
            Ast::Flatten { node: inner, .. } | Ast::ObjectValues { node: inner, .. } | Ast::Not { node: inner, .. } => {
                node = inner;
            }
            // An expression reference is evaluated on the elements of a list.
            Ast::Expref { ast, .. } => return uses_of(ast, Data::Part, uses),
            other => {
                let mut result = Ok(());
                children(other, |child| {
                    if result.is_ok() {
                        result = uses_of(child, data, uses);
                    }
                });
                return result;
            }
        }
    }
}

/// A condition in which ids behind `steps.` are quoted where JMESPath needs it.
pub(super) struct Quoted {
    text: String,
    /// Offsets in the original at which a quote was put in.
    inserted: Vec<usize>,
}

impl Quoted {
    pub(super) fn new(original: &str) -> Self {
        let mut text = String::with_capacity(original.len() + 8);
        let mut inserted = Vec::new();
        let bytes = original.as_bytes();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut copied = 0;
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                quote @ (b'\'' | b'"' | b'`') => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != quote {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    at += 1;
                }
                byte if is_word(byte) => {
                    let start = at;
                    while at < bytes.len() && is_word(bytes[at]) {
                        at += 1;
                    }
                    let is_root = start == 0 || bytes[start - 1] != b'.';
                    if is_root && &bytes[start..at] == b"steps" && bytes.get(at) == Some(&b'.') {
                        let id = at + 1;
                        let mut end = id;
                        while end < bytes.len() && (is_word(bytes[end]) || bytes[end] == b'-') {
                            end += 1;
                        }
                        let needs_quotes = original[id..end].contains('-')
                            || original[id..end].starts_with(|c: char| c.is_ascii_digit());
                        if needs_quotes {
                            text.push_str(&original[copied..id]);
                            text.push('"');
                            text.push_str(&original[id..end]);
                            text.push('"');
                            inserted.extend([id, end]);
                            copied = end;
                        }
                        at = end;
                    }
                }
                _ => at += 1,
            }
        }
        text.push_str(original.get(copied..).unwrap_or_default());
        Self { text, inserted }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Converts an offset in the quoted text to one in the original.
    pub(super) fn original(&self, offset: usize) -> usize {
        let before = self.inserted.iter().enumerate().take_while(|(index, at)| **at + index < offset).count();
        offset - before
    }

    fn range_of(&self, used: &Chain<'_>) -> std::ops::Range<usize> {
        let start = self.original(used.offset);
        // Spaces and quotes in the chain make this too short, never wrong.
        let length = used.names.iter().map(|name| name.len() + 1).sum::<usize>() - 1;
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn only_ids_behind_steps_are_quoted() {
        let table = [
            ("steps.web-search.status", "steps.\"web-search\".status"),
            ("steps.1st.output > `1`", "steps.\"1st\".output > `1`"),
            ("inputs.steps.web-search", "inputs.steps.web-search"),
            ("'steps.a-b' == steps.a_b.status", "'steps.a-b' == steps.a_b.status"),
            (
                "length(steps.a-b.output) > `0` && steps.c-d.status",
                "length(steps.\"a-b\".output) > `0` && steps.\"c-d\".status",
            ),
        ];
        for (original, quoted) in table {
            assert_eq!(Quoted::new(original).text, quoted);
        }
        let quoted = Quoted::new("steps.a-b.x > steps.c-d.y");
        let at = quoted.text.find('>').unwrap();
        assert_eq!(quoted.original(at), "steps.a-b.x > steps.c-d.y".find('>').unwrap());
    }
}
