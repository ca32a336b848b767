//! Lowering: one level of a schema becomes shapes; what lies below stays a place in the schema.

use std::{collections::HashSet, sync::Arc};

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    ArrayShape, Field, Kind, Known, Lazy, MAX_SHAPES, ObjectShape, Rest, Shape, Type, Work,
    facts::{self, Facts},
    graph::{self, Choice, Defaults, Graph, NodeId, Place},
    same,
};

/// The most subschemas that hold together at one place.
const MAX_TOGETHER: usize = 64;
/// The most alternatives of `oneOf` of which every two are compared.
const MAX_EXCLUSIVE: usize = 24;

pub(super) const UNTYPED: &str = "a schema without `type`";

impl Place {
    /// Unfolds one level. `work` is taken from as this goes on; at its end the answer is unknown.
    pub(super) fn lower(&self, work: &mut Work) -> Type {
        let mut base = Together::default();
        for (node, defaults) in &self.nodes {
            base.add(&self.graph, *node, *defaults);
        }
        Combining { graph: &self.graph, work }.expand(base)
    }

    fn at(&self, nodes: Vec<(NodeId, Defaults)>) -> Lazy {
        match nodes.is_empty() {
            true => Lazy::Type(Type::ANY),
            false => Lazy::Schema(Self { graph: Arc::clone(&self.graph), nodes }),
        }
    }
}

/// Subschemas that hold together, references followed, and the choices that are still open.
#[derive(Clone, Default)]
struct Together {
    nodes: IndexMap<NodeId, Defaults>,
    choices: Vec<Choice>,
    /// A choice leads back to itself.
    circular: bool,
}

impl Together {
    fn add(&mut self, graph: &Graph, node: NodeId, defaults: Defaults) {
        let mut todo = vec![node];
        while let Some(id) = todo.pop() {
            if self.nodes.len() > MAX_TOGETHER {
                return;
            }
            let known = self.nodes.get_mut(&id);
            // What is chosen from again may be a choice within itself.
            self.circular |= known.is_some() && !graph.node(id).choices.is_empty();
            match known {
                Some(known) if *known == defaults || defaults == Defaults::Ignored => continue,
                Some(known) => *known = defaults,
                None => {
                    self.nodes.insert(id, defaults);
                    self.choices.extend(graph.node(id).choices.iter().cloned());
                }
            }
            todo.extend(graph.node(id).also.iter().rev());
        }
    }
}

struct Combining<'g, 'w> {
    graph: &'g Arc<Graph>,
    work: &'w mut Work,
}

impl Combining<'_, '_> {
    fn expand(&mut self, mut together: Together) -> Type {
        if together.nodes.len() > MAX_TOGETHER {
            return Type::unknown("too many schemas hold together");
        }
        if !self.work.pay(together.nodes.len()) {
            return Type::unknown("the schema is too large");
        }
        if together.choices.is_empty() {
            return self.shapes(&together);
        }
        let choice = together.choices.remove(0);
        let mut alternatives = Vec::with_capacity(choice.of.len().min(MAX_SHAPES));
        for node in choice.of {
            let mut one = together.clone();
            one.add(self.graph, node, Defaults::Ignored);
            alternatives.push(self.expand(one));
            if alternatives.len() > MAX_SHAPES {
                return Type::unknown("it has too many alternatives");
            }
        }
        let overlap = choice.exactly_one && !are_disjoint(&alternatives, self.work);
        let union = alternatives.into_iter().reduce(Type::or).unwrap_or_else(|| Type::known([]));
        if overlap { union.doubted("a `oneOf` with alternatives that overlap") } else { union }
    }

