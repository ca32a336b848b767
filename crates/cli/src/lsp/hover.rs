//! What stands at a place: its type, and what it means.

use std::ops::Range;

use serde_json::Value;

use super::{
    Analysis,
    analysis::{Reading, mention_at},
    completion::known_of_agent,
    format,
    outline::Outline,
    protocol::{Hover, Markup, Position},
    syntax::{Found, NodeId, Token, Tree},
    types::View,
};

impl Analysis<'_> {
    /// Says what stands at a place.
    #[must_use]
    pub fn hover(&self, position: Position) -> Option<Hover> {
        let offset = self.text.offset(position);
        let tree = Tree::new(self.text.as_str());
        let outline = Outline::new(&tree);
        let found = tree.find(offset)?;
        let (value, range) = match found {
            Found::Key(object, place) => {
                let view = self.view(self.text.as_str(), &tree, &outline, object);
                let entry = &tree.entries(object)[place];
                (of_key(&view, object, &tree.key(entry))?, entry.key.clone())
            }
            Found::Scalar(node) => of_scalar(&self.view(self.text.as_str(), &tree, &outline, node), node, offset)?,
        };
        Some(Hover { contents: Markup::new(value), range: self.text.range(&range) })
    }
}

fn of_key(view: &View<'_>, object: NodeId, key: &str) -> Option<String> {
    let mut path = view.tree.path(object);
    let of_agent = known_of_agent(view, object, &path);
    if let Some(member) = of_agent.into_iter().flat_map(|known| known.members()).find(|member| member.name == key) {
        return Some(entry(key, &member.type_name, &member.documentation));
    }
    path.push(Token::Key(key.to_owned()));
    let (type_name, documentation) = format::at(&path).describe()?;
    Some(entry(key, &type_name, &documentation))
}

fn of_scalar(view: &View<'_>, node: NodeId, offset: usize) -> Option<(String, Range<usize>)> {
    let tree = view.tree;
    if let Some(mention) = mention_at(tree, view.outline, offset) {
        let step = view.outline.steps.iter().position(|step| step.id == mention.id)?;
        return Some((format!("**`{}`** {}", mention.id, view.summary(step)), mention.range));
    }
    if let Some(reading) = Reading::new(tree, node, offset)
        && (reading.is_condition || reading.decoded.text.contains("${"))
    {
        let names = reading.path.through();
        let known = view.known(&names[..names.len().min(1)]).filter(|_| names.len() == 1);
        let described = match known {
            // What a root means is said by the object of all roots.
            Some(_) => {
                let member = view.known(&[])?.members().into_iter().find(|member| member.name == names[0])?;
                (member.type_name, member.documentation)
            }
            None => view.known(&names)?.describe()?,
        };
        let range = reading.decoded.written(&reading.path.parts[reading.path.current].range);
        return Some((entry(&names.join("."), &described.0, &described.1), range));
    }
    let path = tree.path(node);
    let text = tree.scalar(node)?;
    if let [.., Token::Key(agent), Token::Key(id)] = &*path
        && agent == "agent"
        && id == "id"
    {
        let manifest = view.manifest(tree.parent(node)?)?;
        let traits = [(manifest.idempotent, "idempotent"), (manifest.irreversible, "irreversible")];
        let traits: String = traits.iter().filter(|(holds, _)| *holds).map(|(_, name)| format!(" · {name}")).collect();
        let says = format!("**`{}`** {}{traits}\n\n{}", manifest.id, manifest.version, manifest.description);
        return Some((says, tree.range(node)));
    }
    let of_format = format::at(&path).choices().into_iter().map(|choice| (choice.value, choice.documentation));
    let of_agent = known_of_agent(view, node, &path).into_iter().flat_map(|known| known.choices());
    let (_, documentation) = of_format.chain(of_agent).find(|(value, _)| match value {
        Value::String(value) => *value == text,
        other => other.to_string() == text,
    })?;
    (!documentation.is_empty()).then(|| (entry(&text, "", &documentation), tree.range(node)))
}

fn entry(name: &str, type_name: &str, documentation: &str) -> String {
    let mut text = format!("**`{name}`**");
    if !type_name.is_empty() {
        text.push_str(&format!(" `{type_name}`"));
    }
    if !documentation.is_empty() {
        text.push_str("\n\n");
        text.push_str(documentation);
    }
    text
}
