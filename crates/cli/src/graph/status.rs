//! How far steps have come, as a graph shows it.

use orchestr8_schema::api::{StepResult, StepStatus};

/// How many visits of one step have which status: a step inside a map or a loop is visited once for each item or iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u32; StepStatus::ALL.len()]);

impl Tally {
    /// Adds a visit.
    pub fn add(&mut self, status: StepStatus) {
        let count = &mut self.0[status as usize];
        *count = count.saturating_add(1);
    }

    /// Returns how many visits there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns how many visits have a status.
    #[must_use]
    pub fn count(&self, status: StepStatus) -> u32 {
        self.0[status as usize]
    }

    /// Returns each status that occurs with its number of visits, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (StepStatus, u32)> {
        const URGENT: [StepStatus; 7] = [
            StepStatus::Failed,
            StepStatus::Running,
            StepStatus::Waiting,
            StepStatus::Pending,
            StepStatus::Cancelled,
            StepStatus::Completed,
            StepStatus::Skipped,
        ];
        URGENT.into_iter().map(|status| (status, self.count(status))).filter(|(_, count)| *count > 0)
    }

    /// Returns what one word says of all visits: the most urgent status; `None` of no visits.
    #[must_use]
    pub fn overall(&self) -> Option<StepStatus> {
        self.iter().next().map(|(status, _)| status)
    }
}

/// Returns the place in the workflow that a step's result belongs to: its path without items and iterations.
pub(super) fn place_of(result: &StepResult) -> String {
    let path = &result.step_path;
    let mut place = String::with_capacity(path.len());
    let mut rest = path.chars();
    while let Some(character) = rest.next() {
        match character {
            '[' => skip_key(&mut rest),
            '#' => {
                let digits = rest.as_str().chars().take_while(char::is_ascii_digit).count();
                rest.by_ref().take(digits).for_each(drop);
            }
            other => place.push(other),
        }
    }
    place
}

/// Skips an item's number or its key, a JSON string in which brackets mean nothing.
fn skip_key(rest: &mut std::str::Chars<'_>) {
    let mut in_text = false;
    while let Some(character) = rest.next() {
        match character {
            '"' => in_text = !in_text,
            '\\' if in_text => {
                rest.next();
            }
            ']' if !in_text => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestr8_schema::api::StepResult;

    use super::place_of;

    #[test]
    fn items_and_iterations_are_visits_of_one_place() {
        let table = [
            ("fetch", "fetch"),
            ("reviews[3].score", "reviews.score"),
            (r#"reviews["a].\"md"].score"#, "reviews.score"),
            ("refine#2.critic", "refine.critic"),
            ("onboard.create-user", "onboard.create-user"),
        ];
        for (path, place) in table {
            let mut result = StepResult::default();
            result.step_path = path.to_owned();
            assert_eq!(place_of(&result), place);
        }
    }
}
