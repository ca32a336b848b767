//! The next part of a path.

use super::{Kind, Rest, Shape, Type, Work};

/// What stands behind a property or an index.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Access {
    /// A value of this type, always.
    Present(Type),
    /// A value of this type, or none.
    MaybeAbsent {
        /// The type where there is one.
        of: Type,
        /// Whether the name is declared, or covered by `additionalProperties`.
        declared: bool,
    },
    /// Never a value.
    Impossible,
    /// It cannot be seen, for this reason.
    Unknown(&'static str),
}

impl Type {
    /// Looks up a property of all values of this type.
    #[must_use]
    pub fn property(&self, name: &str) -> Access {
        self.access(|shape| {
            let Shape::Object(object) = shape else { return Access::Impossible };
            match (object.fields.get(name), &object.rest) {
                (Some(field), _) if field.required => Access::Present(field.of.get(&mut Work::default())),
                (Some(field), _) => Access::MaybeAbsent { of: field.of.get(&mut Work::default()), declared: true },
                (None, Rest::Nothing) => Access::Impossible,
                (None, Rest::Of(rest)) => Access::MaybeAbsent { of: rest.get(&mut Work::default()), declared: true },
                (None, Rest::Undeclared) if object.fields.is_empty() => {
                    Access::Unknown("nothing says what the object contains")
                }
                (None, Rest::Undeclared) => Access::MaybeAbsent { of: Self::ANY, declared: false },
            }
        })
    }

    /// Looks up an element of all values of this type.
    #[must_use]
    pub fn index(&self, index: usize) -> Access {
        self.access(|shape| {
            let Shape::Array(array) = shape else { return Access::Impossible };
            match array.prefix.get(index).or(array.rest.as_ref()) {
                Some(_) if array.most.is_some_and(|most| index >= most) => Access::Impossible,
                Some(item) if index < array.least => Access::Present(item.get(&mut Work::default())),
                Some(item) => Access::MaybeAbsent { of: item.get(&mut Work::default()), declared: true },
                None => Access::Impossible,
            }
        })
    }

    fn access(&self, one: impl Fn(&Shape) -> Access) -> Access {
        let known = match &self.0 {
            Kind::Any => return Access::Unknown("nothing says what it is"),
            Kind::Unknown(why) => return Access::Unknown(why),
            Kind::Known(known) => known,
        };
        let mut found: Option<Self> = None;
        let (mut always, mut all_declared) = (true, true);
        for shape in &known.shapes {
            let of = match one(shape) {
                Access::Present(of) => of,
                Access::MaybeAbsent { of, declared } => {
                    always = false;
                    all_declared &= declared;
                    of
                }
                Access::Impossible => {
                    always = false;
                    continue;
                }
                Access::Unknown(why) => return Access::Unknown(why),
            };
            found = Some(match found {
                Some(others) => others.or(of),
                None => of,
            });
        }
        match (found, known.doubt) {
            // No value at all has whatever is asked for.
            _ if known.shapes.is_empty() => Access::Present(Self::known([])),
            (Some(of), _) if always => Access::Present(of),
            (_, Some(doubt)) => Access::Unknown(doubt),
            (Some(of), None) => Access::MaybeAbsent { of, declared: all_declared },
            (None, None) => Access::Impossible,
        }
    }
}
