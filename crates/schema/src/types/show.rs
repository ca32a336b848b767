//! Types as people read them.

use std::fmt;

use super::{Kind, Lazy, ObjectShape, Rest, Shape, Type, Work};

/// The most alternatives and properties that are written out.
const MAX_SHOWN: usize = 4;
/// The longest constant that is written out.
const MAX_CONSTANT: usize = 40;
/// How deep a type is written out.
const MAX_DEPTH: usize = 2;

/// Writes the type in a few words, such as `string or null`, `{name, age?}` or `array of number`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, MAX_DEPTH)
    }
}

impl Type {
    fn show(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let known = match &self.0 {
            Kind::Any => return f.write_str("anything"),
            Kind::Unknown(_) => return f.write_str("unknown"),
            Kind::Known(known) => known,
        };
        if known.shapes.is_empty() {
            return f.write_str("nothing");
        }
        for (index, shape) in known.shapes.iter().take(MAX_SHOWN).enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            shape.show(f, depth)?;
        }
        if known.shapes.len() > MAX_SHOWN {
            write!(f, " or {} more", known.shapes.len() - MAX_SHOWN)?;
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, MAX_DEPTH)
    }
}

impl Shape {
    fn show(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean => f.write_str("boolean"),
            Self::Number { integer: true, .. } => f.write_str("integer"),
            Self::Number { integer: false, .. } => f.write_str("number"),
            Self::Text(_) => f.write_str("string"),
            Self::Constant { value, .. } => {
                let text = value.to_string();
                match text.char_indices().nth(MAX_CONSTANT) {
                    Some((end, _)) => write!(f, "{}…", &text[..end]),
                    None => f.write_str(&text),
                }
            }
            Self::Array(array) if depth == 0 || (array.prefix.is_empty() && array.rest.is_none()) => {
                f.write_str("array")
            }
            Self::Array(array) => match (&array.prefix[..], &array.rest) {
                ([], Some(rest)) if matches!(rest.get(&mut Work::default()).0, Kind::Any) => f.write_str("array"),
                ([], Some(rest)) => {
                    f.write_str("array of ")?;
                    rest.get(&mut Work::default()).show(f, depth - 1)
                }
                (prefix, _) => {
                    f.write_str("[")?;
                    for (index, item) in prefix.iter().take(MAX_SHOWN).enumerate() {
                        if index > 0 {
                            f.write_str(", ")?;
                        }
                        item.get(&mut Work::default()).show(f, 0)?;
                    }
                    f.write_str(if prefix.len() > MAX_SHOWN || array.rest.is_some() { ", …]" } else { "]" })
                }
            },
            Self::Object(object) => object.show(f),
        }
    }
}

impl ObjectShape {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fields.is_empty() {
            return f.write_str("object");
        }
        f.write_str("{")?;
        for (index, (name, field)) in self.fields.iter().take(MAX_SHOWN).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
            if !field.required {
                f.write_str("?")?;
            }
        }
        let open: Option<&Lazy> = match &self.rest {
            Rest::Of(rest) => Some(rest),
            Rest::Nothing | Rest::Undeclared => None,
        };
        f.write_str(if self.fields.len() > MAX_SHOWN || open.is_some() { ", …}" } else { "}" })
    }
}