    fn shapes(&self, together: &Together) -> Type {
        let place = Place { graph: Arc::clone(self.graph), nodes: Vec::new() };
        let nodes: Vec<_> = together.nodes.iter().map(|(id, defaults)| (self.graph.node(*id), *defaults)).collect();
        let outside = nodes.iter().find_map(|(node, _)| node.outside);
        let outside = outside.or(together.circular.then_some("a choice that contains itself"));
        if nodes.iter().all(|(node, _)| node.says_nothing() || node.outside.is_some_and(|_| !node.typed)) {
            return outside.map_or(Type::ANY, Type::unknown);
        }
        let kinds = nodes.iter().fold(graph::ALL, |kinds, (node, _)| kinds & node.kinds);
        let facts = |keywords: &[&str]| {
            let mut facts = Facts::default();
            for (keyword, value) in nodes.iter().flat_map(|(node, _)| &node.facts) {
                if keywords.contains(keyword) {
                    facts.add(keyword, value);
                }
            }
            facts
        };
        let lists: Vec<&Vec<Value>> = nodes.iter().filter_map(|(node, _)| node.constants.as_ref()).collect();
        if let Some((first, others)) = lists.split_first() {
            let mut known = Known { shapes: Vec::new(), doubt: outside };
            let scalar = facts(&[&facts::NUMBER[..], &facts::TEXT].concat());
            for value in *first {
                let listed = others.iter().all(|list| list.iter().any(|other| same(value, other)));
                if !listed || kinds & kind_of(value) == 0 {
                    continue;
                }
                match value {
                    Value::Array(_) | Value::Object(_) if nodes.iter().any(|(node, _)| node.is_structured()) => {
                        known.doubt = known.doubt.or(Some("`enum` beside other keywords"));
                    }
                    Value::Array(_) | Value::Object(_) => {}
                    _ if scalar.violation(value).is_some() => continue,
                    _ => {}
                }
                if let Kind::Known(of) = Type::of_value(value).0 {
                    known.shapes.extend(of.shapes.iter().cloned());
                }
            }
            if known.shapes.len() > MAX_SHAPES {
                return Type::unknown("it has too many alternatives");
            }
            return Type(Kind::Known(Arc::new(known)));
        }
        let mut shapes = Vec::new();
        if kinds & graph::NULL != 0 {
            shapes.push(Shape::Null);
        }
        if kinds & graph::BOOLEAN != 0 {
            shapes.push(Shape::Boolean);
        }
        if kinds & graph::INTEGER != 0 {
            shapes.push(Shape::Number { integer: kinds & graph::FRACTION == 0, facts: facts(&facts::NUMBER) });
        }
        if kinds & graph::TEXT != 0 {
            shapes.push(Shape::Text(facts(&facts::TEXT)));
        }
        if kinds & graph::ARRAY != 0 {
            shapes.extend(self.array(&place, together, facts(&facts::ARRAY)));
        }
        if kinds & graph::OBJECT != 0 {
            shapes.extend(self.object(&place, together, facts(&facts::OBJECT)));
        }
        let doubt = outside.or((kinds == graph::ALL).then_some(UNTYPED));
        Type(Kind::Known(Arc::new(Known { shapes, doubt })))
    }

    fn array(&self, place: &Place, together: &Together, facts: Facts) -> Option<Shape> {
        let nodes = || together.nodes.iter().map(|(id, defaults)| (self.graph.node(*id), *defaults));
        let length = nodes().map(|(node, _)| node.prefix.len()).max().unwrap_or(0);
        let least = nodes().map(|(node, _)| node.least).max().unwrap_or(0);
        let mut most = nodes().filter_map(|(node, _)| node.most).min();
        let mut prefix = Vec::with_capacity(length);
        for index in 0..length {
            // Defaults are filled in for `items` only.
            let here = nodes().filter_map(|(node, defaults)| match node.prefix.get(index) {
                Some(item) => Some((*item, Defaults::Ignored)),
                None => node.items.map(|item| (item, defaults)),
            });
            let here: Vec<_> = here.collect();
            if here.iter().any(|(id, _)| self.graph.node(*id).is_never()) {
                most = Some(most.unwrap_or(index).min(index));
                break;
            }
            prefix.push(place.at(here));
        }
        let rest: Vec<_> = nodes().filter_map(|(node, defaults)| Some((node.items?, defaults))).collect();
        let mut rest = Some(rest).filter(|rest| !rest.iter().any(|(id, _)| self.graph.node(*id).is_never()));
        if rest.is_none() {
            most = Some(most.unwrap_or(prefix.len()).min(prefix.len()));
        }
        if let Some(most) = most {
            prefix.truncate(most);
            rest = rest.filter(|_| most > prefix.len());
        }
        let rest = rest.map(|rest| place.at(rest));
        let shape = ArrayShape { prefix, rest, least, most, facts };
        most.is_none_or(|most| least <= most).then(|| Shape::Array(Arc::new(shape)))
    }

