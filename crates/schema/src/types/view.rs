//! A type that is asked for, taken apart where a structure is written out for it.

use std::sync::Arc;

use super::{ArrayShape, Kind, ObjectShape, Rest, Shape, Type, Work};

/// What is asked for under one key, or of one element.
pub(crate) enum Slot {
    Of(Type),
    Anything,
    /// There must be none.
    Nothing,
}

/// The one kind of object that a type has.
pub(crate) struct ObjectView {
    object: Arc<ObjectShape>,
    doubt: Option<&'static str>,
}

/// The one kind of array that a type has.
pub(crate) struct ArrayView {
    array: Arc<ArrayShape>,
    doubt: Option<&'static str>,
}

impl Type {
    /// Returns the objects of this type, if all are of one kind.
    pub(crate) fn sole_object(&self) -> Option<ObjectView> {
        let Kind::Known(known) = &self.0 else { return None };
        let mut objects = known.shapes.iter().filter_map(|shape| match shape {
            Shape::Object(object) => Some(object),
            _ => None,
        });
        match (objects.next(), objects.next()) {
            (Some(object), None) => Some(ObjectView { object: Arc::clone(object), doubt: known.doubt }),
            _ => None,
        }
    }

    /// Returns the arrays of this type, if all are of one kind.
    pub(crate) fn sole_array(&self) -> Option<ArrayView> {
        let Kind::Known(known) = &self.0 else { return None };
        let mut arrays = known.shapes.iter().filter_map(|shape| match shape {
            Shape::Array(array) => Some(array),
            _ => None,
        });
        match (arrays.next(), arrays.next()) {
            (Some(array), None) => Some(ArrayView { array: Arc::clone(array), doubt: known.doubt }),
            _ => None,
        }
    }
}

impl ObjectView {
    pub(crate) fn required(&self) -> impl Iterator<Item = &str> {
        self.object.fields.iter().filter(|(_, field)| field.required).map(|(name, _)| &**name)
    }

    pub(crate) fn slot(&self, name: &str) -> Slot {
        match (self.object.fields.get(name), &self.object.rest) {
            (Some(field), _) => Slot::Of(field.of.get(&mut Work::default())),
            (None, Rest::Of(rest)) => Slot::Of(rest.get(&mut Work::default())),
            (None, Rest::Undeclared) => Slot::Anything,
            (None, Rest::Nothing) => Slot::Nothing,
        }
    }

    /// Returns what is asked for beyond the properties.
    pub(crate) fn unseen(&self) -> Option<&'static str> {
        self.doubt.or_else(|| self.object.facts.first())
    }
}

impl ArrayView {
    pub(crate) fn slot(&self, index: usize) -> Slot {
        match self.array.prefix.get(index).or(self.array.rest.as_ref()) {
            Some(item) => Slot::Of(item.get(&mut Work::default())),
            None => Slot::Nothing,
        }
    }

    /// Returns how many elements are asked for, if it is another number.
    pub(crate) fn wrong_length(&self, length: usize) -> Option<String> {
        if length < self.array.least {
            return Some(super::accept::elements("at least", self.array.least));
        }
        self.array.most.filter(|most| length > *most).map(|most| super::accept::elements("at most", most))
    }

    /// Returns what is asked for beyond the elements.
    pub(crate) fn unseen(&self) -> Option<&'static str> {
        self.doubt.or_else(|| self.array.facts.first())
    }
}
