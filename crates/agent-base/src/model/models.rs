//! The providers of a program, and finding the model that somebody means.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use indexmap::IndexMap;
use orchestr8_schema::config::Price;

use super::{ChatModel, ChatRequest, prices::Rates};

/// Makes the models of a provider.
pub trait Provider: Send + Sync + 'static {
    /// Makes the model of this id; `provider` is the name that the provider is configured under. Nothing is connected to yet.
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel>;

    /// Says what people should know once nothing more is asked, such as answers that are left over; by default nothing.
    fn remainder(&self) -> Option<String> {
        None
    }
}

/// The providers that agents may ask, by name.
///
/// ```
/// use orchestr8_agent_base::model::{ChatResponse, Fake, Models};
///
/// let models = Models::new().provider("house", "fake", Fake::answers([ChatResponse::text("hi")])).default_model("house/small");
/// let found = models.resolve(None, None)?;
/// assert_eq!((found.provider.as_str(), found.model.as_str()), ("house", "small"));
/// # Ok::<(), orchestr8_agent_base::model::ResolveError>(())
/// ```
#[derive(Clone, Default)]
pub struct Models {
    providers: IndexMap<String, Known>,
    /// Who answers for all providers and models, whatever they are called.
    anybody: Option<Arc<dyn Provider>>,
    /// Providers that are configured and cannot be used, with what is wrong.
    unusable: BTreeMap<String, String>,
    default_provider: Option<String>,
    default_model: Option<String>,
}

#[derive(Clone)]
struct Known {
    kind: String,
    provider: Arc<dyn Provider>,
    aliases: IndexMap<String, String>,
    prices: IndexMap<String, Price>,
    max_tokens: Option<u32>,
}

/// A model that was found, and how.
#[derive(Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The name of the provider.
    pub provider: String,
    /// The model's id.
    pub model: String,
    /// The steps that led here, for people.
    pub chain: Arc<[String]>,
    /// What a million tokens cost; absent if nobody knows.
    pub rates: Option<Rates>,
    /// The most tokens of an answer, unless the request says.
    pub max_tokens: u32,
    /// The model.
    pub chat: Arc<dyn ChatModel>,
}

/// Why there is no such model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nobody says which.
    #[error("no model is named: neither by the step, the agent or the prompt, nor by `models.default`")]
    NoModel,
    /// Nobody says whose.
    #[error("no provider is named for model `{0}`, and there is no `providers.default`")]
    NoProvider(String),
    /// There is no provider of this name.
    #[error("there is no provider `{name}`{}", of(.known))]
    UnknownProvider {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The provider cannot be used as it is configured.
    #[error("provider `{name}` cannot be used: {why}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The alias is another provider's.
    #[error("`{alias}` is no alias of provider `{provider}`, but {}", whose(.of))]
    OtherAlias {
        /// The alias.
        alias: String,
        /// The provider that is asked.
        provider: String,
        /// The provider whose alias it is, if there is one.
        of: Option<String>,
    },
}

fn of(known: &[String]) -> String {
    if known.is_empty() { ": none is configured".to_owned() } else { format!(", only {}", known.join(", ")) }
}

fn whose(of: &Option<String>) -> String {
    of.as_ref()
        .map_or_else(|| "a word for its kind that it has no model for".to_owned(), |name| format!("one of `{name}`"))
}

impl ResolveError {
    /// Says what to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NoModel => "set `models.default` in the settings, or `model` in the agent's `config`".to_owned(),
            Self::NoProvider(model) => {
                format!("set `providers.default` in the settings, or write `<provider>/{model}`")
            }
            Self::UnknownProvider { name, .. } => format!("set `providers.{name}` in the settings"),
            Self::Unusable { name, .. } => format!("mend `providers.{name}` in the settings"),
            Self::OtherAlias { alias, of: Some(of), .. } => format!("write `{of}/{alias}`"),
            Self::OtherAlias { alias, provider, of: None } => {
                format!("set `providers.{provider}.models.{alias}` in the settings")
            }
        }
    }
}

/// Words that stand for a model of any provider.
const SHARED: [&str; 3] = ["smart", "worker", "cheap"];

static ALIASES: LazyLock<BTreeMap<String, IndexMap<String, String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("aliases.json")).unwrap_or_default());

impl Models {
    /// Makes a set without providers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a set in which every provider and every model is this one, whatever it is called and whatever the settings of a program say:
    /// for tests. A model is found as it is asked for, of the provider that is said, else of `test`; where nobody says which model, it is
    /// `default`. Nothing costs anything but what an answer says.
    ///
    /// ```
    /// use orchestr8_agent_base::model::{ChatResponse, Fake, Models};
    ///
    /// let models = Models::anybody(Fake::answers([ChatResponse::text("hi")]));
    /// assert_eq!(models.resolve(Some("smart"), Some("house"))?.provider, "house");
    /// assert_eq!(models.resolve(None, None)?.model, "default");
    /// # Ok::<(), orchestr8_agent_base::model::ResolveError>(())
    /// ```
    #[must_use]
    pub fn anybody(provider: impl Provider) -> Self {
        Self { anybody: Some(Arc::new(provider)), ..Self::default() }
    }

    /// Adds a provider under a name; the first one is the default. `kind` chooses the shipped aliases and prices.
    #[must_use]
    pub fn provider(self, name: impl Into<String>, kind: impl Into<String>, provider: impl Provider) -> Self {
        self.configured(name, kind, Arc::new(provider), IndexMap::new(), IndexMap::new(), None)
    }

