//! JMESPath: every function and every form of the grammar, by the rules of <https://jmespath.org/specification.html>.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use orchestr8_schema::jmespath::JmesPath;
use serde_json::{Value, json};

fn data() -> Value {
    json!({
        "foo": { "bar": { "baz": "correct" }, "hyphen-ated": 1, "": "empty", "with space": 2, "\"q\"": 3, "ü": 4 },
        "numbers": [3, -1, 2.5, 0],
        "strings": ["b", "a", "C", "é"],
        "people": [
            { "name": "Grace", "age": 85, "tags": ["navy", "cobol"] },
            { "name": "Ada", "age": 36, "tags": [] },
            { "name": "Linus", "age": 51 }
        ],
        "nested": [[0, 1], 2, [3, [4, 5]], []],
        "mixed": [1, "a", null, true, { "x": 1 }, [1]],
        "ops": { "a": { "n": 1 }, "b": { "n": 2 }, "c": { "other": 3 }, "d": null },
        "null": null, "zero": 0, "empty": "", "list": [], "object": {}, "yes": true, "no": false,
        "digits": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    })
}

/// 1 and 1.0 are one number to JMESPath.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (left, right) => left == right,
    }
}

fn all_hold(table: &[(&str, Value)]) {
    let data = data();
    let wrong: Vec<_> = table
        .iter()
        .filter_map(|(text, expected)| {
            let found = match JmesPath::compile(text) {
                Ok(path) => path.evaluate(&data).map_err(|error| error.to_string()),
                Err(error) => Err(format!("not compiled: {error}")),
            };
            let holds = found.as_ref().is_ok_and(|found| same(found, expected));
            (!holds).then(|| format!("{text}: {found:?}, not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn identifiers_indices_and_slices() {
    all_hold(&[
        ("foo.bar.baz", json!("correct")),
        ("foo.bar.missing.deeper", json!(null)),
        ("numbers.foo", json!(null)),
        ("foo.\"hyphen-ated\"", json!(1)),
        ("foo.\"with space\"", json!(2)),
        ("foo.\"\\\"q\\\"\"", json!(3)),
        ("foo.\"\\u00fc\"", json!(4)),
        ("foo.\"\"", json!("empty")),
        ("numbers[0]", json!(3)),
        ("numbers[-1]", json!(0)),
        ("numbers[9]", json!(null)),
        ("numbers[-9]", json!(null)),
        ("foo[0]", json!(null)),
        ("digits[2:5]", json!([2, 3, 4])),
        ("digits[:3]", json!([0, 1, 2])),
        ("digits[-3:]", json!([7, 8, 9])),
        ("digits[::3]", json!([0, 3, 6, 9])),
        ("digits[8:2:-2]", json!([8, 6, 4])),
        ("digits[::-1]", json!([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])),
        ("digits[5:100]", json!([5, 6, 7, 8, 9])),
        ("digits[-100:2]", json!([0, 1])),
        ("digits[4:4]", json!([])),
        ("digits[:]", json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("foo[0:2]", json!(null)),
    ]);
}

#[test]
fn projections_flatten_and_filter() {
    all_hold(&[
        ("people[*].name", json!(["Grace", "Ada", "Linus"])),
        ("people[*].tags", json!([["navy", "cobol"], []])),
        ("people[*].tags[0]", json!(["navy"])),
        ("people[].tags[]", json!(["navy", "cobol"])),
        ("people[*].missing", json!([])),
        ("foo[*]", json!(null)),
        ("ops.*.n", json!([1, 2])),
        ("numbers.*", json!(null)),
        ("nested[]", json!([0, 1, 2, 3, [4, 5]])),
        ("nested[][]", json!([0, 1, 2, 3, 4, 5])),
        ("foo[]", json!(null)),
        ("people[?age > `40`].name", json!(["Grace", "Linus"])),
        ("people[?tags].name", json!(["Grace"])),
        ("people[?name == 'Ada'].age | [0]", json!(36)),
        ("people[?contains(tags || `[]`, 'cobol')].name", json!(["Grace"])),
        ("people[?age > `40` && age < `60`].name", json!(["Linus"])),
        ("people[?!tags].name", json!(["Ada", "Linus"])),
        ("foo[?bar]", json!(null)),
        ("digits[1:4][0]", json!([])),
        ("digits[1:4] | [0]", json!(1)),
        ("people[*].name | [1]", json!("Ada")),
        // Objects come with sorted keys, so that decisions replay alike.
        ("people[0].*", json!([85, "Grace", ["navy", "cobol"]])),
        ("mixed[*].x", json!([1])),
        ("mixed[?@ == `1`]", json!([1])),
        ("mixed[*]", json!([1, "a", true, { "x": 1 }, [1]])),
    ]);
}

#[test]
fn multiselects_literals_and_operators() {
    all_hold(&[
        ("[zero, yes]", json!([0, true])),
        ("{a: zero, \"b c\": foo.bar.baz}", json!({ "a": 0, "b c": "correct" })),
        ("missing.[a, b]", json!(null)),
        ("people[*].[name, age]", json!([["Grace", 85], ["Ada", 36], ["Linus", 51]])),
        ("people[*].{n: name}", json!([{ "n": "Grace" }, { "n": "Ada" }, { "n": "Linus" }])),
        ("'raw \\' string'", json!("raw ' string")),
        ("'a\\nb'", json!("a\\nb")),
        ("`{\"a\": [1, null]}`", json!({ "a": [1, null] })),
        ("`\"quo\\`te\"`", json!("quo`te")),
        ("missing || 'default'", json!("default")),
        ("zero || 'default'", json!(0)),
        ("empty || list || object || no || null || 'last'", json!("last")),
        ("yes && 'then'", json!("then")),
        ("empty && 'then'", json!("")),
        ("!empty", json!(true)),
        ("!zero", json!(false)),
        ("!(yes && no)", json!(true)),
        ("no || yes && empty", json!("")),
        ("(yes || no) && zero", json!(0)),
        ("foo.bar == {baz: 'correct'}", json!(true)),
        ("`1` == `1.0`", json!(true)),
        ("'a' == `\"a\"`", json!(true)),
        ("yes != no", json!(true)),
        ("numbers[0] >= `3`", json!(true)),
        ("numbers[1] < `0`", json!(true)),
        ("'a' < 'b'", json!(null)),
        ("null < `1`", json!(null)),
        ("list == `[]`", json!(true)),
        ("@.zero", json!(0)),
        ("foo | bar | baz", json!("correct")),
        ("people[0] | tags[1]", json!("cobol")),
        ("length(people) > `2` && people[1].name == 'Ada'", json!(true)),
    ]);
}

/// The functions of the specification.
const FUNCTIONS: [&str; 26] = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "ends_with",
    "floor",
    "join",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "merge",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "sum",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
];

/// Those of the functions that no expression calls first.
fn untried<'t>(texts: &(impl Iterator<Item = &'t str> + Clone)) -> Vec<&'static str> {
    let is_tried = |name: &&str| texts.clone().any(|text| text.starts_with(&format!("{name}(")));
    FUNCTIONS.into_iter().filter(|name| !is_tried(name)).collect()
}

#[test]
fn every_function() {
    let table = [
        ("abs(numbers[1])", json!(1)),
        ("avg(numbers)", json!(1.125)),
        ("avg(list)", json!(null)),
        ("ceil(numbers[2])", json!(3)),
        ("contains('abc', 'b')", json!(true)),
        ("contains(numbers, `2.5`)", json!(true)),
        ("contains(strings, 'x')", json!(false)),
        ("ends_with('abc', 'bc')", json!(true)),
        ("ends_with('abc', '')", json!(true)),
        ("floor(numbers[2])", json!(2)),
        ("join(', ', strings)", json!("b, a, C, é")),
        ("join('-', list)", json!("")),
        ("sort(keys(ops))", json!(["a", "b", "c", "d"])),
        ("keys(object)", json!([])),
        ("length('é😀')", json!(2)),
        ("length(people)", json!(3)),
        ("length(ops)", json!(4)),
        ("map(&tags, people)", json!([["navy", "cobol"], [], null])),
        ("map(&@, list)", json!([])),
        ("max(numbers)", json!(3)),
        ("max(strings)", json!("é")),
        ("max(list)", json!(null)),
        ("max_by(people, &age).name", json!("Grace")),
        ("max_by(people, &name).name", json!("Linus")),
        ("max_by(list, &age)", json!(null)),
        ("merge(foo.bar, {baz: 'new', more: `1`})", json!({ "baz": "new", "more": 1 })),
        ("merge(object)", json!({})),
        ("min(numbers)", json!(-1)),
        ("min(strings)", json!("C")),
        ("min(list)", json!(null)),
        ("min_by(people, &age).name", json!("Ada")),
        ("not_null(missing, null, zero, yes)", json!(0)),
        ("not_null(missing, null)", json!(null)),
        ("reverse(numbers)", json!([0, 2.5, -1, 3])),
        ("reverse('aé😀')", json!("😀éa")),
        ("sort(numbers)", json!([-1, 0, 2.5, 3])),
        ("sort(strings)", json!(["C", "a", "b", "é"])),
        ("sort(list)", json!([])),
        ("sort_by(people, &age)[*].name", json!(["Ada", "Linus", "Grace"])),
        ("sort_by(people, &name)[*].age", json!([36, 85, 51])),
        ("sort_by(list, &age)", json!([])),
        ("starts_with('abc', 'ab')", json!(true)),
        ("sum(numbers)", json!(4.5)),
        ("sum(list)", json!(0)),
        ("to_array(zero)", json!([0])),
        ("to_array(list)", json!([])),
        ("to_number('1.5e2')", json!(150)),
        ("to_number('x')", json!(null)),
        ("to_number(yes)", json!(null)),
        ("to_number(list)", json!(null)),
        ("to_number(zero)", json!(0)),
        ("to_string('text')", json!("text")),
        ("to_string(foo.bar)", json!("{\"baz\":\"correct\"}")),
        ("to_string(yes)", json!("true")),
        ("type(zero)", json!("number")),
        ("type(empty)", json!("string")),
        ("type(yes)", json!("boolean")),
        ("type(list)", json!("array")),
        ("type(object)", json!("object")),
        ("type(missing)", json!("null")),
        ("values(foo.bar)", json!(["correct"])),
        ("sort(values(ops)[*].n)", json!([1, 2])),
        ("people[*].length(name)", json!([5, 3, 5])),
        ("length(keys(@)) > `5`", json!(true)),
        ("sort_by(people, &length(name))[*].name", json!(["Ada", "Grace", "Linus"])),
    ];
    assert_eq!(untried(&table.iter().map(|(text, _)| *text)), [""; 0]);
    all_hold(&table);
}

#[test]
fn wrong_arguments_are_errors_when_they_are_evaluated() {
    let data = data();
    let texts = [
        "abs(empty)",
        "avg(strings)",
        "ceil(yes)",
        "contains(zero, 'a')",
        "ends_with('a', zero)",
        "floor(null)",
        "join(zero, strings)",
        "join(',', numbers)",
        "keys(list)",
        "length(zero)",
        "map(&a, foo)",
        "max(mixed)",
        "max_by(people, &tags)",
        "merge(list)",
        "min(mixed)",
        "min_by(mixed, &x)",
        "reverse(foo)",
        "sort(mixed)",
        "sort(numbers[].to_array(@))",
        "sort_by(people, &missing)",
        "starts_with(zero, 'a')",
        "sum(strings)",
        "values(numbers)",
        "digits[::0]",
    ];
    let accepted: Vec<_> =
        texts.into_iter().filter(|text| JmesPath::compile(text).unwrap().evaluate(&data).is_ok()).collect();
    assert!(accepted.is_empty(), "{accepted:?}");
}

#[test]
fn what_is_no_jmespath_is_not_compiled() {
    let texts = [
        "",
        " ",
        "foo.",
        ".foo",
        "foo.1",
        "foo.-11",
        "foo[",
        "foo]",
        "foo[a]",
        "foo[1.5]",
        "foo[0 1]",
        "foo[:::]",
        "foo[?",
        "foo[?]",
        "foo[?a==]",
        "[",
        "[]]",
        "[a",
        "[a,",
        "{",
        "{a",
        "{a:",
        "{a: b",
        "{1: b}",
        "{a: b,}",
        "'open",
        "\"open",
        "`open",
        "`{bad}`",
        "a b",
        "a,b",
        "a=b",
        "a === b",
        "a < < b",
        "a ||",
        "|| a",
        "a &&",
        "a |",
        "!",
        "(a",
        "a)",
        "()",
        "&",
        "*a",
        "**",
        "a.**",
        "a[*",
        "foo(",
        "foo(a",
        "foo(a,)",
        "nope(a)",
        "Length(a)",
        "abs(`1`, `2`)",
        "contains('a')",
        "join(',')",
        "length()",
        "merge()",
        "not_null()",
        "sort_by(people)",
        "sort_by(people, 'age')",
        "sort_by(&age, people)",
        "map(age, people)",
        "to_string(&age)",
        "type()",
        "foo[?length(a, b)]",
        "a.length(",
        "$",
        "#",
        "a?b",
        "foo.{",
        "@@",
    ];
    let accepted: Vec<_> = texts.into_iter().filter(|text| JmesPath::compile(text).is_ok()).collect();
    assert!(accepted.is_empty(), "{accepted:?}");
}
