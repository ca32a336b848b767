//! A circle: a step that reads one that is only added later.

use orchestr8_schema::builder::{AgentRef, WorkflowBuilder};

fn main() {
    let echo = AgentRef::<String, String>::new("@acme/echo");
    let mut flow = WorkflowBuilder::new("w", "W");
    let first = flow.add("first", echo.call().input(&second));
    let second = flow.add("second", echo.call().input(&first));
}
