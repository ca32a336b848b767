//! What is shipped.

use orchestr8_schema::canonical;
use serde_json::Value;

use crate::Error;

/// An agent that is shipped: two files, and a server of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShippedAgent {
    pub(crate) name: &'static str,
    agent: &'static [u8],
    prompts: &'static [u8],
    sums: [&'static str; 2],
    server: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/shipped_agents.rs"));

impl ShippedAgent {
    /// Finds agents by their names; without names it is all of them, in the order of their names.
    ///
    /// # Errors
    ///
    /// When a name is unknown.
    pub(crate) fn find(names: &[String]) -> Result<Vec<Self>, Error> {
        let known = || SHIPPED.iter().map(|agent| agent.name);
        if let Some(unknown) = names.iter().find(|name| !known().any(|known| known == name.as_str())) {
            let known: Vec<_> = known().collect();
            return Err(Error::usage(format!("there is no agent `{unknown}` to install"))
                .with_hint(format!("there are {}", known.join(", "))));
        }
        let is_chosen = |agent: &&Self| names.is_empty() || names.iter().any(|name| name == agent.name);
        Ok(SHIPPED.iter().filter(is_chosen).copied().collect())
    }

    /// The files with their places below the target.
    pub(super) fn files(self) -> [(String, &'static [u8]); 2] {
        [
            (format!(".claude/agents/{}.md", self.name), self.agent),
            (format!(".claude/prompts/{}-prompts.xml", self.name), self.prompts),
        ]
    }

    /// Checks that the files are those that the program was built with.
    pub(super) fn check(self) -> Result<(), Error> {
        for ((path, bytes), sum) in self.files().into_iter().zip(self.sums) {
            if canonical::sha256_hex(bytes) != sum {
                return Err(Error::internal(format!("the asset {path} does not have its checksum")));
            }
        }
        Ok(())
    }

    /// The entry of the server that the agent uses; it has the agent's name.
    pub(super) fn server(self) -> Value {
        serde_json::from_str(self.server).expect("a test reads it")
    }

    /// The variables that the server's entry names.
    pub(super) fn environment(self) -> Vec<String> {
        let names = self.server.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
        names.map(|(name, _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use orchestr8_agent_base::prompt::Template;
    use orchestr8_schema::id::ToolName;
    use serde_json::{Map, Value, json};

    use super::SHIPPED;

    #[test]
    fn what_is_shipped_has_its_form_and_holds_no_secret() {
        for agent in SHIPPED {
            agent.check().expect("the sums fit");
            let server = agent.server();
            assert_ne!(server.get("command").is_some(), server.get("url").is_some(), "{}", agent.name);
            for group in ["env", "headers"] {
                let values = server.get(group).and_then(Value::as_object).into_iter().flat_map(|map| map.values());
                for value in values.filter_map(Value::as_str) {
                    let bare = value.trim_start_matches("Bearer ");
                    assert!(bare.starts_with("${") && bare.ends_with('}'), "{}: {value} is no placeholder", agent.name);
                }
            }
            let text = std::str::from_utf8(agent.agent).expect("text");
            let front = text.strip_prefix("---\n").and_then(|text| text.split_once("\n---\n")).expect("front matter").0;
            assert!(front.lines().any(|line| line == format!("name: {}", agent.name)), "{front}");
            assert!(front.lines().any(|line| line.starts_with("description: ")), "{front}");
            let tools = front.lines().find_map(|line| line.strip_prefix("tools: "));
            for tool in tools.into_iter().flat_map(|tools| tools.split(',')) {
                assert!(tool.trim().parse::<ToolName>().is_ok(), "{tool}");
            }
            let prompts = std::str::from_utf8(agent.prompts).expect("text");
            let template = Template::read(prompts).expect("a template");
            assert_eq!(template.id(), format!("{}-research", agent.name));
            let question = Map::from_iter([("research_query".to_owned(), json!("How is it done?"))]);
            let composed = template.compose(&question).expect("the others have defaults");
            assert!(composed.user.contains("<max_sources>20</max_sources>"), "{}", composed.user);
        }
    }
}
