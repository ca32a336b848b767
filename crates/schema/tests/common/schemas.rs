//! Schemas and values that obey them, drawn at random from a small vocabulary, so that they meet.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn scalar() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2.5),
        json!(""),
        json!("x"),
        json!("long text"),
    ])
}

/// Any value of a small vocabulary.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((select(NAMES.to_vec()), inner), 0..3).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

/// A schema and a value that satisfies it.
pub(crate) fn schema_with_value() -> impl Strategy<Value = (Value, Value)> {
    pair(false)
}

/// A schema of the fragment, without bounds, and a value that satisfies it.
pub(crate) fn fragment_with_value() -> impl Strategy<Value = (Value, Value)> {
    pair(true)
}

fn pair(fragment: bool) -> impl Strategy<Value = (Value, Value)> {
    let number = if fragment { json!({ "type": "number" }) } else { json!({ "type": "number", "maximum": 2 }) };
    let text = if fragment { json!({ "type": "string" }) } else { json!({ "type": "string", "minLength": 1 }) };
    let mut leaves = vec![
        (json!({ "type": "null" }), json!(null)),
        (json!({ "type": "boolean" }), json!(false)),
        (json!({ "type": "integer" }), json!(3)),
        (json!({ "type": "integer" }), json!(1.0)),
        (number.clone(), json!(1)),
        (number, json!(0.5)),
        (text.clone(), json!("x")),
        (text, json!("yes")),
        (json!({ "type": ["string", "null"] }), json!("n")),
        (json!({ "type": ["string", "null"] }), json!(null)),
        (json!({ "enum": ["x", 1, null] }), json!(1)),
        (json!({ "enum": ["x", 1, null] }), json!("x")),
        (json!({ "const": "x" }), json!("x")),
    ];
    if !fragment {
        leaves.extend([
            (json!(true), json!([1])),
            (json!({ "minimum": 1 }), json!("not a number")),
            (json!({ "type": "string", "not": { "const": "x" } }), json!("y")),
            (json!({ "enum": [{ "a": 1 }, [1]] }), json!({ "a": 1 })),
            (json!({ "required": ["a"] }), json!(3)),
        ]);
    }
    let nested = select(leaves).prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            4 => object(inner.clone()),
            2 => (inner.clone(), 0..3_usize, any::<bool>()).prop_map(|((schema, value), count, bounded)| {
                let mut array = json!({ "type": "array", "items": schema });
                if bounded {
                    array["minItems"] = json!(count);
                }
                (array, Value::from(vec![value; count]))
            }),
            1 => (inner.clone(), inner.clone(), any::<bool>()).prop_map(|((one, first), (two, second), closed)| {
                let mut array = json!({ "type": "array", "prefixItems": [one, two], "minItems": 2 });
                if closed {
                    array["items"] = json!(false);
                }
                (array, json!([first, second]))
            }),
            2 => (inner.clone(), inner.clone(), any::<bool>()).prop_map(|((one, value), (two, other), first)| {
                (json!({ "anyOf": [one, two] }), if first { value } else { other })
            }),
            1 => (inner.clone(), inner.clone(), any::<bool>()).prop_map(|((one, value), (two, other), first)| {
                let tagged = |tag: &str, schema: Value| json!({
                    "type": "object",
                    "properties": { "a": { "const": tag }, "b": schema },
                    "required": ["a", "b"]
                });
                let schema = json!({ "oneOf": [tagged("one", one), tagged("two", two)] });
                (schema, if first { json!({ "a": "one", "b": value }) } else { json!({ "a": "two", "b": other }) })
            }),
            1 => (inner.clone(), option::of(inner)).prop_map(|((schema, value), other)| {
                let mut map = Map::new();
                map.insert("a".to_owned(), value);
                let mut object = json!({
                    "type": "object",
                    "allOf": [
                        { "type": "object", "properties": { "a": { "$ref": "#/$defs/s" } } },
                        { "type": "object", "required": ["a"] }
                    ],
                    "$defs": { "s": schema }
                });
                if let Some((schema, value)) = other {
                    object["properties"] = json!({ "b": schema });
                    map.insert("b".to_owned(), value);
                }
                (object, Value::Object(map))
            }),
        ]
    });
    nested.prop_map(|(schema, value)| (rooted(&schema, None, true), value))
}

fn object(inner: impl Strategy<Value = (Value, Value)> + Clone) -> impl Strategy<Value = (Value, Value)> {
    let field = (inner.clone(), any::<bool>(), any::<bool>());
    (vec(field, 0..3), option::of(inner), 0..3_u8).prop_map(|(fields, further, closed)| {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut value = Map::new();
        for ((schema, of), is_required, is_there) in fields {
            let name = NAMES[properties.len()];
            properties.insert(name.to_owned(), schema);
            if is_required {
                required.push(name);
            }
            if is_required || is_there {
                value.insert(name.to_owned(), of);
            }
        }
        let mut object = json!({ "type": "object", "properties": properties, "required": required });
        match (closed, further) {
            (0, _) => object["additionalProperties"] = json!(false),
            (1, Some((schema, of))) => {
                object["additionalProperties"] = schema;
                value.insert("d".to_owned(), of);
            }
            _ => {}
        }
        (object, Value::Object(value))
    })
}

