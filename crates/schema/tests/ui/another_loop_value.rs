//! A loop whose body gives another type than it began with.

use orchestr8_schema::builder::{AgentRef, WorkflowBuilder, loop_until};

fn main() {
    let count = AgentRef::<String, u32>::new("@acme/count");
    let mut flow = WorkflowBuilder::new("w", "W");
    let draft = flow.input::<String>("draft");
    flow.add("refine", loop_until("loop.value", 3, &draft, |body, text| body.add("count", count.call().input(text))));
}
