//! `<variable name="…"/>`: what a template is given, and what that may be.

use std::{fmt, ops::RangeInclusive};

use roxmltree::Node;
use serde_json::{Number, Value};

use super::wrong;
use crate::AgentError;

/// A variable of a template.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    is_required: bool,
    default: Option<Value>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A text of so many characters; other JSON than a text counts as its JSON.
    Text {
        least: usize,
        most: usize,
    },
    Number {
        least: f64,
        most: f64,
        is_whole: bool,
    },
}

/// Reads the definitions.
pub(super) fn definitions(
    part: Node<'_, '_>,
    line_of: &impl Fn(Node<'_, '_>) -> usize,
) -> Result<Vec<Variable>, AgentError> {
    let mut found: Vec<Variable> = Vec::new();
    for node in part.children().filter(Node::is_element) {
        let variable = Variable::read(node).map_err(|message| wrong(line_of(node), message))?;
        if found.iter().any(|known| known.name == variable.name) {
            return Err(wrong(line_of(node), format!("there is a variable `{}` already", variable.name)));
        }
        found.push(variable);
    }
    Ok(found)
}

impl Variable {
    /// What a variable of this name is where nothing is declared.
    fn known(name: &str) -> Self {
        let (is_required, default, kind) = match name {
            "research_query" => (true, None, Kind::Text { least: 10, most: 500 }),
            "max_sources" => (false, Some(20.into()), Kind::Number { least: 5.0, most: 50.0, is_whole: true }),
            "credibility_threshold" => {
                (false, Some(0.7.into()), Kind::Number { least: 0.5, most: 1.0, is_whole: false })
            }
            _ => (false, None, Kind::Text { least: 0, most: usize::MAX }),
        };
        Self { name: name.to_owned(), is_required, default, kind }
    }

    fn read(node: Node<'_, '_>) -> Result<Self, String> {
        const ATTRIBUTES: [&str; 7] = ["name", "required", "default", "minimum", "maximum", "min_length", "max_length"];

        if let Some(unknown) = node.attributes().find(|attribute| !ATTRIBUTES.contains(&attribute.name())) {
            return Err(format!("a variable has {}, and no `{}`", ATTRIBUTES.join(", "), unknown.name()));
        }
        let name = node.attribute("name").filter(|name| !name.is_empty()).ok_or("the variable has no `name`")?;
        let mut variable = Self::known(name);
        match node.attribute("required") {
            None => {}
            Some("true") => variable.is_required = true,
            Some("false") => variable.is_required = false,
            Some(other) => return Err(format!("`required` of `{name}` is true or false, not `{other}`")),
        }
        variable.kind = variable.kind.with(node, name)?;
        if let Some(default) = node.attribute("default") {
            variable.default = Some(match variable.kind {
                Kind::Text { .. } => default.into(),
                Kind::Number { .. } => Value::Number(default.parse().map_err(|_| none(name, "default", default))?),
            });
        }
        if let Some(default) = &variable.default {
            variable.check(default).map_err(|why| format!("the default of `{name}`: {why}"))?;
        }
        Ok(variable)
    }

    /// Returns what the variable stands for: what is given, else its default, else nothing.
    pub(super) fn value(&self, given: Option<&Value>) -> Result<Value, AgentError> {
        match given.filter(|value| !value.is_null()) {
            Some(value) => {
                let checked = self.check(value);
                checked.map_err(|why| AgentError::validation(format!("`{}` of the template: {why}", self.name)))?;
                Ok(value.clone())
            }
            None if self.is_required && self.default.is_none() => {
                Err(AgentError::validation(format!("`{}` of the template is missing", self.name)))
            }
            None => Ok(self.default.clone().unwrap_or_else(|| "".into())),
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        match self.kind {
            Kind::Text { least, most } => {
                let length =
                    value.as_str().map_or_else(|| value.to_string().chars().count(), |text| text.chars().count());
                match length {
                    short if short < least => Err(format!("{short} characters are fewer than {least}")),
                    long if long > most => Err(format!("{long} characters are more than {most}")),
                    _ => Ok(()),
                }
            }
            Kind::Number { least, most, is_whole } => {
                let number = value.as_number().and_then(Number::as_f64);
                let number = number.ok_or_else(|| format!("{value} is no number"))?;
                if is_whole && number.fract() != 0.0 {
                    return Err(format!("{value} is no whole number"));
                }
                if number < least || number > most {
                    return Err(format!("{value} is not {}", Between(least..=most)));
                }
                Ok(())
            }
        }
    }
}

impl Kind {
    /// The same with the bounds that are declared.
    fn with(self, node: Node<'_, '_>, name: &str) -> Result<Self, String> {
        let number = |attribute: &str| {
            node.attribute(attribute)
                .map(|text| {
                    text.parse::<f64>()
                        .ok()
                        .filter(|number| number.is_finite())
                        .ok_or_else(|| none(name, attribute, text))
                })
                .transpose()
        };
        let length = |attribute: &str| {
            node.attribute(attribute)
                .map(|text| text.parse::<usize>().map_err(|_| none(name, attribute, text)))
                .transpose()
        };
        let (minimum, maximum) = (number("minimum")?, number("maximum")?);
        let (shortest, longest) = (length("min_length")?, length("max_length")?);
        let (has_numbers, has_lengths) = (minimum.or(maximum).is_some(), shortest.or(longest).is_some());
        let kind = match self {
            _ if has_numbers && has_lengths => {
                return Err(format!("`{name}` is either a text with lengths or a number with bounds"));
            }
            Self::Number { .. } if has_lengths => return Err(format!("`{name}` is a number, and has no length")),
            Self::Number { least, most, is_whole } => {
                Self::Number { least: minimum.unwrap_or(least), most: maximum.unwrap_or(most), is_whole }
            }
            Self::Text { .. } if has_numbers => Self::Number {
                least: minimum.unwrap_or(f64::NEG_INFINITY),
                most: maximum.unwrap_or(f64::INFINITY),
                is_whole: false,
            },
            Self::Text { least, most } => {
                Self::Text { least: shortest.unwrap_or(least), most: longest.unwrap_or(most) }
            }
        };
        let is_empty = match kind {
            Self::Text { least, most } => least > most,
            Self::Number { least, most, .. } => least > most,
        };
        if is_empty { Err(format!("nothing is within the bounds of `{name}`")) } else { Ok(kind) }
    }
}

fn none(name: &str, attribute: &str, text: &str) -> String {
    format!("`{attribute}` of `{name}` is a number, not `{text}`")
}

/// Bounds for people.
struct Between(RangeInclusive<f64>);

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (least, most) if most.is_infinite() => write!(f, "{least} or more"),
            (least, most) if least.is_infinite() => write!(f, "{most} or less"),
            (least, most) => write!(f, "between {least} and {most}"),
        }
    }
}