/// References lead to the root of a schema, so definitions further down move to where they are referred to.
fn rooted(schema: &Value, definition: Option<&Value>, is_root: bool) -> Value {
    match schema {
        Value::Object(map) if map.contains_key("$ref") => definition.unwrap_or(schema).clone(),
        Value::Object(map) => {
            let own = map.get("$defs").map(|definitions| rooted(&definitions["s"], None, false));
            let below = if is_root { None } else { own.as_ref().or(definition) };
            let entries = map.iter().filter(|(key, _)| *key != "$defs");
            let mut moved: Map<_, _> = entries.map(|(key, value)| (key.clone(), rooted(value, below, false))).collect();
            if let (Some(own), true) = (&own, is_root) {
                moved.insert("$defs".to_owned(), json!({ "s": own }));
            }
            Value::Object(moved)
        }
        Value::Array(items) => items.iter().map(|item| rooted(item, definition, false)).collect(),
        other => other.clone(),
    }
}

/// A schema; now and then with `default`s and keywords that are not modelled.
pub(crate) fn any_schema() -> impl Strategy<Value = Value> {
    let default = option::weighted(0.3, (select(NAMES.to_vec()), any_value()));
    (schema_with_value(), default, 0..8_u8).prop_map(|((mut schema, _), default, odd)| {
        let Some(map) = schema.as_object_mut() else { return schema };
        if let Some((name, value)) = default
            && let Some(property) = map.get_mut("properties").and_then(|properties| properties.get_mut(name))
            && property.is_object()
        {
            property["default"] = value;
        }
        match odd {
            0 => drop(map.insert("not".to_owned(), json!({ "required": ["b"] }))),
            1 => drop(map.insert("patternProperties".to_owned(), json!({ "^a": { "type": "integer" } }))),
            2 => drop(map.insert("anyOf".to_owned(), json!([{ "required": ["a"] }, { "required": ["b"] }]))),
            _ => {}
        }
        schema
    })
}

/// Makes a value that obeys a schema of the fragment; `choose` decides between the possibilities.
pub(crate) fn obey(schema: &Value, root: &Value, choose: &mut dyn FnMut(usize) -> usize) -> Value {
    let follow = |schema: &Value| match schema.get("$ref").and_then(Value::as_str) {
        Some(target) => root.pointer(target.trim_start_matches('#')).unwrap().clone(),
        None => schema.clone(),
    };
    let schema = &follow(schema);
    if *schema == json!(true) {
        return [json!(null), json!(1), json!(["x"])][choose(3)].clone();
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    for keyword in ["enum", "anyOf", "oneOf"] {
        if let Some(list) = schema.get(keyword).and_then(Value::as_array) {
            let one = &list[choose(list.len())];
            return if keyword == "enum" { one.clone() } else { obey(one, root, choose) };
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[choose(kinds.len())].clone(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("null") => Value::Null,
        Some("boolean") => json!(choose(2) == 1),
        Some("integer") => [json!(0), json!(7), json!(-3), json!(2.0)][choose(4)].clone(),
        Some("number") => [json!(0.5), json!(7), json!(-3)][choose(3)].clone(),
        Some("string") => [json!(""), json!("x"), json!("some text")][choose(3)].clone(),
        Some("array") => {
            let prefix = schema.get("prefixItems").and_then(Value::as_array);
            let mut items: Vec<_> = prefix.into_iter().flatten().map(|item| obey(item, root, choose)).collect();
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            match schema.get("items") {
                Some(Value::Bool(false)) => {}
                Some(each) => {
                    let most = usize::try_from(least).unwrap() + choose(3);
                    while items.len() < most {
                        items.push(obey(each, root, choose));
                    }
                }
                None if choose(4) == 0 => items.push(json!("more")),
                None => {}
            }
            Value::Array(items)
        }
        Some("object") => {
            let mut map = Map::new();
            let parts = schema.get("allOf").and_then(Value::as_array);
            let parts: Vec<&Value> = std::iter::once(schema).chain(parts.into_iter().flatten()).collect();
            let required: Vec<&Value> =
                parts.iter().filter_map(|part| part.get("required").and_then(Value::as_array)).flatten().collect();
            for part in &parts {
                for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if required.iter().any(|known| *known == name) || choose(2) == 1 {
                        map.insert(name.clone(), obey(property, root, choose));
                    }
                }
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => {}
                Some(further) if choose(2) == 1 => {
                    map.insert("d".to_owned(), obey(further, root, choose));
                }
                None if choose(3) == 0 => {
                    map.insert("z".to_owned(), json!([1]));
                }
                _ => {}
            }
            Value::Object(map)
        }
        other => panic!("{other:?} is not in the fragment: {schema}"),
    }
}
