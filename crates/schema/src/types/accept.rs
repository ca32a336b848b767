//! Whether every value of one type belongs to another, and if not, where and why.

use std::{collections::HashSet, fmt};

use super::{
    ArrayShape, Kind, Lazy, ObjectShape, Rest, Shape, Type, Work,
    facts::Facts,
    graph::{Defaults, NodeId},
    same,
};

/// How deep types are compared.
const MAX_DEPTH: usize = 64;

/// Whether every value of one type belongs to another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Every value belongs.
    Proven,
    /// It cannot be seen, for this reason.
    Unproven(String),
    /// Some value does not.
    Refuted(Mismatch),
}

/// A place at which a value does not belong to a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The way to it, such as `items[0].name`; empty for the value itself.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at one place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is of another type.
    Disagree {
        /// What the type asks for.
        expected: String,
        /// What the value is.
        found: String,
    },
    /// It may be null.
    Nullable {
        /// What the type asks for.
        expected: String,
    },
    /// A property that must be there is not.
    Missing,
    /// A property that must be there may be absent.
    MaybeMissing,
    /// The type has no such property.
    Excess,
    /// It has too few or too many elements.
    Length {
        /// What the type asks for.
        expected: String,
    },
    /// It breaks a rule such as `minimum`.
    Violates(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        match &self.problem {
            Problem::Disagree { expected, found } => write!(f, "expected {expected}, found {found}"),
            Problem::Nullable { expected } => write!(f, "expected {expected}, but it may be null"),
            Problem::Missing => f.write_str("it is missing"),
            Problem::MaybeMissing => f.write_str("it may be missing"),
            Problem::Excess => f.write_str("there is no such property"),
            Problem::Length { expected } => write!(f, "expected {expected}"),
            Problem::Violates(message) => f.write_str(message),
        }
    }
}

impl Type {
    /// Answers whether every value of `source` belongs to this type.
    #[must_use]
    pub fn accepts(&self, source: &Self) -> Verdict {
        let mut comparison = Comparison { work: Work::default(), assumed: HashSet::new(), path: Vec::new() };
        match comparison.types(source, self) {
            Answer::Yes => Verdict::Proven,
            Answer::Unseen(why) => Verdict::Unproven(why.to_owned()),
            Answer::No(mismatch) => Verdict::Refuted(*mismatch),
        }
    }
}

enum Answer {
    Yes,
    Unseen(&'static str),
    No(Box<Mismatch>),
}

impl Answer {
    /// Both must hold.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No(mismatch) => Self::No(mismatch),
            Self::Yes => other(),
            Self::Unseen(why) => match other() {
                Self::Yes | Self::Unseen(_) => Self::Unseen(why),
                no @ Self::No(_) => no,
            },
        }
    }
}

type Name = (usize, Vec<(NodeId, Defaults)>);

struct Comparison {
    work: Work,
    /// What is being compared already, further up; schemas that refer to themselves come back to it.
    assumed: HashSet<(Name, Name)>,
    path: Vec<Part>,
}

enum Part {
    Name(String),
    Index(usize),
    Each,
}

impl Comparison {
    fn types(&mut self, source: &Type, target: &Type) -> Answer {
        if !self.work.pay(1) {
            return Answer::Unseen("the types are too large");
        }
        let target_known = match &target.0 {
            Kind::Any => return Answer::Yes,
            Kind::Unknown(why) => return Answer::Unseen(why),
            Kind::Known(known) => known,
        };
        let source_known = match &source.0 {
            Kind::Any => return Answer::Unseen("nothing says what it is"),
            Kind::Unknown(why) => return Answer::Unseen(why),
            Kind::Known(known) => known,
        };
        let mut answer = Answer::Yes;
        for shape in &source_known.shapes {
            answer = answer.and(|| self.shape(shape, source, target, &target_known.shapes));
            if matches!(answer, Answer::No(_)) {
                break;
            }
        }
        match (answer, source_known.doubt, target_known.doubt) {
            (Answer::No(_), Some(doubt), _) | (Answer::Yes, _, Some(doubt)) => Answer::Unseen(doubt),
            (answer, ..) => answer,
        }
    }

