//! Files of mocks, for simulations.

use indexmap::IndexMap;
use serde_json::Value;

use super::{Field, Reader};
use crate::{
    Code,
    problem::{Problems, quote},
    test_file::{CalleeFacts, MockFile},
    validate::compile_schema,
};

/// Reads a file of mocks.
pub(crate) fn mock_file(document: &Value, problems: &mut Problems) -> Option<MockFile> {
    let mut reader = Reader::new(problems);
    let root = reader.root(document)?;
    let file = MockFile {
        input: reader.map(root.get("input")).map(Value::Object),
        agents: reader.callees(root.get("agents"), "agent id", "irreversible"),
        tools: reader.callees(root.get("tools"), "tool name", "destructive"),
        mocks: reader.mocks(root.get("mocks")),
        always: reader
            .list(root.get("always"))
            .map(|list| list.items().filter_map(|item| reader.jmespath(Some(item))).collect())
            .unwrap_or_default(),
    };
    reader.unknown_keys(&root, &["input", "agents", "tools", "mocks", "always", "$schema"]);
    Some(file)
}

impl Reader<'_> {
    fn callees<K>(&mut self, field: Option<Field<'_>>, what: &str, irreversible: &str) -> IndexMap<K, CalleeFacts>
    where
        K: std::str::FromStr + std::hash::Hash + Eq,
    {
        let Some(object) = self.object(field) else { return IndexMap::new() };
        let mut callees = IndexMap::with_capacity(object.map.len());
        for (key, value) in object.map.iter().filter(|(key, _)| !key.starts_with("x-")) {
            let field = Field { value, at: object.at.key(key), name: key };
            let facts = self.facts(field, irreversible);
            match key.parse() {
                Ok(name) => callees.extend(facts.map(|facts| (name, facts))),
                Err(_) => {
                    let message = format!("`{}` is no {what}", quote(key));
                    self.problems.report(Code::WrongForm, field.at, message).on_key();
                }
            }
        }
        callees
    }

    fn facts(&mut self, field: Field<'_>, irreversible: &str) -> Option<CalleeFacts> {
        let object = self.object(Some(field))?;
        let facts = CalleeFacts {
            input_schema: self.sound_schema(object.get("inputSchema")),
            output_schema: self.sound_schema(object.get("outputSchema")),
            idempotent: self.boolean(object.get("idempotent")).unwrap_or_default(),
            irreversible: self.boolean(object.get(irreversible)).unwrap_or_default(),
        };
        self.unknown_keys(&object, &["inputSchema", "outputSchema", "idempotent", irreversible]);
        Some(facts)
    }

    fn sound_schema(&mut self, field: Option<Field<'_>>) -> Option<Value> {
        let schema = self.schema(field)?;
        compile_schema(&schema, &field?.at, self.problems).map(|_| schema)
    }
}