    /// Adds a provider with settings of its own.
    #[must_use]
    pub fn configured(
        mut self,
        name: impl Into<String>,
        kind: impl Into<String>,
        provider: Arc<dyn Provider>,
        aliases: IndexMap<String, String>,
        prices: IndexMap<String, Price>,
        max_tokens: Option<u32>,
    ) -> Self {
        let name = name.into();
        self.default_provider.get_or_insert_with(|| name.clone());
        let kind = kind.into();
        let mut all = ALIASES.get(&kind).cloned().unwrap_or_default();
        all.extend(aliases);
        self.providers.insert(name, Known { kind, provider, aliases: all, prices, max_tokens });
        self
    }

    /// Says that a provider cannot be used as it is configured, for those who need it.
    #[must_use]
    pub fn unusable(mut self, name: impl Into<String>, why: impl Into<String>) -> Self {
        self.unusable.insert(name.into(), why.into());
        self
    }

    /// Sets the provider of models that name none.
    #[must_use]
    pub fn default_provider(mut self, name: Option<String>) -> Self {
        self.default_provider = name;
        self
    }

    /// Sets the model where nobody says.
    #[must_use]
    pub fn default_model(mut self, model: impl Into<String>) -> Self {
        self.default_model = Some(model.into());
        self
    }

    /// Tells what people should know once nothing more is asked, such as answers that are left over.
    #[must_use]
    pub fn remainders(&self) -> Vec<String> {
        let remainder =
            |(name, known): (&String, &Known)| Some(format!("provider `{name}`: {}", known.provider.remainder()?));
        self.providers.iter().filter_map(remainder).collect()
    }

    /// Whether there is no provider.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty() && self.anybody.is_none()
    }

    /// Finds a provider by its name, else the first one of this kind.
    #[must_use]
    pub fn named_or_of_kind(&self, text: &str) -> Option<&str> {
        let named = self.providers.get_key_value(text);
        let found = named.or_else(|| self.providers.iter().find(|(_, known)| known.kind == text));
        found.map(|(name, _)| name.as_str())
    }

    /// Finds the model that is meant by a name and, where somebody says, a provider.
    ///
    /// The provider is the one that is said, else the one before the first `/` if there is one of this name, else the default one. Then an
    /// alias of that provider stands for its model; an alias of another provider is an error; anything else is taken as it is.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] if nobody says which model or whose, or it cannot be meant so.
    pub fn resolve(&self, model: Option<&str>, provider: Option<&str>) -> Result<Resolved, ResolveError> {
        if let Some(anybody) = &self.anybody {
            let (model, provider) = (model.unwrap_or("default"), provider.unwrap_or("test"));
            return Ok(Resolved {
                provider: provider.to_owned(),
                model: model.to_owned(),
                chain: Arc::new([format!("model `{model}`")]),
                rates: Some(Rates::new(0.0, 0.0, None, None)),
                max_tokens: ChatRequest::MAX_TOKENS,
                chat: anybody.model(provider, model),
            });
        }
        let mut chain = Vec::new();
        let asked = match (model, &self.default_model) {
            (Some(model), _) => {
                chain.push(format!("model `{model}`"));
                model
            }
            (None, Some(default)) => {
                chain.push(format!("`models.default` is `{default}`"));
                default
            }
            (None, None) => return Err(ResolveError::NoModel),
        };
        let is_provider = |name: &str| self.providers.contains_key(name) || self.unusable.contains_key(name);
        let prefix = asked.split_once('/').filter(|(name, _)| is_provider(name));
        let (name, asked) = match (provider, prefix) {
            (Some(provider), prefix) => {
                chain.push(format!("provider `{provider}` is set"));
                (provider, prefix.filter(|(name, _)| *name == provider).map_or(asked, |(_, rest)| rest))
            }
            (None, Some((name, rest))) => {
                chain.push(format!("provider `{name}` stands before the model"));
                (name, rest)
            }
            (None, None) => {
                let Some(default) = &self.default_provider else {
                    return Err(ResolveError::NoProvider(asked.to_owned()));
                };
                chain.push(format!("`providers.default` is `{default}`"));
                (default.as_str(), asked)
            }
        };
        let Some(known) = self.providers.get(name) else {
            if let Some(why) = self.unusable.get(name) {
                return Err(ResolveError::Unusable { name: name.to_owned(), why: why.clone() });
            }
            let known = self.providers.keys().cloned().collect();
            return Err(ResolveError::UnknownProvider { name: name.to_owned(), known });
        };
        let id = match known.aliases.get(asked) {
            Some(id) => {
                chain.push(format!("`{asked}` stands for `{id}`"));
                id.as_str()
            }
            None => {
                let others = self.providers.iter().filter(|(other, _)| other.as_str() != name);
                let of = others
                    .filter(|(_, other)| other.aliases.contains_key(asked))
                    .map(|(other, _)| other.clone())
                    .next();
                if of.is_some() || SHARED.contains(&asked) {
                    let (alias, provider) = (asked.to_owned(), name.to_owned());
                    return Err(ResolveError::OtherAlias { alias, provider, of });
                }
                asked
            }
        };
        Ok(Resolved {
            provider: name.to_owned(),
            model: id.to_owned(),
            chain: chain.into(),
            rates: Rates::find(&known.kind, id, &known.prices),
            max_tokens: known.max_tokens.unwrap_or(ChatRequest::MAX_TOKENS),
            chat: known.provider.model(name, id),
        })
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.providers.iter().map(|(name, known)| (name, &known.kind)).collect();
        f.debug_struct("Models")
            .field("providers", &kinds)
            .field("default_model", &self.default_model)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("provider", &self.provider).field("model", &self.model).finish_non_exhaustive()
    }
}
