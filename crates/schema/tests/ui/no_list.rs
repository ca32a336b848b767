//! A map over what is no list.

use orchestr8_schema::builder::{WorkflowBuilder, map, wait_for};

fn main() {
    let mut flow = WorkflowBuilder::new("w", "W");
    let name = flow.input::<String>("name");
    flow.add("each", map(&name, |body, _item| body.add("wait", wait_for(std::time::Duration::from_secs(1)))));
}
