//! Which model is meant.

use indexmap::IndexMap;
use orchestr8_agent_base::model::{ChatResponse, Fake, Models, ResolveError};

fn models() -> Models {
    let fake = || Fake::answers([ChatResponse::text("hi")]);
    let aliases =
        IndexMap::from([("fast".to_owned(), "llama-8b".to_owned()), ("smart".to_owned(), "llama-70b".to_owned())]);
    Models::new().provider("claude", "anthropic", fake()).configured(
        "local",
        "openai-like",
        std::sync::Arc::new(fake()),
        aliases,
        IndexMap::new(),
        Some(512),
    )
}

#[test]
fn a_model_is_found_by_config_prefix_default_and_alias_in_this_order() {
    let models = models().default_model("worker");
    for (model, provider, expected) in [
        (None, None, ("claude", "claude-sonnet-4-5")),
        (Some("smart"), None, ("claude", "claude-opus-4-5")),
        (Some("smart"), Some("local"), ("local", "llama-70b")),
        (Some("local/fast"), None, ("local", "llama-8b")),
        (Some("local/fast"), Some("local"), ("local", "llama-8b")),
        (Some("meta/llama"), None, ("claude", "meta/llama")),
        (Some("local/x"), Some("claude"), ("claude", "local/x")),
        (Some("exact-1"), None, ("claude", "exact-1")),
    ] {
        let found = models.resolve(model, provider).expect("found");
        assert_eq!((found.provider.as_str(), found.model.as_str()), expected, "{model:?} {provider:?}");
        assert_eq!((found.chat.info().provider.as_str(), found.chat.info().model.as_str()), expected);
    }
    let chain = models.resolve(None, None).expect("found").chain;
    assert_eq!(
        *chain,
        ["`models.default` is `worker`", "`providers.default` is `claude`", "`worker` stands for `claude-sonnet-4-5`"]
    );
    assert_eq!(models.resolve(Some("local/fast"), None).expect("found").max_tokens, 512);
}

#[test]
fn what_cannot_be_meant_is_an_error_that_names_both() {
    let models = models();
    assert_eq!(models.resolve(None, None).expect_err("nobody says"), ResolveError::NoModel);
    let other = models.resolve(Some("fast"), None).expect_err("another's alias");
    assert_eq!(other.to_string(), "`fast` is no alias of provider `claude`, but one of `local`");
    let shared = models.resolve(Some("cheap"), Some("local")).expect_err("it has none");
    assert!(matches!(shared, ResolveError::OtherAlias { of: Some(_), .. }), "{shared}");
    let unknown = models.resolve(Some("x"), Some("nobody")).expect_err("unknown");
    assert_eq!(unknown.to_string(), "there is no provider `nobody`, only claude, local");
    let none = Models::new().resolve(Some("x"), None).expect_err("no provider");
    assert_eq!(none, ResolveError::NoProvider("x".to_owned()));
}
