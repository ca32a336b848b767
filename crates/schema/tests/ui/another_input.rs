//! A step's whole output is given to an agent that takes something else.

use orchestr8_schema::builder::{AgentRef, WorkflowBuilder};

fn main() {
    let count = AgentRef::<String, u32>::new("@acme/count");
    let greet = AgentRef::<String, String>::new("@acme/greet");
    let mut flow = WorkflowBuilder::new("w", "W");
    let counted = flow.add("count", count.call());
    flow.add("greet", greet.call().input(&counted));
}
