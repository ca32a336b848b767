//! What to say about an execution. Each failed assertion shows the journal.

/// Asserts that an execution completed.
#[macro_export]
macro_rules! assert_completed {
    ($run:expr) => {
        let run: &$crate::Run = &$run;
        assert!(run.outcome().is_completed(), "expected completed, got {}\n{}", run.status(), run.journal_text());
    };
}

/// Asserts that an execution failed with a kind of failure, and gives the failure.
#[macro_export]
macro_rules! assert_failed {
    ($run:expr, $kind:expr) => {{
        let run: &$crate::Run = &$run;
        let error = run.outcome().error().cloned();
        let (code, expected) = (error.as_ref().map(|error| error.code), Some($kind));
        assert!(
            run.status().as_str() == "failed" && code == expected,
            "expected failed with {expected:?}, got {} with {code:?}\n{}",
            run.status(),
            run.journal_text()
        );
        error.expect("a failed execution has a failure")
    }};
}

/// Asserts that a journal has these entries in this order, with others in between. An entry is written as its type, step path
/// and attempt, as far as wanted: `"step.completed fetch"`, `"attempt.started fetch 2"`.
#[macro_export]
macro_rules! assert_events {
    ($run:expr, [$($expected:expr),* $(,)?]) => {
        let run: &$crate::Run = &$run;
        if let Some(missing) = $crate::find_gap(&run.journal_lines(), &[$($expected),*]) {
            panic!("`{missing}` is missing, or out of order, in\n{}", run.journal_lines().join("\n"));
        }
    };
}

/// Asserts how many calls of a step reached its agent.
#[macro_export]
macro_rules! assert_attempts {
    ($run:expr, $step:expr, $attempts:expr) => {
        let run: &$crate::Run = &$run;
        let body = run.outcome().to_body();
        let attempts = body.steps.iter().find(|step| step.step_path == $step).map(|step| step.attempts);
        assert_eq!(attempts, Some($attempts), "attempts of {}\n{}", $step, run.journal_text());
    };
}

/// Returns the first expected entry that does not follow those before it.
#[must_use]
pub fn find_gap<'a>(lines: &[String], expected: &[&'a str]) -> Option<&'a str> {
    let mut rest = lines.iter();
    expected.iter().copied().find(|wanted| {
        !rest.any(|line| line == wanted || line.strip_prefix(wanted).is_some_and(|more| more.starts_with(' ')))
    })
}
