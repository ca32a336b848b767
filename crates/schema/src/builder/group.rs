//! Steps with steps inside.

use std::{fmt, marker::PhantomData};

use serde_json::Value;

use super::{
    Draft, Expr, IntoTemplate, Provides, Step, Steps,
    draft::Lower,
    state::State,
    value::{Given, Read},
};
use crate::{
    id::ItemName,
    workflow::{
        self, BranchStep, Case, DefaultCase, Join, LoopCondition, LoopStep, MapStep, OnItemError, OnLimit,
        ParallelStep, StepKind,
    },
};

/// Types whose values are lists in JSON.
#[diagnostic::on_unimplemented(message = "`{Self}` is no list", note = "a map takes a `Vec`, an array, or a path")]
pub trait List {
    /// The type of the elements.
    type Item;
}

impl<T> List for Vec<T> {
    type Item = T;
}

impl<T, const N: usize> List for [T; N] {
    type Item = T;
}

impl List for Value {
    type Item = Self;
}

type Body<'a> = Box<dyn FnOnce(&mut Steps) + 'a>;
type BodyWith<'a, T> = Box<dyn FnOnce(&mut Steps, Expr<T>) -> Given + 'a>;

/// Runs steps for each item of a list; the output is the list of what `body` returns.
///
/// ```
/// use orchestr8_schema::builder::{AgentRef, WorkflowBuilder, map};
///
/// let score = AgentRef::<String, f64>::new("@acme/score");
/// let mut flow = WorkflowBuilder::new("w", "W");
/// let words = flow.input::<Vec<String>>("words");
/// let scores = flow.add("scores", map(&words, |body, word| body.add("score", score.call().with("word", &word))).concurrency(8));
/// # let _: orchestr8_schema::builder::Step<Vec<f64>> = scores;
/// ```
pub fn map<'a, G, R>(
    items: G,
    body: impl FnOnce(&mut Steps, Expr<<G::Output as List>::Item>) -> R + 'a,
) -> Draft<MapBody<'a, <G::Output as List>::Item>, Vec<R::Output>>
where
    G: IntoTemplate,
    G::Output: List,
    R: IntoTemplate,
{
    Draft::new(MapBody {
        items: items.into_template(),
        body: Box::new(|steps, item| body(steps, item).into_template()),
        key: None,
        concurrency: 1,
        on_item_error: OnItemError::Fail,
    })
}

/// A map; see [`map`].
pub struct MapBody<'a, T> {
    items: Given,
    body: BodyWith<'a, T>,
    key: Option<String>,
    concurrency: u32,
    on_item_error: OnItemError,
}

impl<T, O> Draft<MapBody<'_, T>, O> {
    /// Sets how many items are open at once, 1–10000; default 1.
    pub fn concurrency(mut self, concurrency: u32) -> Self {
        self.kind.concurrency = concurrency;
        self
    }

    /// Names each item by a part of it, a text or an integer, such as `path`; default its index.
    pub fn key(mut self, path: impl Into<String>) -> Self {
        self.kind.key = Some(path.into());
        self
    }

    /// Leaves items out that fail; default their failure is the map's.
    pub fn skip_failed(mut self) -> Self {
        self.kind.on_item_error = OnItemError::Skip;
        self
    }
}

impl<T> Lower for MapBody<'_, T> {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let Given { value: items, mut reads, errors } = self.items;
        state.report_all(errors);
        // An inner map must not hide an outer one's names.
        let depth = state.maps;
        let name = |base: ItemName| match depth {
            0 => base,
            _ => format!("{base}{}", depth + 1).parse().expect("a name with digits behind it is well formed"),
        };
        let (item, index) = (name(ItemName::item()), name(ItemName::index()));
        state.maps += 1;
        let root = Expr::root(item.as_str());
        let key = self.key.map(|path| root.path(&path).into_template().value);
        let (output, steps, outer) = inside(state, |steps| (self.body)(steps, root));
        state.maps -= 1;
        reads.extend(outer);
        let mut map = MapStep::new(items, steps);
        map.item = item;
        map.index = index;
        map.key = key;
        map.concurrency = self.concurrency;
        map.output = Some(output);
        map.on_item_error = self.on_item_error;
        (StepKind::Map(Box::new(map)), reads)
    }
}

/// Runs steps again and again, at most `most` times, until a JMESPath condition holds after an iteration, such as
/// ``loop.value.score >= `0.9` ``. `body` sees the value, at first `init`, and returns the next.
pub fn loop_until<'a, G, R>(
    condition: impl Into<String>,
    most: u32,
    init: G,
    body: impl FnOnce(&mut Steps, Expr<G::Output>) -> R + 'a,
) -> Draft<Loop<'a, G::Output>, LoopOutput<G::Output>>
where
    G: IntoTemplate,
    R: Provides<G::Output>,
{
    Draft::new(Loop {
        condition: condition.into(),
        most,
        init: init.into_template(),
        body: Box::new(|steps, value| body(steps, value).into_template()),
        on_limit: OnLimit::Fail,
    })
}

