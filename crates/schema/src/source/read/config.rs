//! The program's configuration.

use indexmap::IndexMap;
use serde_json::Value;

use super::{Field, Object, Reader};
use crate::{
    Code,
    config::{
        AccessPolicy, Config, ConfigLayer, Confine, DashboardConfig, ExecutionConfig, ExternalAgent, HttpPolicy,
        JournalConfig, JournalDurability, LogLevel, MaxTokensField, McpConfig, McpServer, ModelsConfig, OutputConfig,
        OutputFormat, PolicyConfig, Price, ProcessLimits, ProcessPolicy, Provider, ProviderKind, Providers,
        RetentionTime, SearchConfig, ServerConfig, ShellTool, TelemetryConfig, TelemetryMode, Theme, ToolPolicy,
    },
    problem::{Problems, quote},
};

const CONFINE: [(&str, Confine); 3] = [("off", Confine::Off), ("try", Confine::Try), ("require", Confine::Require)];

/// Reads a file of settings; `None` if it is no object.
pub(crate) fn config_layer(document: &Value, problems: &mut Problems) -> Option<ConfigLayer> {
    let settings = Reader::new(problems).root(document)?.map.clone();
    config(document, problems);
    Some(ConfigLayer::new(settings))
}

/// Reads settings, defaults filled in; what is wrong counts as absent.
pub(crate) fn config(document: &Value, problems: &mut Problems) -> Config {
    let mut reader = Reader::new(problems);
    let Some(root) = reader.root(document) else { return Config::default() };
    let config = Config {
        server: reader.server(root.get("server")),
        dashboard: reader.dashboard(root.get("dashboard")),
        execution: reader.execution(root.get("execution")),
        output: reader.output_config(root.get("output")),
        workflows: reader.search(root.get("workflows")),
        prompts: reader.search(root.get("prompts")),
        trusted_projects: reader.texts(root.get("trustedProjects")),
        journal: reader.journal_config(root.get("journal")),
        providers: reader.providers(root.get("providers")),
        models: reader.models(root.get("models")),
        policy: reader.policy(root.get("policy")),
        mcp: reader.mcp(root.get("mcp")),
        telemetry: reader.telemetry(root.get("telemetry")),
        agents: reader.external_agents(root.get("agents")),
        tools: reader.shell_tools(root.get("tools")),
    };
    let known = [
        "server",
        "dashboard",
        "execution",
        "output",
        "workflows",
        "prompts",
        "trustedProjects",
        "journal",
        "providers",
        "models",
        "policy",
        "mcp",
        "telemetry",
        "agents",
        "tools",
        "$schema",
    ];
    reader.unknown_keys(&root, &known);
    config
}

