//! Types: what the values at one place of a workflow may be, as far as JSON Schemas and literals say it.
//!
//! A [`Type`] is a set of JSON values. It is lowered from a schema, inferred from a literal, or computed from the expressions
//! of a template; where a source says nothing, every value may come, and the type is *unknown*. Three questions are asked:
//!
//! - [`Type::property`] and [`Type::index`]: is there a value behind the next part of a path?
//! - [`Type::accepts`]: does every value of one type belong to another?
//!
//! Each has an answer for "yes", "no" and "that cannot be seen": what lies outside the fragment of JSON Schema that is modelled
//! here is never guessed at. The fragment and the rules are written down in the guide, under *Types*.
//!
//! Schemas may refer to themselves, so a type is unfolded only where somebody looks, one level at a time; depth, alternatives
//! and steps of a comparison are counted, and what passes a limit cannot be seen.
//!
//! ```
//! use orchestr8_schema::types::{Access, Type, Verdict};
//! use serde_json::json;
//!
//! let person = Type::of_schema(&json!({
//!     "type": "object",
//!     "properties": { "name": { "type": "string" }, "age": { "type": "integer" } },
//!     "required": ["name"]
//! }));
//! assert!(matches!(person.property("name"), Access::Present(_)));
//! assert!(matches!(person.property("age"), Access::MaybeAbsent { .. }));
//!
//! let Verdict::Refuted(mismatch) = person.accepts(&Type::of_value(&json!({ "name": 7 }))) else { panic!() };
//! assert_eq!(mismatch.to_string(), "`name`: expected string, found 7");
//! ```

mod accept;
mod access;
mod disjoint;
mod facts;
mod graph;
mod lower;
mod show;
mod view;

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use serde_json::{Map, Value};

pub(crate) use self::view::{ArrayView, ObjectView, Slot};
pub use self::{
    accept::{Mismatch, Problem, Verdict},
    access::Access,
};
use self::{
    facts::Facts,
    graph::{Defaults, Place},
};
use crate::Failure;

/// The most alternatives of a type; beyond that it is unknown.
const MAX_SHAPES: usize = 64;

/// A set of JSON values, unfolded where somebody looks.
///
/// Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Type(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// Every value, because nothing is said.
    Any,
    /// Some values, but which ones cannot be seen, for this reason.
    Unknown(&'static str),
    Known(Arc<Known>),
}

/// The union of its shapes.
#[derive(Clone, Debug)]
struct Known {
    shapes: Vec<Shape>,
    /// A keyword that excludes some of these values in a way that is not modelled.
    doubt: Option<&'static str>,
}

/// Values of one kind.
#[derive(Clone, Debug)]
enum Shape {
    Null,
    Boolean,
    Number {
        integer: bool,
        facts: Facts,
    },
    Text(Facts),
    /// One boolean, number or text.
    Constant {
        value: Value,
        /// Whether it stands for all of its kind: it is what a variable is declared as, and callers may override it.
        sample: bool,
    },
    Array(Arc<ArrayShape>),
    Object(Arc<ObjectShape>),
}

#[derive(Clone, Debug)]
struct ArrayShape {
    prefix: Vec<Lazy>,
    /// What may follow the prefix; `None` for nothing.
    rest: Option<Lazy>,
    /// How many elements there are at least.
    least: usize,
    most: Option<usize>,
    facts: Facts,
}

#[derive(Clone, Debug)]
struct ObjectShape {
    fields: IndexMap<String, Field>,
    rest: Rest,
    facts: Facts,
}

#[derive(Clone, Debug)]
struct Field {
    required: bool,
    of: Lazy,
}

/// What may stand under keys that are not declared.
#[derive(Clone, Debug)]
enum Rest {
    Nothing,
    /// Anything; nobody has said that there is something.
    Undeclared,
    Of(Lazy),
}

/// A type that is lowered when somebody looks.
#[derive(Clone, Debug)]
enum Lazy {
    Type(Type),
    Schema(Place),
}

impl Lazy {
    fn get(&self, work: &mut Work) -> Type {
        match self {
            Self::Type(of) => of.clone(),
            Self::Schema(place) => place.lower(work),
        }
    }
}

/// What may still be done for one question; schemas can be made to take very long.
#[derive(Debug)]
struct Work {
    left: usize,
    depth: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self { left: 20_000, depth: 6 }
    }
}

impl Work {
    /// Takes from what is left; false when nothing is.
    fn pay(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(steps.max(1));
        self.left > 0
    }

    /// Does something that may come back here; `None` when that is too deep.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth == 0 || !self.pay(1) {
            return None;
        }
        self.depth -= 1;
        let result = run(self);
        self.depth += 1;
        Some(result)
    }
}

