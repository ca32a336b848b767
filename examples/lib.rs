//! Runnable examples of orchestr8; one file per concept. What the README and the book show in Rust is compiled here, and run where it can be.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// Chapters of the book; what of their code is not shown stands behind `#`.
macro_rules! chapters {
    ($($chapter:ident: $page:literal,)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!(concat!("../docs/src/", $page, ".md"))]
        pub struct $chapter;
    )*};
}

chapters! {
    Budgets: "budgets",
    Effects: "effects",
    Embedding: "embedding",
    Hooks: "hooks",
    Models: "models",
    Policies: "policies",
    Prompts: "prompts",
    TestingAgents: "testing-agents",
    Tools: "tools",
    WritingAnAgent: "writing-an-agent",
}
