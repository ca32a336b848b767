//! `GET /` and `GET /assets/*`: the dashboard, one page that reads this API
//!
//! The page is plain HTML, CSS and modules, which stand beside this file and are part of the program. Nothing builds them: what
//! is served is what is written, but that the page names its assets under a folder that is the hash of them all, so that a
//! browser may keep them for ever and still has the new ones after an upgrade.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_schema::{canonical::sha256_hex, config::Theme};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::{
    Service, etag,
    problem::{ProblemCode, Rejection},
};

#[derive(RustEmbed)]
#[folder = "src/server/dashboard/assets"]
struct Assets;

/// The name of the page among the assets, which is the only one that is not served from their folder.
const PAGE: &str = "index.html";
/// What the page says of its colours.
const THEME: &str = r#"name="orchestr8-theme" content="auto""#;
/// How long a browser keeps what is named by its content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What is the same for every answer.
static DASHBOARD: LazyLock<Dashboard> = LazyLock::new(Dashboard::new);

struct Dashboard {
    /// The hash of all assets.
    version: String,
    page: String,
}

impl Dashboard {
    fn new() -> Self {
        let mut names: Vec<_> = Assets::iter().collect();
        names.sort();
        let mut hashes = String::new();
        for name in &names {
            hashes.push_str(name);
            hashes.extend(Assets::get(name).map(|file| sha256_hex(&file.data)));
        }
        let version = sha256_hex(&hashes)[..16].to_owned();
        let page = Assets::get(PAGE).map_or_else(String::new, |page| text(&page));
        let page = page.replace("\"assets/", &format!("\"assets/{version}/"));
        Self { version, page }
    }
}

fn text(file: &EmbeddedFile) -> String {
    String::from_utf8_lossy(&file.data).into_owned()
}

/// Shows the page.
pub(super) async fn page(State(service): State<Service>, headers: HeaderMap) -> Response {
    let theme = match service.0.theme {
        Theme::Light => "light",
        Theme::Dark => "dark",
        Theme::Auto => "auto",
    };
    let page = DASHBOARD.page.replace(THEME, &THEME.replace("auto", theme));
    let tag = format!("\"{}-{theme}\"", DASHBOARD.version);
    let answer = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    ];
    let mut response = match etag::is_known(&headers, &tag) {
        true => (StatusCode::NOT_MODIFIED, answer).into_response(),
        false => (answer, page).into_response(),
    };
    response.headers_mut().extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    response
}

/// Shows one of its assets; those of another version are gone.
pub(super) async fn asset(Path((version, name)): Path<(String, String)>) -> Result<Response, Rejection> {
    let file = Assets::get(&name).filter(|_| version == DASHBOARD.version && name != PAGE);
    let file = file.ok_or_else(|| Rejection::new(ProblemCode::NotFound, "the dashboard has no such asset"))?;
    let answer: [(HeaderName, HeaderValue); 3] = [
        (header::CACHE_CONTROL, FOR_EVER),
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type(&name))),
        (header::ETAG, HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))),
    ];
    Ok((answer, file.data.into_owned()).into_response())
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