impl Reader<'_> {
    fn server(&mut self, field: Option<Field<'_>>) -> ServerConfig {
        let mut server = ServerConfig::default();
        let Some(object) = self.object(field) else { return server };
        set(&mut server.port, self.integer(object.get("port")));
        set(&mut server.host, self.owned(object.get("host")));
        set(&mut server.allow_remote, self.boolean(object.get("allowRemote")));
        set(&mut server.auto_start, self.boolean(object.get("autoStart")));
        set(&mut server.shutdown_timeout, self.duration(object.get("shutdownTimeout")));
        self.unknown_keys(&object, &["port", "host", "allowRemote", "autoStart", "shutdownTimeout"]);
        server
    }

    fn dashboard(&mut self, field: Option<Field<'_>>) -> DashboardConfig {
        let mut dashboard = DashboardConfig::default();
        let Some(object) = self.object(field) else { return dashboard };
        set(&mut dashboard.auto_open, self.boolean(object.get("autoOpen")));
        dashboard.browser = self.owned(object.get("browser"));
        let themes = [("light", Theme::Light), ("dark", Theme::Dark), ("auto", Theme::Auto)];
        set(&mut dashboard.theme, self.choice(object.get("theme"), &themes));
        self.unknown_keys(&object, &["autoOpen", "browser", "theme"]);
        dashboard
    }

    fn execution(&mut self, field: Option<Field<'_>>) -> ExecutionConfig {
        let mut execution = ExecutionConfig::default();
        let Some(object) = self.object(field) else { return execution };
        set(&mut execution.default_timeout, self.duration(object.get("defaultTimeout")));
        if let Some(field) = object.get("maxConcurrent") {
            match self.integer(Some(field)) {
                Some(0) => {
                    self.problems.report(Code::OutOfRange, field.at, "`maxConcurrent` is not greater than 0");
                }
                other => set(&mut execution.max_concurrent, other),
            }
        }
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        set(&mut execution.log_level, self.choice(object.get("logLevel"), &levels));
        self.unknown_keys(&object, &["defaultTimeout", "maxConcurrent", "logLevel"]);
        execution
    }

    fn output_config(&mut self, field: Option<Field<'_>>) -> OutputConfig {
        let mut output = OutputConfig::default();
        let Some(object) = self.object(field) else { return output };
        let formats = [("human", OutputFormat::Human), ("json", OutputFormat::Json)];
        set(&mut output.format, self.choice(object.get("format"), &formats));
        set(&mut output.verbose, self.boolean(object.get("verbose")));
        set(&mut output.colors, self.boolean(object.get("colors")));
        self.unknown_keys(&object, &["format", "verbose", "colors"]);
        output
    }

    fn search(&mut self, field: Option<Field<'_>>) -> SearchConfig {
        let mut search = SearchConfig::default();
        let Some(object) = self.object(field) else { return search };
        search.paths = self.texts(object.get("paths"));
        self.unknown_keys(&object, &["paths"]);
        search
    }

    fn journal_config(&mut self, field: Option<Field<'_>>) -> JournalConfig {
        let mut journal = JournalConfig::default();
        let Some(object) = self.object(field) else { return journal };
        let durabilities = [("power", JournalDurability::Power), ("process", JournalDurability::Process)];
        set(&mut journal.durability, self.choice(object.get("durability"), &durabilities));
        set(&mut journal.retention, self.retention(object.get("retention")));
        set(&mut journal.max_finished, self.integer(object.get("maxFinished")));
        self.unknown_keys(&object, &["durability", "retention", "maxFinished"]);
        journal
    }

    fn retention(&mut self, field: Option<Field<'_>>) -> Option<RetentionTime> {
        let field = field?;
        if field.value.is_string() {
            return self.parse(Some(field), "duration", "write 7d, 2h, 30m, or a number of milliseconds");
        }
        self.duration(Some(field)).map(RetentionTime)
    }

    fn models(&mut self, field: Option<Field<'_>>) -> ModelsConfig {
        let mut models = ModelsConfig::default();
        let Some(object) = self.object(field) else { return models };
        models.default = self.owned(object.get("default"));
        self.unknown_keys(&object, &["default"]);
        models
    }

    fn telemetry(&mut self, field: Option<Field<'_>>) -> TelemetryConfig {
        let mut telemetry = TelemetryConfig::default();
        let Some(object) = self.object(field) else { return telemetry };
        let modes =
            [("full", TelemetryMode::Full), ("minimal", TelemetryMode::Minimal), ("disabled", TelemetryMode::Disabled)];
        set(&mut telemetry.mode, self.choice(object.get("mode"), &modes));
        telemetry.endpoint = self.owned(object.get("endpoint"));
        if let Some(field) = object.get("samplingRate") {
            let rate = self.number(Some(field));
            if rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
                self.problems.report(Code::OutOfRange, field.at, "`samplingRate` is not between 0 and 1");
            } else {
                set(&mut telemetry.sampling_rate, rate);
            }
        }
        set(&mut telemetry.content, self.boolean(object.get("content")));
        self.unknown_keys(&object, &["mode", "endpoint", "samplingRate", "content"]);
        telemetry
    }

    fn policy(&mut self, field: Option<Field<'_>>) -> PolicyConfig {
        let mut policy = PolicyConfig::default();
        let Some(object) = self.object(field) else { return policy };
        if let Some(tools) = self.object(object.get("tools")) {
            policy.tools = ToolPolicy { allow: self.some_texts(&tools, "allow"), deny: self.texts(tools.get("deny")) };
            self.unknown_keys(&tools, &["allow", "deny"]);
        }
        if let Some(process) = self.object(object.get("process")) {
            policy.process = ProcessPolicy {
                allow: self.texts(process.get("allow")),
                shell: self.boolean(process.get("shell")).unwrap_or_default(),
                roots: self.texts(process.get("roots")),
                claude_tools: self.texts(process.get("claudeTools")),
                limits: self.process_limits(process.get("limits")),
                confine: self.choice(process.get("confine"), &CONFINE).unwrap_or_default(),
            };
            self.unknown_keys(&process, &["allow", "shell", "roots", "claudeTools", "limits", "confine"]);
        }
        if let Some(http) = self.object(object.get("http")) {
            policy.http = HttpPolicy { allow: self.some_texts(&http, "allow"), deny: self.texts(http.get("deny")) };
            self.unknown_keys(&http, &["allow", "deny"]);
        }
        for (name, access) in [("secrets", &mut policy.secrets), ("env", &mut policy.env)] {
            if let Some(object) = self.object(object.get(name)) {
                *access = AccessPolicy { allow: self.some_texts(&object, "allow") };
                self.unknown_keys(&object, &["allow"]);
            }
        }
        self.unknown_keys(&object, &["tools", "process", "http", "secrets", "env"]);
        policy
    }

    fn process_limits(&mut self, field: Option<Field<'_>>) -> ProcessLimits {
        let mut limits = ProcessLimits::default();
        let Some(object) = self.object(field) else { return limits };
        limits.cpu_seconds = self.integer(object.get("cpuSeconds"));
        limits.memory_bytes = self.integer(object.get("memoryBytes"));
        limits.file_bytes = self.integer(object.get("fileBytes"));
        limits.open_files = self.integer(object.get("openFiles"));
        limits.processes = self.integer(object.get("processes"));
        self.unknown_keys(&object, &["cpuSeconds", "memoryBytes", "fileBytes", "openFiles", "processes"]);
        limits
    }

    fn providers(&mut self, field: Option<Field<'_>>) -> Providers {
        let mut providers = Providers::default();
        let Some(object) = self.object(field) else { return providers };
        providers.default = self.owned(object.get("default"));
        for (name, value) in object.map.iter().filter(|(name, _)| *name != "default" && !name.starts_with("x-")) {
            let field = Field { value, at: object.at.key(name), name };
            if let Some(provider) = self.provider(field) {
                providers.named.insert(name.clone(), provider);
            }
        }
        providers
    }

    fn provider(&mut self, field: Field<'_>) -> Option<Provider> {
        let object = self.object(Some(field))?;
        let kinds = [
            ProviderKind::Anthropic,
            ProviderKind::OpenAi,
            ProviderKind::ClaudeCode,
            ProviderKind::Fake,
            ProviderKind::Replay,
        ]
        .map(|kind| (kind.name(), kind));
        // A project may add models to a provider that the user has configured.
        let kind = match object.get("kind") {
            Some(kind) => self.choice(Some(kind), &kinds),
            None => None,
        };
        let fields =
            [("max_completion_tokens", MaxTokensField::MaxCompletionTokens), ("max_tokens", MaxTokensField::MaxTokens)];
        let provider = Provider {
            kind: ProviderKind::Anthropic,
            api_base: self.owned(object.get("apiBase")),
            api_key: self.owned(object.get("apiKey")),
            models: self.texts_by_name(object.get("models")),
            max_tokens: self.integer(object.get("maxTokens")),
            timeout: self.duration(object.get("timeout")),
            headers: self.texts_by_name(object.get("headers")),
            prices: self.named_objects(object.get("prices"), Reader::price),
            native_schema: self.boolean(object.get("nativeSchema")),
            max_tokens_field: self.choice(object.get("maxTokensField"), &fields),
            script: self.owned(object.get("script")),
            cassette: self.owned(object.get("cassette")),
            record: self.owned(object.get("record")),
        };
        let known = [
            "kind",
            "apiBase",
            "apiKey",
            "models",
            "maxTokens",
            "timeout",
            "headers",
            "prices",
            "nativeSchema",
            "maxTokensField",
            "script",
            "cassette",
            "record",
        ];
        self.unknown_keys(&object, &known);
        Some(Provider { kind: kind?, ..provider })
    }

    fn price(&mut self, field: Field<'_>) -> Option<Price> {
        let object = self.object(Some(field))?;
        let (input, output) = (
            self.required(&object, "input", "US dollars for a million tokens"),
            self.required(&object, "output", "US dollars for a million tokens"),
        );
        let (input, output) = (self.number(input), self.number(output));
        let (cache_write, cache_read) = (self.number(object.get("cacheWrite")), self.number(object.get("cacheRead")));
        self.unknown_keys(&object, &["input", "output", "cacheWrite", "cacheRead"]);
        Some(Price { input: input?, output: output?, cache_write, cache_read })
    }

    fn mcp(&mut self, field: Option<Field<'_>>) -> McpConfig {
        let mut mcp = McpConfig::default();
        let Some(object) = self.object(field) else { return mcp };
        set(&mut mcp.enabled, self.boolean(object.get("enabled")));
        set(&mut mcp.expose_workflows, self.boolean(object.get("exposeWorkflows")));
        mcp.servers = self.named_objects(object.get("servers"), Reader::mcp_server);
        self.unknown_keys(&object, &["enabled", "exposeWorkflows", "servers"]);
        mcp
    }

    fn mcp_server(&mut self, field: Field<'_>) -> Option<McpServer> {
        let object = self.object(Some(field))?;
        if self.one_of(&object, &["command", "url"], "a server of tools")? == "url" {
            let (url, headers) = self.service(&object)?;
            return Some(McpServer::Service { url, headers });
        }
        let command = self.owned(object.get("command"));
        let args = self.texts(object.get("args"));
        let env = self.texts_by_name(object.get("env"));
        let cwd = self.owned(object.get("cwd"));
        self.unknown_keys(&object, &["command", "args", "env", "cwd"]);
        Some(McpServer::Program { command: command?, args, env, cwd })
    }

    fn external_agents(&mut self, field: Option<Field<'_>>) -> IndexMap<crate::AgentId, ExternalAgent> {
        let agents = self.named_objects(field, Reader::external_agent);
        self.keys(field, agents, "agent id", "agent ids look like @scope/name")
    }

    fn external_agent(&mut self, field: Field<'_>) -> Option<ExternalAgent> {
        let object = self.object(Some(field))?;
        if self.one_of(&object, &["command", "url"], "an agent")? == "url" {
            let (url, headers) = self.service(&object)?;
            return Some(ExternalAgent::Service { url, headers });
        }
        let command = self.owned(object.get("command"));
        let args = self.texts(object.get("args"));
        let env = self.texts_by_name(object.get("env"));
        let manifest = self.required(&object, "manifest", "the agent's manifest: id, version, description");
        let manifest = self.map(manifest);
        self.unknown_keys(&object, &["command", "args", "env", "manifest"]);
        Some(ExternalAgent::Program { command: command?, args, env, manifest: manifest? })
    }

    fn service(&mut self, object: &Object<'_>) -> Option<(String, IndexMap<String, String>)> {
        let url = self.owned(object.get("url"));
        let headers = self.texts_by_name(object.get("headers"));
        self.unknown_keys(object, &["url", "headers"]);
        Some((url?, headers))
    }

    fn shell_tools(&mut self, field: Option<Field<'_>>) -> IndexMap<crate::id::ToolName, ShellTool> {
        let tools = self.named_objects(field, Reader::shell_tool);
        self.keys(field, tools, "tool name", "letters, digits, `.`, `_` and `-`")
    }

    fn shell_tool(&mut self, field: Field<'_>) -> Option<ShellTool> {
        let object = self.object(Some(field))?;
        let command = self.required(&object, "command", "the command; `{name}` stands for a parameter");
        let command = self.owned(command);
        let description = self.required(&object, "description", "what the tool is for");
        let description = self.owned(description);
        let parameters = self.map(object.get("parameters")).unwrap_or_default();
        let timeout = self.duration(object.get("timeout"));
        let writes = self.boolean(object.get("writes")).unwrap_or_default();
        self.unknown_keys(&object, &["command", "description", "parameters", "timeout", "writes"]);
        Some(ShellTool { command: command?, description: description?, parameters, timeout, writes })
    }

    /// Reads an object of objects under names that the author chose.
    fn named_objects<T>(
        &mut self,
        field: Option<Field<'_>>,
        mut read: impl FnMut(&mut Self, Field<'_>) -> Option<T>,
    ) -> IndexMap<String, T> {
        let Some(object) = self.object(field) else { return IndexMap::new() };
        let entries = object.map.iter().filter(|(name, _)| !name.starts_with("x-"));
        let read = entries.filter_map(|(name, value)| {
            let field = Field { value, at: object.at.key(name), name };
            Some((name.clone(), read(self, field)?))
        });
        read.collect()
    }

    /// Gives names the form that they must have.
    fn keys<K: std::str::FromStr + Eq + std::hash::Hash, T>(
        &mut self,
        field: Option<Field<'_>>,
        named: IndexMap<String, T>,
        what: &str,
        help: &str,
    ) -> IndexMap<K, T> {
        let Some(field) = field else { return IndexMap::new() };
        let mut keyed = IndexMap::with_capacity(named.len());
        for (name, value) in named {
            match name.parse() {
                Ok(key) => drop(keyed.insert(key, value)),
                Err(_) => {
                    let message = format!("`{}` is no {what}", quote(&name));
                    self.problems.report(Code::WrongForm, field.at.key(&name), message).on_key().help(help);
                }
            }
        }
        keyed
    }

    fn texts_by_name(&mut self, field: Option<Field<'_>>) -> IndexMap<String, String> {
        self.object(field).map(|object| self.named_texts(&object)).unwrap_or_default()
    }

    fn some_texts(&mut self, object: &Object<'_>, name: &str) -> Option<Vec<String>> {
        object.contains(name).then(|| self.texts(object.get(name)))
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}