    fn object(&self, place: &Place, together: &Together, facts: Facts) -> Option<Shape> {
        let nodes = || together.nodes.iter().map(|(id, defaults)| (self.graph.node(*id), *defaults));
        let required: HashSet<&str> = nodes().flat_map(|(node, _)| &node.required).map(String::as_str).collect();
        let mut names: IndexMap<&str, Defaults> = IndexMap::new();
        for (node, defaults) in nodes() {
            for (name, property) in &node.properties {
                let known = names.entry(name).or_default();
                if property.has_default && defaults != Defaults::Ignored {
                    *known = defaults;
                }
            }
        }
        for (node, _) in nodes() {
            for name in &node.required {
                names.entry(name).or_default();
            }
        }
        let mut fields = IndexMap::with_capacity(names.len());
        for (name, default) in names {
            let here = nodes().filter_map(|(node, defaults)| match node.properties.get(name) {
                Some(property) => Some((property.node, defaults)),
                None => node.additional.map(|additional| (additional, Defaults::Ignored)),
            });
            let here: Vec<_> = here.collect();
            let required = required.contains(name);
            if here.iter().any(|(id, _)| self.graph.node(*id).is_never()) {
                if required {
                    return None;
                }
                continue;
            }
            let required = match default {
                Defaults::Ignored => required,
                Defaults::Filled => true,
                Defaults::Optional => false,
            };
            fields.insert(name.to_owned(), Field { required, of: place.at(here) });
        }
        let rest: Vec<_> = nodes().filter_map(|(node, _)| Some((node.additional?, Defaults::Ignored))).collect();
        let rest = if rest.iter().any(|(id, _)| self.graph.node(*id).is_never()) {
            Rest::Nothing
        } else if rest.iter().all(|(id, _)| self.graph.node(*id).is_anything()) {
            Rest::Undeclared
        } else {
            Rest::Of(place.at(rest))
        };
        Some(Shape::Object(Arc::new(ObjectShape { fields, rest, facts })))
    }
}

impl Type {
    /// Lowers the schema of an execution's input, which is always an object, and into which `default`s are filled before it is
    /// checked, so that what has a default is present.
    #[must_use]
    pub fn of_inputs(schema: &Value) -> Self {
        Self::of_objects(schema, Defaults::Filled)
    }

    /// Lowers the schema of an execution's input as it is asked for, when `default`s are still to be filled in.
    #[must_use]
    pub fn of_given_inputs(schema: &Value) -> Self {
        Self::of_objects(schema, Defaults::Optional)
    }

    fn of_objects(schema: &Value, defaults: Defaults) -> Self {
        let Kind::Known(known) = Place::root(&[schema], defaults).lower(&mut Work::default()).0 else {
            return Self::any_object();
        };
        let mut known = Arc::unwrap_or_clone(known);
        known.shapes.retain(|shape| matches!(shape, Shape::Object(_)));
        known.doubt = known.doubt.filter(|doubt| *doubt != UNTYPED);
        Self(Kind::Known(Arc::new(known)))
    }

    /// Returns the type of all objects, of whose contents nothing is known.
    #[must_use]
    pub fn any_object() -> Self {
        Self::object([], Rest::Undeclared)
    }

    fn doubted(self, doubt: &'static str) -> Self {
        match self.0 {
            Kind::Known(known) => {
                let mut known = Arc::unwrap_or_clone(known);
                known.doubt = known.doubt.or(Some(doubt));
                Self(Kind::Known(Arc::new(known)))
            }
            Kind::Any | Kind::Unknown(_) => Self::unknown(doubt),
        }
    }
}

fn are_disjoint(types: &[Type], work: &mut Work) -> bool {
    types.len() <= MAX_EXCLUSIVE
        && types.iter().enumerate().all(|(place, one)| types[..place].iter().all(|other| one.is_disjoint(other, work)))
}

fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null => graph::NULL,
        Value::Bool(_) => graph::BOOLEAN,
        Value::Number(number) if number.is_f64() && number.as_f64().is_none_or(|float| float.fract() != 0.0) => {
            graph::FRACTION
        }
        Value::Number(_) => graph::INTEGER,
        Value::String(_) => graph::TEXT,
        Value::Array(_) => graph::ARRAY,
        Value::Object(_) => graph::OBJECT,
    }
}
