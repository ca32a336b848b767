//! Writing what came into a test file, where its author asks for that.

use std::{fs, ops::Range, path::Path};

use orchestr8_schema::source::Places;
use orchestr8_testing::workflow_test::FileReport;
use serde_json::Value;

use crate::Error;

const MARK: &str = "# snapshot";

/// Rewrites the values whose first or last line is marked, and tells how many have changed.
pub(super) fn rewrite(file: &Path, places: &Places, report: &FileReport) -> Result<usize, Error> {
    let actuals = report.tests.iter().flat_map(|test| &test.actuals);
    let (text, count) = rewritten(places, actuals);
    if count > 0 {
        let failed = |error| Error::usage(format!("cannot write `{}`", file.display())).with_source(error);
        fs::write(file, text).map_err(failed)?;
    }
    Ok(count)
}

fn rewritten<'a>(places: &Places, actuals: impl Iterator<Item = &'a (String, Value)>) -> (String, usize) {
    let text = places.text();
    let mut found: Vec<(Range<usize>, &Value)> = Vec::new();
    for (pointer, actual) in actuals {
        let Some(range) = places.range(pointer).filter(|range| is_marked(text, places, pointer, range)) else {
            continue;
        };
        found.push((range, actual));
    }
    // The outer one of two says it all; of rows that share a value, the first.
    found.sort_by(|(one, _), (other, _)| one.start.cmp(&other.start).then(other.end.cmp(&one.end)));
    let mut out = String::with_capacity(text.len());
    let (mut end, mut count) = (0, 0);
    for (range, actual) in found {
        if range.start < end {
            continue;
        }
        let written = actual.to_string();
        out.push_str(&text[end..range.start]);
        out.push_str(&written);
        count += usize::from(text[range.clone()] != written);
        end = range.end;
    }
    out.push_str(&text[end..]);
    (out, count)
}

/// Whether the line of the key, or the one on which the value ends, has the mark.
fn is_marked(text: &str, places: &Places, pointer: &str, range: &Range<usize>) -> bool {
    let line_around = |at: usize| {
        let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        &text[begin..end]
    };
    let key = places.span(pointer).and_then(|span| text.lines().nth(span.line as usize - 1));
    key.is_some_and(|line| line.trim_end().ends_with(MARK))
        || line_around(range.start).trim_end().ends_with(MARK)
        || line_around(range.end.saturating_sub(1).max(range.start)).trim_end().ends_with(MARK)
}

#[cfg(test)]
mod tests {
    use orchestr8_schema::{
        source::Options,
        test_file::{StepPattern, TestFile},
    };
    use serde_json::json;

    use super::rewritten;

    #[test]
    fn only_what_is_marked_is_written() {
        let text = "\
workflow: ./w.yaml
tests:
  - name: a
    then:
      status: failed
      outputs: { a: 1 } # snapshot
      steps:
        b:
          output: # snapshot
            c:
              - 1
          attempts: 1
";
        let file = TestFile::read(text, &Options::new().file_name("w.test.yaml")).unwrap();
        let actuals = [
            ("/tests/0/then/status".to_owned(), json!("completed")),
            ("/tests/0/then/outputs".to_owned(), json!({ "a": [2] })),
            ("/tests/0/then/outputs/a".to_owned(), json!([2])),
            ("/tests/0/then/steps/b/output".to_owned(), json!({ "d": 2 })),
            ("/tests/0/then/steps/b/attempts".to_owned(), json!(2)),
        ];
        let (written, count) = rewritten(&file.places, actuals.iter());
        assert_eq!(count, 2);
        let again = TestFile::read(&written, &Options::new().file_name("w.test.yaml")).unwrap();
        let then = &again.value.tests[0].then;
        assert_eq!(then.outputs, Some(json!({ "a": [2] })));
        let step = &then.steps[&"b".parse::<StepPattern>().unwrap()];
        assert_eq!((step.output.clone(), step.attempts), (Some(json!({ "d": 2 })), Some(1)));
        assert!(written.contains("outputs: {\"a\":[2]} # snapshot"), "{written}");
    }
}