    /// Compares one shape with the alternatives of a type.
    fn shape(&mut self, source: &Shape, whole: &Type, target: &Type, targets: &[Shape]) -> Answer {
        if matches!(source, Shape::Boolean) {
            let has = |flag: bool| {
                targets.iter().any(|shape| matches!(shape, Shape::Constant { value, .. } if *value == flag))
            };
            if has(true) && has(false) {
                return Answer::Yes;
            }
        }
        let candidates: Vec<&Shape> =
            targets.iter().filter(|target| !source.is_disjoint(target, &mut self.work)).collect();
        let mut unseen = None;
        let mut no = None;
        for candidate in &candidates {
            match self.one(source, candidate, target) {
                Answer::Yes => return Answer::Yes,
                Answer::Unseen(why) => unseen = Some(why),
                Answer::No(mismatch) => no = Some(mismatch),
            }
        }
        if let Some(why) = unseen {
            return Answer::Unseen(why);
        }
        match (no, &candidates[..]) {
            (Some(mismatch), [_]) => Answer::No(mismatch),
            // Its values may be spread over several alternatives.
            (Some(_), _) if matches!(source, Shape::Array(_) | Shape::Object(_)) => {
                Answer::Unseen("it fits several alternatives in part")
            }
            (None, _) if matches!(source, Shape::Array(_) | Shape::Object(_)) => {
                // The only alternative of its kind says more than the name of a kind.
                let mut alike = targets.iter().filter(|target| target.kind() == source.kind());
                match (alike.next(), alike.next()) {
                    (Some(only), None) => self.one(source, only, target),
                    _ => self.disagree(source, target),
                }
            }
            _ if matches!(source, Shape::Null) && whole.has_other_than_null() => {
                self.no(Problem::Nullable { expected: target.to_string() })
            }
            _ => self.disagree(source, target),
        }
    }

    fn one(&mut self, source: &Shape, target: &Shape, all: &Type) -> Answer {
        match (source, target) {
            (Shape::Null, Shape::Null) | (Shape::Boolean, Shape::Boolean) => Answer::Yes,
            (Shape::Number { integer: from, facts: given }, Shape::Number { integer: to, facts }) => {
                if *to && !from {
                    // Multiples of a whole number are whole.
                    if given.contains("multipleOf") {
                        return Answer::Unseen("`multipleOf`");
                    }
                    return self.disagree(source, all);
                }
                implied(facts, given)
            }
            (Shape::Text(given), Shape::Text(facts)) => implied(facts, given),
            (Shape::Constant { value, sample: true }, target) => self.sample(value, target, source, all),
            (Shape::Constant { value: left, .. }, Shape::Constant { value: right, .. }) if same(left, right) => {
                Answer::Yes
            }
            (Shape::Constant { value, .. }, Shape::Number { integer, facts }) => {
                let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
                if !value.is_number() || (*integer && !whole) {
                    return self.disagree(source, all);
                }
                match facts.violation(value) {
                    None => Answer::Yes,
                    Some(message) => self.no(Problem::Violates(message)),
                }
            }
            (Shape::Constant { value, .. }, Shape::Text(facts)) if value.is_string() => match facts.violation(value) {
                None => Answer::Yes,
                Some(message) => self.no(Problem::Violates(message)),
            },
            (Shape::Constant { value, .. }, Shape::Boolean) if value.is_boolean() => Answer::Yes,
            (Shape::Array(source), Shape::Array(target)) => self.array(source, target),
            (Shape::Object(source), Shape::Object(target)) => self.object(source, target),
            _ => self.disagree(source, all),
        }
    }

    /// Compares what a variable is declared as: refuted by its own value, proven by all of its kind.
    fn sample(&self, value: &serde_json::Value, target: &Shape, source: &Shape, all: &Type) -> Answer {
        const OVERRIDDEN: &str = "a caller may override the variable by another value";
        match target {
            Shape::Boolean if value.is_boolean() => Answer::Yes,
            Shape::Text(facts) if value.is_string() => match facts.violation(value) {
                Some(message) => self.no(Problem::Violates(message)),
                None if *facts == Facts::default() => Answer::Yes,
                None => Answer::Unseen(OVERRIDDEN),
            },
            Shape::Number { integer, facts } if value.is_number() => {
                let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
                match facts.violation(value) {
                    _ if *integer && !whole => self.disagree(source, all),
                    Some(message) => self.no(Problem::Violates(message)),
                    None if !integer && *facts == Facts::default() => Answer::Yes,
                    None => Answer::Unseen(OVERRIDDEN),
                }
            }
            Shape::Constant { value: other, .. } if same(value, other) => Answer::Unseen(OVERRIDDEN),
            _ => self.disagree(source, all),
        }
    }

    fn array(&mut self, source: &ArrayShape, target: &ArrayShape) -> Answer {
        if source.least < target.least {
            // What is known to be too short is wrong; what may be is a bound like others.
            return match source.most {
                Some(most) if most < target.least => self.length("at least", target.least),
                _ => Answer::Unseen("`minItems`"),
            };
        }
        if let Some(most) = target.most
            && source.most.is_none_or(|have| have > most)
        {
            return if source.least > most { self.length("at most", most) } else { Answer::Unseen("`maxItems`") };
        }
        let mut answer = implied(&target.facts, &source.facts);
        let count = source.prefix.len().max(target.prefix.len());
        for index in 0..count {
            if source.most.is_some_and(|most| index >= most) || matches!(answer, Answer::No(_)) {
                break;
            }
            let Some(from) = source.prefix.get(index).or(source.rest.as_ref()) else { break };
            let Some(to) = target.prefix.get(index).or(target.rest.as_ref()) else { break };
            answer = answer.and(|| self.below(Part::Index(index), from, to));
        }
        if let (Some(from), Some(to)) = (&source.rest, &target.rest) {
            answer = answer.and(|| self.below(Part::Each, from, to));
        }
        answer
    }