impl Type {
    /// The type of every value: nothing is said.
    pub const ANY: Self = Self(Kind::Any);

    /// Lowers a JSON Schema.
    ///
    /// The schema is read as one of 2020-12, and must be valid; what is not is unknown.
    #[must_use]
    pub fn of_schema(schema: &Value) -> Self {
        Self::of_schemas(&[schema])
    }

    /// Lowers several JSON Schemas that hold together.
    #[must_use]
    pub fn of_schemas(schemas: &[&Value]) -> Self {
        Place::root(schemas, Defaults::Ignored).lower(&mut Work::default())
    }

    /// Returns the type that has exactly one value.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        Self::of_literal(value, false)
    }

    /// Returns the type of a value that others of its kind may stand in for: with texts for a text, and at least as many
    /// elements and keys.
    #[must_use]
    pub fn like(value: &Value) -> Self {
        Self::of_literal(value, true)
    }

    fn of_literal(value: &Value, sample: bool) -> Self {
        match value {
            // Nothing can be told about what comes in its place.
            Value::Null if sample => Self::ANY,
            Value::Null => Self::null(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Self::known([Shape::Constant { value: value.clone(), sample }])
            }
            Value::Array(items) if sample => {
                let of = items.iter().map(|item| Self::of_literal(item, true)).reduce(Self::or);
                Self::array_of(of.unwrap_or(Self::ANY), items.len())
            }
            Value::Array(items) => Self::tuple(items.iter().map(Self::of_value).collect()),
            Value::Object(map) => {
                let fields = map.iter().map(|(key, value)| (key.clone(), Self::of_literal(value, sample), true));
                let rest = if sample { Rest::Undeclared } else { Rest::Nothing };
                Self::object(fields, rest)
            }
        }
    }

    /// Returns the type of null.
    #[must_use]
    pub fn null() -> Self {
        Self::known([Shape::Null])
    }

    /// Returns the type of all texts.
    #[must_use]
    pub fn text() -> Self {
        Self::known([Shape::Text(Facts::default())])
    }

    /// Returns the type of true and false.
    #[must_use]
    pub fn boolean() -> Self {
        Self::known([Shape::Boolean])
    }

    /// Returns the type of all integers.
    #[must_use]
    pub fn integer() -> Self {
        Self::known([Shape::Number { integer: true, facts: Facts::default() }])
    }

    /// Returns the type of all numbers.
    #[must_use]
    pub fn number() -> Self {
        Self::known([Shape::Number { integer: false, facts: Facts::default() }])
    }

    /// Returns the type of arrays of `of` with at least `least` elements.
    #[must_use]
    pub fn array_of(of: Self, least: usize) -> Self {
        let shape =
            ArrayShape { prefix: Vec::new(), rest: Some(Lazy::Type(of)), least, most: None, facts: Facts::default() };
        Self::known([Shape::Array(Arc::new(shape))])
    }

    /// Returns the type of arrays with exactly these elements.
    #[must_use]
    pub fn tuple(items: Vec<Self>) -> Self {
        let count = items.len();
        let prefix = items.into_iter().map(Lazy::Type).collect();
        let shape = ArrayShape { prefix, rest: None, least: count, most: Some(count), facts: Facts::default() };
        Self::known([Shape::Array(Arc::new(shape))])
    }

    /// Returns the type of these texts.
    pub(crate) fn one_of(texts: &[&str]) -> Self {
        let texts = texts.iter().map(|text| Self::of_value(&Value::from(*text)));
        texts.reduce(Self::or).unwrap_or(Self::ANY)
    }

    /// Returns the type of a recorded failure.
    pub(crate) fn failure() -> Self {
        static FAILURE: LazyLock<Type> = LazyLock::new(|| {
            let mut schema = schemars::schema_for!(Failure).to_value();
            schema["additionalProperties"] = Value::Bool(false);
            Type::of_schema(&schema)
        });
        FAILURE.clone()
    }

    /// Returns the type of objects with exactly these keys; the flag says whether a key is always there.
    #[must_use]
    pub fn record(fields: impl IntoIterator<Item = (String, Self, bool)>) -> Self {
        Self::object(fields, Rest::Nothing)
    }

    fn object(fields: impl IntoIterator<Item = (String, Self, bool)>, rest: Rest) -> Self {
        let fields =
            fields.into_iter().map(|(name, of, required)| (name, Field { required, of: Lazy::Type(of) })).collect();
        Self::known([Shape::Object(Arc::new(ObjectShape { fields, rest, facts: Facts::default() }))])
    }

    pub(crate) fn unknown(why: &'static str) -> Self {
        Self(Kind::Unknown(why))
    }

    fn known(shapes: impl Into<Vec<Shape>>) -> Self {
        Self(Kind::Known(Arc::new(Known { shapes: shapes.into(), doubt: None })))
    }

    /// Returns the type of what belongs to this one or to another.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (left, right) = match (self.0, other.0) {
            (Kind::Unknown(why), _) | (_, Kind::Unknown(why)) => return Self::unknown(why),
            (Kind::Any, _) | (_, Kind::Any) => return Self::ANY,
            (Kind::Known(left), Kind::Known(right)) => (left, right),
        };
        if right.shapes.is_empty() {
            return Self(Kind::Known(left));
        }
        let mut union = Arc::unwrap_or_clone(left);
        union.doubt = union.doubt.or(right.doubt);
        for shape in &right.shapes {
            if !union.shapes.iter().any(|known| known.is_same(shape)) {
                union.shapes.push(shape.clone());
            }
        }
        if union.shapes.len() > MAX_SHAPES {
            return Self::unknown("it has too many alternatives");
        }
        Self(Kind::Known(Arc::new(union)))
    }

    /// Returns what is left when null gives way to something else.
    #[must_use]
    pub fn without_null(self) -> Self {
        match self.0 {
            Kind::Known(known) if known.shapes.iter().any(|shape| matches!(shape, Shape::Null)) => {
                let mut known = Arc::unwrap_or_clone(known);
                known.shapes.retain(|shape| !matches!(shape, Shape::Null));
                Self(Kind::Known(Arc::new(known)))
            }
            kind => Self(kind),
        }
    }

    /// Whether null may come.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        match &self.0 {
            Kind::Any | Kind::Unknown(_) => true,
            Kind::Known(known) => known.shapes.iter().any(|shape| matches!(shape, Shape::Null)),
        }
    }

    /// Whether null is all that comes.
    pub(crate) fn is_only_null(&self) -> bool {
        matches!(&self.0, Kind::Known(known) if known.shapes.iter().all(|shape| matches!(shape, Shape::Null)))
    }

    /// Whether it is seen that none of its values is an array.
    pub(crate) fn is_no_array(&self) -> bool {
        matches!(&self.0, Kind::Known(known) if !known.shapes.iter().any(|shape| matches!(shape, Shape::Array(_))))
    }

    /// Why nothing can be told of a value, where nothing can.
    #[must_use]
    pub fn why_unknown(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Any => Some("nothing says what it is"),
            Kind::Unknown(why) => Some(why),
            Kind::Known(_) => None,
        }
    }

    /// Returns the type of the elements, if all values are arrays; `None` if some are not, or it cannot be seen.
    #[must_use]
    pub fn elements(&self) -> Option<Self> {
        let Kind::Known(known) = &self.0 else { return None };
        let mut of = Self::known([]);
        for shape in &known.shapes {
            let Shape::Array(array) = shape else { return None };
            for item in array.prefix.iter().chain(&array.rest) {
                of = of.or(item.get(&mut Work::default()));
            }
        }
        Some(of)
    }

    /// Returns the names that the objects among its values declare, in the order of their declaration.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let Kind::Known(known) = &self.0 else { return Vec::new() };
        let objects = known.shapes.iter().filter_map(|shape| match shape {
            Shape::Object(object) => Some(object.fields.keys()),
            _ => None,
        });
        let names: indexmap::IndexSet<_> = objects.flatten().cloned().collect();
        names.into_iter().collect()
    }
}

impl Shape {
    /// Whether two shapes are seen to be the same at a glance; it keeps unions small.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) | (Self::Boolean, Self::Boolean) => true,
            (
                Self::Number { integer: left, facts: left_facts },
                Self::Number { integer: right, facts: right_facts },
            ) => left == right && left_facts == right_facts,
            (Self::Text(left), Self::Text(right)) => left == right,
            (Self::Constant { value: left, sample: a }, Self::Constant { value: right, sample: b }) => {
                a == b && left == right
            }
            (Self::Array(left), Self::Array(right)) => Arc::ptr_eq(left, right),
            (Self::Object(left), Self::Object(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }
}

/// Whether two constants are the same JSON value, for which 1 and 1.0 are one number.
fn same(left: &Value, right: &Value) -> bool {
    /// Up to here a float is an integer exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (left, right) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() != right.is_f64() => {
            let (left, right) = (left.as_f64(), right.as_f64());
            left == right && left.is_some_and(|number| number.abs() < EXACT)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => same_keys(left, right),
        (left, right) => left == right,
    }
}

fn same_keys(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len() && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
}
