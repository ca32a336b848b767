//! Problems, as `orchestr8 validate` finds them.

use orchestr8_schema::{
    Diagnostic, Severity,
    source::{Options, load},
};

use super::{
    Analysis,
    protocol::{self, Position, Range},
};
use crate::workflow_folder::WorkflowFolder;

impl Analysis<'_> {
    /// Returns everything that is wrong with the text, in the order of the text.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<protocol::Diagnostic> {
        let folder = WorkflowFolder::default();
        let options = Options::new().file_name(self.name).agents(self.agents).workflows(&folder);
        let found = match load(self.text.as_str(), &options) {
            Ok(workflow) => workflow.warnings().to_vec(),
            Err(invalid) => invalid.into_diagnostics(),
        };
        found.iter().map(|diagnostic| self.to_protocol(diagnostic)).collect()
    }

    fn to_protocol(&self, diagnostic: &Diagnostic) -> protocol::Diagnostic {
        let mut message = diagnostic.message.clone();
        if let Some(label) = &diagnostic.label {
            message.push_str(": ");
            message.push_str(label);
        }
        if let Some(help) = &diagnostic.help {
            message.push_str("\nhelp: ");
            message.push_str(help);
        }
        // What is wrong in another file is said at the top of this one.
        let own = diagnostic.span.filter(|_| diagnostic.file.is_none());
        if let Some(file) = &diagnostic.file {
            message = match diagnostic.span {
                Some(span) => format!("{file}:{}:{}: {message}", span.line, span.column),
                None => format!("{file}: {message}"),
            };
        }
        let range = own.map_or_else(
            || Range { start: Position::default(), end: self.text.at_column(1, u32::MAX) },
            |span| Range {
                start: self.text.at_column(span.line, span.column),
                end: self.text.at_column(span.end_line, span.end_column),
            },
        );
        protocol::Diagnostic {
            range,
            severity: match diagnostic.severity {
                Severity::Error => 1,
                Severity::Warning => 2,
            },
            code: diagnostic.code.as_str().to_owned(),
            source: "orchestr8",
            message,
        }
    }
}
