//! What GitHub answers, and what it takes.

use serde_json::{Value, json};

use super::{Answer, Request};

/// Lists releases with these tags, the newest first.
pub fn releases(tags: &[&str]) -> Answer {
    let releases = tags.iter().zip(1..).map(
        |(tag, id)| json!({ "id": id, "tag_name": tag, "name": tag, "draft": false, "prerelease": false, "body": "" }),
    );
    Answer::json(200, &releases.collect())
}

/// Answers a pull request of this number that is open.
pub fn pull(number: u64, title: &str) -> Answer {
    let url = format!("https://github.com/o/r/pull/{number}");
    Answer::json(201, &json!({ "id": number, "number": number, "state": "open", "title": title, "html_url": url }))
}

/// Answers an error of this status.
pub fn error(status: u16) -> Answer {
    Answer::json(status, &json!({ "message": "told to fail", "documentation_url": "https://docs.github.com/rest" }))
}

/// What is answered where nothing else is said: the release `v1.0.0`, and pull request 42.
pub(super) fn usual(request: &Request) -> Answer {
    match request.method.as_str() {
        "POST" => pull(42, request.body["title"].as_str().unwrap_or_default()),
        _ => releases(&["v1.0.0"]),
    }
}

/// Says why a request is none that the provider takes, with what it answers.
pub(super) fn refusal_of(request: &Request) -> Option<(String, Answer)> {
    let parts: Vec<_> = request.route().split('/').skip(1).collect();
    let is_named = |name: &Value| name.as_str().is_some_and(|name| !name.is_empty());
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["repos", owner, repository, "releases"]) if !owner.is_empty() && !repository.is_empty() => None,
        ("POST", ["repos", owner, repository, "pulls"]) if !owner.is_empty() && !repository.is_empty() => {
            let missing = ["title", "head", "base"].into_iter().find(|field| !is_named(&request.body[field]))?;
            let answer = json!({ "message": "Validation Failed", "errors": [{ "resource": "PullRequest", "field": missing, "code": "missing_field" }] });
            Some((format!("`{missing}` is missing"), Answer::json(422, &answer)))
        }
        _ => Some(("there are only GET …/releases and POST …/pulls of /repos/{owner}/{repo}".to_owned(), error(404))),
    }
}
