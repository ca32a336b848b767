//! Templates that see nothing but the input of a call: what mocks answer.

use serde_json::Value;

use super::{
    Expression, Operand, OwnField, Path, Root, Segment, Template, TextPart,
    compile::is_forbidden,
    parse::{self, Form, Parsed, Part, Piece},
};
use crate::{
    Code,
    problem::{At, Problems},
};

/// Compiles a value; parts with problems become `null`.
///
/// It recurses as deep as a document may be nested.
pub(crate) fn compile(value: &Value, at: &At<'_>, problems: &mut Problems) -> Template {
    match value {
        Value::String(text) if text.contains("${") => self::text(text, at, problems),
        Value::Array(items) => {
            let items: Vec<_> =
                items.iter().enumerate().map(|(index, item)| compile(item, &at.index(index), problems)).collect();
            if items.iter().all(Template::is_literal) {
                Template::Literal(value.clone())
            } else {
                Template::Array(items)
            }
        }
        Value::Object(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, value)| (key.clone(), compile(value, &at.key(key), problems))).collect();
            let is_literal = entries.iter().all(|(_, value)| value.is_literal());
            if is_literal { Template::Literal(value.clone()) } else { Template::Object(entries) }
        }
        literal => Template::Literal(literal.clone()),
    }
}

fn text(text: &str, at: &At<'_>, problems: &mut Problems) -> Template {
    let (parts, error) = parse::parse(text);
    if let Some(error) = error {
        let problem = problems.report(error.code, at, error.message).within(error.range);
        if let Some(help) = error.help {
            problem.help(help);
        }
    }
    let mut compiled: Vec<TextPart> = parts
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => TextPart::Text(text),
            Part::Expression(parsed) => TextPart::Expression(expression(&parsed, text, at, problems)),
        })
        .collect();
    match (compiled.len(), compiled.pop()) {
        (1, Some(TextPart::Expression(expression))) => Template::Expression(expression),
        (1, Some(TextPart::Text(text))) => Template::Literal(Value::String(text)),
        (_, last) => {
            compiled.extend(last);
            Template::Text(compiled)
        }
    }
}

fn expression(parsed: &Parsed<'_>, text: &str, at: &At<'_>, problems: &mut Problems) -> Expression {
    let last = parsed.operands.len().saturating_sub(1);
    let mut operands = Vec::with_capacity(parsed.operands.len());
    for (number, operand) in parsed.operands.iter().enumerate() {
        let written = &text[operand.range.clone()];
        match &operand.form {
            Form::Path(segments) if segments.first().is_some_and(|first| is(first, "input")) => {
                let forbidden = segments.iter().find_map(|segment| match segment {
                    Piece::Name(name) if is_forbidden(name) => Some(name),
                    _ => None,
                });
                if let Some(name) = forbidden {
                    let message = format!("`{name}` is not allowed");
                    problems.report(Code::ForbiddenName, at, message).within(operand.range.clone());
                }
                let path = Path {
                    root: Root::Own(OwnField::Input),
                    segments: segments[1..].iter().map(Segment::from).collect(),
                };
                operands.push(Operand::Path(path));
            }
            Form::Literal(value) if number == last && number > 0 => operands.push(Operand::Literal(value.clone())),
            Form::Path(_) | Form::Bare if number == last && number > 0 => {
                operands.push(Operand::Literal(Value::String(written.to_owned())));
            }
            Form::Path(_) | Form::Bare => {
                problems
                    .report(Code::UnknownName, at, format!("`{written}` is not visible in a mock"))
                    .within(operand.range.clone())
                    .help("a mock sees `input`, the input of the call");
            }
            Form::Literal(_) => {
                let message =
                    if number == 0 { "an expression begins with a path" } else { "a literal is not the last operand" };
                problems.report(Code::ExpressionSyntax, at, message).within(operand.range.clone());
            }
        }
    }
    let ranges = parsed.operands.iter().map(|operand| operand.range.clone()).collect();
    Expression { text: text[parsed.range.clone()].into(), operands, ranges }
}

fn is(segment: &Piece<'_>, expected: &str) -> bool {
    matches!(segment, Piece::Name(name) if **name == *expected)
}