/// A loop; see [`loop_until`].
pub struct Loop<'a, T> {
    condition: String,
    most: u32,
    init: Given,
    body: BodyWith<'a, T>,
    on_limit: OnLimit,
}

/// What a loop gives: `value`, `iterations` and `reason`.
#[derive(Debug)]
pub struct LoopOutput<T>(PhantomData<fn() -> T>);

impl<T> Step<LoopOutput<T>> {
    /// Returns the value that the loop ended with.
    #[must_use]
    pub fn value(&self) -> Expr<T> {
        self.output().part("value")
    }
}

impl<T, O> Draft<Loop<'_, T>, O> {
    /// Takes what there is when the limit is reached; default that is a failure.
    pub fn accept_limit(mut self) -> Self {
        self.kind.on_limit = OnLimit::Accept;
        self
    }
}

impl<T> Lower for Loop<'_, T> {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let Given { value: init, mut reads, errors } = self.init;
        state.report_all(errors);
        let body = self.body;
        let scope = state.scopes + 1;
        state.loops.push(scope);
        let (value, steps, outer) = inside(state, |steps| body(steps, Expr::of_loop(scope)));
        state.loops.pop();
        reads.extend(outer);
        let mut looped = LoopStep::new(LoopCondition::Until(self.condition), self.most, steps);
        looped.init = init;
        looped.value = Some(value);
        looped.on_limit = self.on_limit;
        (StepKind::Loop(Box::new(looped)), reads)
    }
}

/// Runs steps side by side. The output is the object of their outputs by id.
pub fn parallel<'a>(body: impl FnOnce(&mut Steps) + 'a) -> Draft<Parallel<'a>, Value> {
    Draft::new(Parallel { body: Box::new(body), join: Join::All })
}

/// A parallel group; see [`parallel`].
pub struct Parallel<'a> {
    body: Body<'a>,
    join: Join,
}

impl<O> Draft<Parallel<'_>, O> {
    /// Sets how many must complete; default all.
    pub fn join(mut self, join: Join) -> Self {
        self.kind.join = join;
        self
    }
}

impl Lower for Parallel<'_> {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let (_, steps, outer) = inside(state, |steps| {
            (self.body)(steps);
            Given::default()
        });
        let mut parallel = ParallelStep::new(steps);
        parallel.join = self.join;
        (StepKind::Parallel(parallel), outer)
    }
}

/// Begins a branch without cases. The output is the object of the outputs of the case that is taken.
pub fn branch<'a>() -> Draft<Branch<'a>, Value> {
    Draft::new(Branch { cases: Vec::new(), default: None })
}

/// A branch; see [`branch`].
pub struct Branch<'a> {
    cases: Vec<(String, String, Body<'a>)>,
    default: Option<Body<'a>>,
}

impl<'a, O> Draft<Branch<'a>, O> {
    /// Adds a case that is taken if a JMESPath condition holds and none before it did.
    pub fn case(mut self, name: &str, when: impl Into<String>, body: impl FnOnce(&mut Steps) + 'a) -> Self {
        self.kind.cases.push((name.to_owned(), when.into(), Box::new(body)));
        self
    }

    /// Says what runs when no case holds; without it that is a failure.
    pub fn default(mut self, body: impl FnOnce(&mut Steps) + 'a) -> Self {
        self.kind.default = Some(Box::new(body));
        self
    }
}

impl Lower for Branch<'_> {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let mut reads = Vec::new();
        let mut list = |body: Body<'_>| {
            let (_, steps, outer) = inside(state, |steps| {
                body(steps);
                Given::default()
            });
            reads.extend(outer);
            steps
        };
        let cases = self.cases.into_iter().map(|(name, when, body)| {
            let mut case = Case::new(when, list(body));
            case.name = Some(name);
            case
        });
        let mut branch = BranchStep::new(cases.collect());
        branch.default = self.default.map(|body| DefaultCase::new(list(body)));
        (StepKind::Branch(branch), reads)
    }
}

/// Writes the steps of a scope; returns what it gives, the steps, and what they read further out.
fn inside(state: &mut State, body: impl FnOnce(&mut Steps) -> Given) -> (Value, Vec<workflow::Step>, Vec<Read>) {
    state.scopes += 1;
    let mut steps = Steps { scope: state.scopes, steps: Vec::new(), outer: Vec::new(), state: std::mem::take(state) };
    let Given { value, reads, errors } = body(&mut steps);
    let Steps { scope, steps, mut outer, state: inner } = steps;
    *state = inner;
    state.report_all(errors);
    outer.extend(reads.into_iter().filter(|read| !matches!(read, Read::Step { scope: own, .. } if *own == scope)));
    outer.retain(|read| matches!(read, Read::Step { .. }));
    (value, steps, outer)
}

macro_rules! debug {
    ($([$($generic:ident)?] $name:ident)*) => {$(
        impl$(<$generic>)? fmt::Debug for $name<'_, $($generic)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug! { [T] MapBody [T] Loop [] Parallel [] Branch }
