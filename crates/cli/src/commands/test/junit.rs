//! The report that continuous integration reads: a suite for each file, a case for each test.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use orchestr8_testing::workflow_test::{FileReport, TestReport, TestStatus};

use super::cargo::CrateReport;
use crate::{Error, xml::escaped};

/// Writes a report.
pub(super) fn write(path: &Path, files: &[FileReport], crates: &[CrateReport]) -> Result<(), Error> {
    fs::write(path, draw(files, crates))
        .map_err(|error| Error::usage(format!("cannot write `{}`", path.display())).with_source(error))
}

fn draw(files: &[FileReport], crates: &[CrateReport]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for CrateReport { folder, passed, duration } in crates {
        let (folder, time) = (escaped(folder), duration.as_secs_f64());
        let failure = if *passed { "" } else { "<failure message=\"cargo says that a test has failed\"/>" };
        let _ = writeln!(
            out,
            "  <testsuite name=\"{folder}\" tests=\"1\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{time:.3}\">\n    \
             <testcase classname=\"{folder}\" name=\"cargo test\" time=\"{time:.3}\">{failure}</testcase>\n  </testsuite>",
            u8::from(!passed)
        );
    }
    for file in files {
        let count = |status| file.count(status);
        let time: Duration = file.tests.iter().map(|test| test.duration).sum();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">",
            escaped(&file.file),
            file.tests.len(),
            count(TestStatus::Failed),
            count(TestStatus::Skipped),
            time.as_secs_f64()
        );
        for test in &file.tests {
            draw_test(&mut out, &file.file, test);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn draw_test(out: &mut String, file: &str, test: &TestReport) {
    let _ = writeln!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">\n      <properties>\n        \
         <property name=\"seed\" value=\"{}\"/>\n        <property name=\"virtualMs\" value=\"{}\"/>\n      </properties>",
        escaped(file),
        escaped(&test.name),
        test.duration.as_secs_f64(),
        test.seed,
        test.elapsed.as_millis()
    );
    if test.status == TestStatus::Skipped {
        out.push_str("      <skipped/>\n");
    }
    if let Some(first) = test.failures.first() {
        let place = |line| format!("   {file}:{line}");
        let mut text = String::new();
        for failure in &test.failures {
            let _ = writeln!(text, "{failure}{}", failure.span.map(|span| place(span.line)).unwrap_or_default());
        }
        for line in &test.journal {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(
            out,
            "      <failure message=\"{}\">{}</failure>",
            escaped(&first.to_string()),
            escaped(text.trim_end())
        );
    }
    out.push_str("    </testcase>\n");
}
