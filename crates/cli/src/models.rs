//! The models that agents may ask: what the providers of the settings offer.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use orchestr8_agent_base::{
    Secrets,
    model::{Anthropic, ApiKey, ClaudeCode, Fake, Models, OpenAi, Provider, Recording, Replay},
};
use orchestr8_core::redact::Redactor;
use orchestr8_schema::{
    Millis,
    config::{self, Config, ProviderKind},
};

type Unusable = Box<dyn Error + Send + Sync>;

/// Makes the models of the settings. A provider that cannot be used as it is configured is an error for those who need it, and for nobody else.
pub(crate) fn models(config: &Config, secrets: &Secrets) -> Models {
    let mut models = Models::new();
    for (name, settings) in &config.providers.named {
        models = match provider(settings, config, secrets) {
            Ok(provider) => models.configured(
                name,
                settings.kind.name(),
                provider,
                settings.models.clone(),
                settings.prices.clone(),
                settings.max_tokens,
            ),
            Err(error) => models.unusable(name, whole(&*error)),
        };
    }
    let models = models.default_provider(config.providers.default.clone());
    match &config.models.default {
        Some(model) => models.default_model(model),
        None => models,
    }
}

fn provider(settings: &config::Provider, config: &Config, secrets: &Secrets) -> Result<Arc<dyn Provider>, Unusable> {
    let timeout: Option<Duration> = settings.timeout.map(Millis::as_duration);
    let provider: Arc<dyn Provider> = match settings.kind {
        ProviderKind::Anthropic => {
            let base = settings.api_base.as_deref().unwrap_or(Anthropic::API_BASE);
            let anthropic = Anthropic::new(base, key(settings, Some(Anthropic::KEY), secrets)?)?;
            let native = settings.native_schema.unwrap_or(true);
            Arc::new(anthropic.headers(&settings.headers)?.timeout(timeout).native_schema(native))
        }
        ProviderKind::OpenAi => {
            let base = settings.api_base.as_deref().unwrap_or(OpenAi::API_BASE);
            let openai = OpenAi::new(base, key(settings, Some(OpenAi::KEY), secrets)?)?;
            let native = settings.native_schema.unwrap_or(true);
            let openai = openai.headers(&settings.headers)?.timeout(timeout).native_schema(native);
            Arc::new(match settings.max_tokens_field {
                Some(field) => openai.max_tokens_field(field),
                None => openai,
            })
        }
        ProviderKind::ClaudeCode => {
            let claude = ClaudeCode::new(&config.policy.process);
            Arc::new(claude.key(key(settings, None, secrets)?).timeout(timeout))
        }
        ProviderKind::Fake => {
            let script = settings.script.as_deref().ok_or("`script`, the file with its answers, is not set")?;
            Arc::new(Fake::script(Path::new(script))?)
        }
        ProviderKind::Replay => {
            let cassette = settings.cassette.as_deref().ok_or("`cassette`, the file that it plays, is not set")?;
            Arc::new(Replay::open(Path::new(cassette))?)
        }
    };
    Ok(match &settings.record {
        Some(path) => Arc::new(Recording::new(provider, path, |value| Redactor::default().redact(value))),
        None => provider,
    })
}

/// Finds out where the key comes from. The variable of the kind is for the place of the kind: nobody else is sent what is in it, unless the
/// settings say so.
fn key(settings: &config::Provider, variable: Option<&str>, secrets: &Secrets) -> Result<ApiKey, Unusable> {
    let Some(told) = settings.api_key.as_deref() else {
        let variable = variable.filter(|_| settings.api_base.is_none());
        return Ok(variable.map_or_else(ApiKey::none, ApiKey::variable));
    };
    match told.strip_prefix("env:") {
        Some(name) if !name.is_empty() => Ok(ApiKey::variable(name)),
        None if told.starts_with(Secrets::SCHEME) => Ok(ApiKey::secret(told, secrets.clone())),
        // It may be the key itself.
        _ => Err("`apiKey` is neither `env:NAME` nor `secret://path`".into()),
    }
}

/// An error with what led to it, in a line.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
