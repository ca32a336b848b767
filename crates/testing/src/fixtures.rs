//! Workflows to try things on. All of them call `@test/echo` alone, unless they say otherwise, which answers its input.
//!
//! ```
//! use orchestr8_testing::{Harness, assert_completed, fixtures, scripted};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let run = Harness::new().agent(scripted("echo")).run(fixtures::diamond(), json!({ "topic": "rain" })).await;
//! assert_completed!(run);
//! # }
//! ```

use serde_json::{Value, json};

fn document(id: &str, steps: impl IntoIterator<Item = Value>) -> Value {
    let steps: Vec<_> = steps.into_iter().collect();
    json!({ "version": "1.0.0", "metadata": { "id": id, "name": id }, "steps": steps })
}

fn echo(id: &str, dependencies: &[&str]) -> Value {
    json!({ "id": id, "agent": { "id": "@test/echo" }, "dependencies": dependencies, "input": { "of": id } })
}

fn with(mut step: Value, key: &str, value: Value) -> Value {
    step[key] = value;
    step
}

/// One step, `only`.
#[must_use]
pub fn minimal() -> Value {
    document("minimal", [echo("only", &[])])
}

/// Two steps, of which the second, `second`, reads what the first, `first`, gave.
#[must_use]
pub fn vertical_slice() -> Value {
    let second = with(echo("second", &["first"]), "input", json!({ "before": "${steps.first.output.of}" }));
    document("vertical-slice", [echo("first", &[]), second])
}

/// `top`, then `left` and `right`, then `bottom`.
#[must_use]
pub fn diamond() -> Value {
    let steps = [echo("top", &[]), echo("left", &["top"]), echo("right", &["top"]), echo("bottom", &["left", "right"])];
    document("diamond", steps)
}

/// `root`, then `s0`, `s1` and so on at once.
#[must_use]
pub fn fan_out(width: usize) -> Value {
    let leaves = (0..width).map(|place| echo(&format!("s{place}"), &["root"]));
    document("fan-out", std::iter::once(echo("root", &[])).chain(leaves))
}

/// `s0`, `s1` and so on, one after another.
#[must_use]
pub fn chain(length: usize) -> Value {
    let step = |place: usize| match place {
        0 => echo("s0", &[]),
        place => echo(&format!("s{place}"), &[&format!("s{}", place - 1)]),
    };
    document("chain", (0..length).map(step))
}

/// Two steps that wait for each other: it is not valid.
#[must_use]
pub fn cyclic() -> Value {
    document("cyclic", [echo("chicken", &["egg"]), echo("egg", &["chicken"])])
}

/// `main` calls `@test/main`; if that fails, `spare` stands in, and `after` goes on with what it gave.
#[must_use]
pub fn fallback() -> Value {
    let main = json!({
        "id": "main", "agent": { "id": "@test/main" }, "onError": "fallback", "fallbackStepId": "spare"
    });
    document("fallback", [main, echo("spare", &[]), echo("after", &["main"])])
}

/// `shaky` calls `@test/shaky`, whose failure does not matter: `after` waits for it, and reads its output if there is one.
#[must_use]
pub fn continues() -> Value {
    let shaky = json!({ "id": "shaky", "agent": { "id": "@test/shaky" }, "onError": "continue" });
    let after = with(echo("after", &[]), "input", json!({ "of": "${steps.shaky.output.of ?? 'nobody'}" }));
    document("continues", [shaky, after])
}

/// `maybe` runs if the input `wanted` is true.
#[must_use]
pub fn condition() -> Value {
    let maybe = with(echo("maybe", &["first"]), "condition", json!({ "if": "inputs.wanted" }));
    document("condition", [echo("first", &[]), maybe])
}

/// `each` calls `score` for every item of the input `items`, two at once.
#[must_use]
pub fn map() -> Value {
    let score = with(echo("score", &[]), "input", json!({ "item": "${item}" }));
    document(
        "map",
        [json!({ "id": "each", "map": { "items": "${inputs.items}", "concurrency": 2, "steps": [score] } })],
    )
}

/// `again` calls `round` until it has run three times.
#[must_use]
pub fn looping() -> Value {
    let body = json!({ "until": "loop.index >= `2`", "maxIterations": 5, "steps": [echo("round", &[])] });
    document("looping", [json!({ "id": "again", "loop": body })])
}

/// `choose` runs `big` if the input `size` is over 10, else `small`.
#[must_use]
pub fn branch() -> Value {
    let choose = json!({
        "id": "choose",
        "branch": {
            "cases": [{ "when": "inputs.size > `10`", "steps": [echo("big", &[])] }],
            "default": { "steps": [echo("small", &[])] }
        }
    });
    document("branch", [choose])
}

/// `gate` asks somebody; then `after` runs.
#[must_use]
pub fn approval() -> Value {
    let gate = json!({ "id": "gate", "approval": { "prompt": "Shall we?" } });
    document("approval", [gate, echo("after", &["gate"])])
}

/// `book` is undone by `@test/cancel-booking` when `pay`, which calls `@test/pay`, fails.
#[must_use]
pub fn compensation() -> Value {
    let book = with(
        echo("book", &[]),
        "compensate",
        json!({ "agent": { "id": "@test/cancel-booking" }, "input": { "booked": "${self.output.of}" } }),
    );
    let pay = json!({ "id": "pay", "agent": { "id": "@test/pay" }, "dependencies": ["book"] });
    document("compensation", [book, pay])
}

/// A map of loops of parallel groups.
#[must_use]
pub fn nested() -> Value {
    let group = json!({ "id": "group", "parallel": { "steps": [echo("left", &[]), echo("right", &[])] } });
    let looped =
        json!({ "id": "twice", "loop": { "until": "loop.index >= `1`", "maxIterations": 2, "steps": [group] } });
    document("nested", [json!({ "id": "each", "map": { "items": "${inputs.items}", "steps": [looped] } })])
}
