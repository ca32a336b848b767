//! Whether two types have no value in common.

use super::{Kind, Lazy, ObjectShape, Rest, Shape, Type, Work, same};

impl Type {
    /// Whether it is seen that no value belongs to both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.is_disjoint(other, &mut Work::default())
    }

    pub(super) fn is_disjoint(&self, other: &Self, work: &mut Work) -> bool {
        match (&self.0, &other.0) {
            (Kind::Known(left), Kind::Known(right)) => {
                left.shapes.iter().all(|one| right.shapes.iter().all(|other| one.is_disjoint(other, work)))
            }
            (Kind::Known(known), _) | (_, Kind::Known(known)) => known.shapes.is_empty(),
            _ => false,
        }
    }
}

impl Shape {
    pub(super) fn is_disjoint(&self, other: &Self, work: &mut Work) -> bool {
        use Shape::{Array, Boolean, Constant, Null, Number, Object, Text};
        match (self, other) {
            (Null, Null) | (Boolean, Boolean) | (Number { .. }, Number { .. }) | (Text(_), Text(_)) => false,
            (Constant { value, sample: true }, other) | (other, Constant { value, sample: true }) => {
                other.kind() != kind(value)
            }
            (Constant { value: left, .. }, Constant { value: right, .. }) => !same(left, right),
            (Constant { value, .. }, Number { integer, .. }) | (Number { integer, .. }, Constant { value, .. }) => {
                !value.is_number() || (*integer && value.as_f64().is_some_and(|number| number.fract() != 0.0))
            }
            (Constant { value, .. }, other) | (other, Constant { value, .. }) => kind(value) != other.kind(),
            (Object(left), Object(right)) => {
                work.deeper(|work| left.excludes(right, work) || right.excludes(left, work)).unwrap_or(false)
            }
            (Array(left), Array(right)) => {
                left.most.is_some_and(|most| most < right.least) || right.most.is_some_and(|most| most < left.least)
            }
            (left, right) => left.kind() != right.kind(),
        }
    }

    /// Names the kind of value, numbers being one.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number { .. } => "number",
            Self::Text(_) => "string",
            Self::Constant { value, .. } => kind(value),
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

impl ObjectShape {
    /// Whether a property that is required here cannot have such a value there.
    fn excludes(&self, other: &Self, work: &mut Work) -> bool {
        self.fields.iter().filter(|(_, field)| field.required).any(|(name, field)| {
            let there: &Lazy = match (other.fields.get(name), &other.rest) {
                (Some(field), _) => &field.of,
                (None, Rest::Nothing) => return true,
                (None, Rest::Of(rest)) => rest,
                (None, Rest::Undeclared) => return false,
            };
            let (here, there) = (field.of.get(work), there.get(work));
            here.is_disjoint(&there, work)
        })
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}