    fn object(&mut self, source: &ObjectShape, target: &ObjectShape) -> Answer {
        let mut answer = implied(&target.facts, &source.facts);
        for (name, _) in target.fields.iter().filter(|(_, field)| field.required) {
            let problem = match (source.fields.get(name), &source.rest) {
                (Some(have), _) if have.required => continue,
                (None, Rest::Nothing) => Problem::Missing,
                // Of an object that declares nothing, nothing can be told.
                (None, Rest::Undeclared) if source.fields.is_empty() => {
                    answer = answer.and(|| Answer::Unseen("nothing says what the object contains"));
                    continue;
                }
                _ => Problem::MaybeMissing,
            };
            self.path.push(Part::Name(name.clone()));
            let no = self.no(problem);
            self.path.pop();
            return no;
        }
        for (name, have) in &source.fields {
            answer = match (target.fields.get(name), &target.rest) {
                (Some(field), _) => answer.and(|| self.below(Part::Name(name.clone()), &have.of, &field.of)),
                (None, Rest::Of(rest)) => answer.and(|| self.below(Part::Name(name.clone()), &have.of, rest)),
                (None, Rest::Undeclared) => answer,
                (None, Rest::Nothing) => answer.and(|| {
                    self.path.push(Part::Name(name.clone()));
                    let no = self.no(Problem::Excess);
                    self.path.pop();
                    no
                }),
            };
            if matches!(answer, Answer::No(_)) {
                return answer;
            }
        }
        let further = match &source.rest {
            Rest::Nothing => return answer,
            Rest::Undeclared => None,
            Rest::Of(rest) => Some(rest),
        };
        // Undeclared keys of the source may be the declared ones of the target.
        for (_, field) in target.fields.iter().filter(|(name, _)| !source.fields.contains_key(*name)) {
            answer = answer.and(|| match further {
                Some(further) => self.below(Part::Each, further, &field.of),
                None => self.undeclared(&field.of),
            });
        }
        match (further, &target.rest) {
            (_, Rest::Undeclared) => answer,
            (Some(from), Rest::Of(to)) => answer.and(|| self.below(Part::Each, from, to)),
            (None, Rest::Of(to)) => answer.and(|| self.undeclared(to)),
            (_, Rest::Nothing) => answer.and(|| Answer::Unseen("the object may have further properties")),
        }
    }

    fn below(&mut self, part: Part, source: &Lazy, target: &Lazy) -> Answer {
        let pair = match (source, target) {
            (Lazy::Schema(source), Lazy::Schema(target)) => Some((source.name(), target.name())),
            _ => None,
        };
        if let Some(pair) = &pair
            && self.assumed.contains(pair)
        {
            return Answer::Yes;
        }
        if self.path.len() >= MAX_DEPTH {
            return Answer::Unseen("the types are nested too deeply");
        }
        if let Some(pair) = &pair {
            self.assumed.insert(pair.clone());
        }
        self.path.push(part);
        let (from, to) = (source.get(&mut self.work), target.get(&mut self.work));
        let answer = self.types(&from, &to);
        self.path.pop();
        if let Some(pair) = &pair {
            self.assumed.remove(pair);
        }
        answer
    }

    /// What an object may contain that declares nothing of the kind.
    fn undeclared(&mut self, target: &Lazy) -> Answer {
        match target.get(&mut self.work).0 {
            Kind::Any => Answer::Yes,
            Kind::Unknown(_) | Kind::Known(_) => Answer::Unseen("the object may have further properties"),
        }
    }

    fn disagree(&self, source: &Shape, target: &Type) -> Answer {
        self.no(Problem::Disagree { expected: target.to_string(), found: source.to_string() })
    }

    fn length(&self, bound: &str, count: usize) -> Answer {
        self.no(Problem::Length { expected: elements(bound, count) })
    }

    fn no(&self, problem: Problem) -> Answer {
        let mut path = String::new();
        for part in &self.path {
            match part {
                Part::Name(name) if path.is_empty() => path.push_str(name),
                Part::Name(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Part::Index(index) => path.push_str(&format!("[{index}]")),
                Part::Each => path.push_str("[]"),
            }
        }
        Answer::No(Box::new(Mismatch { path, problem }))
    }
}

pub(super) fn elements(bound: &str, count: usize) -> String {
    format!("{bound} {count} element{}", if count == 1 { "" } else { "s" })
}

fn implied(wanted: &Facts, given: &Facts) -> Answer {
    match wanted.unproven_by(given) {
        None => Answer::Yes,
        Some(keyword) => Answer::Unseen(keyword),
    }
}

impl Type {
    fn has_other_than_null(&self) -> bool {
        matches!(&self.0, Kind::Known(known) if known.shapes.iter().any(|shape| !matches!(shape, Shape::Null)))
    }
}
