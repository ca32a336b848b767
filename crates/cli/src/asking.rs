//! Asking whoever runs a file at a terminal, where one of its steps waits for approval.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _},
};

use orchestr8_schema::api::{Decision, Entry};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    ui::Ui,
    wording::{shell_word, visible},
};

/// The approvals that are waited for, asked about one after another.
#[derive(Debug)]
pub(crate) struct Questions {
    ui: Ui,
    /// How the execution is called in commands.
    id: String,
    waiting: VecDeque<Question>,
    /// The step that was asked about, while somebody may type.
    asked: Option<(String, JoinHandle<io::Result<String>>)>,
    /// Nobody types any more.
    is_over: bool,
}

#[derive(Debug)]
struct Question {
    step_path: String,
    prompt: String,
}

impl Questions {
    pub(crate) fn new(ui: Ui, id: String) -> Self {
        Self { ui, id, waiting: VecDeque::new(), asked: None, is_over: false }
    }

    /// Takes up what has happened.
    pub(crate) fn observe(&mut self, entry: &Entry) {
        let Some(path) = &entry.step_path else { return };
        match entry.kind.as_str() {
            "approval.requested" => {
                let text = |key: &str| entry.data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                if entry.data.get("schema").is_some_and(|schema| !schema.is_null()) {
                    // More than yes and no: that is written as JSON.
                    let (prompt, path) = (text("prompt"), shell_word(path));
                    self.ui.say(&format!("? {}: {}", visible(&path), visible(&prompt)));
                    self.ui.hint(&format!("orchestr8 approve {} {path} --answer JSON", self.id));
                } else {
                    self.waiting.push_back(Question { step_path: path.clone(), prompt: text("prompt") });
                }
            }
            "approval.answered" | "step.completed" | "step.failed" | "step.cancelled" => {
                self.waiting.retain(|question| question.step_path != *path);
            }
            _ => {}
        }
    }

    /// Whether there is something to be [asked](Self::ask) now.
    pub(crate) fn has_next(&self) -> bool {
        self.asked.is_none() && !self.is_over && !self.waiting.is_empty()
    }

    /// Asks the next question. A line that is typed later is its answer.
    pub(crate) fn ask(&mut self) {
        let Some(question) = self.waiting.front().filter(|_| self.has_next()) else { return };
        let (path, prompt) = (visible(&question.step_path), visible(&question.prompt));
        self.ui.say(&format!("? {path}: {prompt} Type y to approve, n to reject:"));
        let read = || {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        };
        // Nobody can interrupt a read; it is left alone when the execution has ended.
        self.asked = Some((question.step_path.clone(), tokio::task::spawn_blocking(read)));
    }

    /// Waits for an answer, for ever if nobody was asked. What is neither yes nor no is asked again, and what was meant for a step that no longer
    /// waits is dropped.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses no answer.
    pub(crate) async fn answered(&mut self) -> Option<(String, Decision)> {
        let Some((_, reading)) = &mut self.asked else { return std::future::pending().await };
        let line = reading.await;
        let (path, _) = self.asked.take()?;
        let line = line.ok().and_then(Result::ok).filter(|line| !line.is_empty());
        // Who has closed standard input answers elsewhere.
        self.is_over = line.is_none();
        let decision = match line?.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Decision::Approve,
            "n" | "no" => Decision::Reject,
            _ => return None,
        };
        let still_waits = self.waiting.front().is_some_and(|question| question.step_path == path);
        still_waits.then(|| {
            self.waiting.pop_front();
            (path, decision)
        })
    }
}
