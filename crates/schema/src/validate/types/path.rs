//! What a path leads to: the type, whether there is a value, and if not for sure, why.

use super::{
    Checker, Cx, Report,
    frame::{Presence, StepRef},
};
use crate::{
    Code,
    expression::{
        ContextField, StepField,
        parse::{self, Piece},
    },
    policy::OnError,
    problem::{At, quote},
    types::{Access, Type},
    workflow::StepKind,
};

/// What is found at the end of a path.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) of: Type,
    pub(super) presence: There,
}

/// Whether there is a value.
#[derive(Clone, Debug)]
pub(super) enum There {
    Always,
    Sometimes(Lack),
    Never(Lack),
    /// It cannot be seen, for this reason.
    Unseen(String),
}

/// What may be missing, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Found {
    pub(super) fn always(of: Type) -> Self {
        Self { of, presence: There::Always }
    }

    fn unseen(why: impl Into<String>) -> Self {
        Self { of: Type::ANY, presence: There::Unseen(why.into()) }
    }

    fn sometimes(of: Type, message: String) -> Self {
        Self { of, presence: There::Sometimes(Lack { message, help: None }) }
    }
}

/// Where a path has come to, as messages call it.
struct Start {
    found: Found,
    /// How many segments it took.
    taken: usize,
    name: String,
}

impl Checker<'_> {
    /// Follows a path; `None` if an earlier stage has something to say about it, or it is no path at all.
    pub(super) fn path(&mut self, segments: &[Piece<'_>], cx: Cx, has_default: bool) -> Option<Found> {
        let start = self.start(segments, cx, has_default)?;
        Some(self.follow(start.found, segments, start.taken, &start.name))
    }

    fn start(&mut self, segments: &[Piece<'_>], cx: Cx, has_default: bool) -> Option<Start> {
        let (Piece::Name(root), rest) = segments.split_first()? else { return None };
        if let Some(of) = self.binding(cx.frame, root) {
            return Some(Start { found: Found::always(of), taken: 1, name: format!("`{root}`") });
        }
        let start = |found, taken, name: String| Some(Start { found, taken, name });
        match (&**root, rest) {
            ("inputs", _) => start(Found::always(self.inputs.clone()), 1, "`inputs`".to_owned()),
            ("metadata", _) => start(Found::always(self.metadata.clone()), 1, "`metadata`".to_owned()),
            ("steps", [Piece::Name(id), Piece::Name(field), ..]) => {
                let step = self.find(cx.frame, id)?;
                let field = StepField::ALL.into_iter().find(|known| known.as_str() == &**field)?;
                let name = match field {
                    StepField::Output => format!("output of `{id}`"),
                    field => format!("`{}` of `{id}`", field.as_str()),
                };
                start(self.field(step, field, cx, has_default, &name), 3, name)
            }
            ("variables", [Piece::Name(name), ..]) => {
                start(self.variable(name, cx, has_default), 2, format!("`variables.{name}`"))
            }
            ("variables", []) => start(Found::unseen("`variables` as a whole"), 1, "`variables`".to_owned()),
            ("env", [Piece::Name(name), ..]) => {
                let declared = self.workflow.context.environment.contains_key(&**name);
                let found = if declared {
                    Found::always(Type::text())
                } else {
                    let why = format!("`{name}` may not be set where the execution is started");
                    Found { of: Type::text(), presence: There::Unseen(why) }
                };
                start(found, 2, format!("`env.{name}`"))
            }
            ("env", []) => start(Found::always(Type::any_object()), 1, "`env`".to_owned()),
            ("context", [Piece::Name(name), ..]) => {
                let field = ContextField::ALL.into_iter().find(|known| known.as_str() == &**name)?;
                let found = match field {
                    ContextField::StepId if cx.step.is_none() && self.frames[cx.frame].is_root() => {
                        Found::sometimes(Type::text(), "`context.stepId` is missing where no step reads it".to_owned())
                    }
                    _ => Found::always(Type::text()),
                };
                start(found, 2, format!("`context.{name}`"))
            }
            ("context", []) => start(Found::always(Type::any_object()), 1, "`context`".to_owned()),
            _ => None,
        }
    }

    fn field(&mut self, step: StepRef, field: StepField, cx: Cx, has_default: bool, name: &str) -> Found {
        let declared = self.step(step);
        let there = self.presence(cx, step, has_default);
        let is_branch = matches!(declared.kind, StepKind::Branch(_));
        match field {
            StepField::Output => {
                let of = self.output(step);
                match there {
                    Presence::Always => Found::always(of),
                    Presence::Sometimes => Found::sometimes(of, format!("{name} may be missing")),
                }
            }
            StepField::Status | StepField::Attempts => {
                let of = match field {
                    StepField::Status => Type::one_of(&["completed", "failed", "skipped", "cancelled"]),
                    _ => Type::integer(),
                };
                // What is read is settled, unless its case was not taken.
                if self.frames[cx.frame].also.is_empty() {
                    Found::always(of)
                } else {
                    Found::sometimes(of, format!("{name} may be missing"))
                }
            }
            StepField::Case if is_branch => {
                let StepKind::Branch(branch) = &declared.kind else { return Found::unseen("which case is taken") };
                let named = branch.cases.iter().enumerate();
                let names = named.map(|(index, case)| case.name.clone().unwrap_or_else(|| format!("case-{index}")));
                let names = names.chain(branch.default.as_ref().map(|_| "default".to_owned()));
                let of = names.map(|name| Type::of_value(&name.into())).reduce(Type::or).unwrap_or(Type::ANY);
                match there {
                    // One that has been recovered may have failed because no case was taken.
                    Presence::Always if declared.on_error != OnError::Fallback => Found::always(of),
                    _ => Found::sometimes(of, format!("{name} may be missing")),
                }
            }
            StepField::Error => Found::sometimes(Type::failure(), format!("{name} is missing unless it has failed")),
            StepField::Case | StepField::RecoveredBy => {
                Found::sometimes(Type::text(), format!("{name} is missing most of the time"))
            }
        }
    }

    fn variable(&mut self, name: &str, cx: Cx, has_default: bool) -> Found {
        let declared = self.variables.get(name).cloned();
        let captures = self.captures(cx, name);
        // What has not been captured after all is as it is declared.
        let mut certain = declared.is_some();
        let mut found = match declared {
            // What is captured before goes first, and it may be of any type; what is declared is for those without.
            Some(of) => Some(Found::always(of)),
            None if captures.is_empty() => {
                return Found::sometimes(Type::ANY, format!("`variables.{name}` is not declared"));
            }
            None => None,
        };
        for (step, path) in captures {
            let Some(segments) = parse::path(&path) else { return Found::unseen("a capture") };
            let id = self.step(step).id.clone();
            let text = format!("output of `{id}`");
            // A reader with the step as a dependency sees its output; to others the variable is a soft edge.
            let own = self.field(step, StepField::Output, cx, has_default, &text);
            let segments: Vec<_> = ["steps", id.as_str(), "output"]
                .into_iter()
                .map(|name| Piece::Name(name.into()))
                .chain(segments)
                .collect();
            let captured = self.follow(own, &segments, 3, &text);
            // Where a scope has ended, all that was captured there is seen.
            certain |= matches!(captured.presence, There::Always) && cx.step.is_none() && cx.frame == step.frame;
            found = Some(match found {
                None => captured,
                Some(others) => either(others, captured),
            });
        }
        match found {
            Some(found) if certain => Found::always(found.of),
            Some(found) => found,
            None => Found::unseen("a capture"),
        }
    }

    /// Reports a capture of what an output cannot have.
    pub(super) fn capture_exists(&mut self, path: &str, output: &Type, name: &str, at: &At<'_>) {
        let (Some(segments), false) = (parse::path(path), self.is_broken(at)) else { return };
        if let There::Never(lack) = self.follow(Found::always(output.clone()), &segments, 0, name).presence {
            self.report(Report::new(Code::NoSuchProperty, at, lack.message).help(lack.help));
        }
    }

    /// Goes down the rest of a path.
    fn follow(&mut self, start: Found, segments: &[Piece<'_>], taken: usize, name: &str) -> Found {
        let mut found = start;
        for (place, segment) in segments.iter().enumerate().skip(taken) {
            let access = match segment {
                Piece::Name(name) => found.of.property(name),
                Piece::Index(index) => found.of.index(*index),
            };
            let what = || if place == taken { name.to_owned() } else { format!("`{}`", show(&segments[..place])) };
            let part = match segment {
                Piece::Name(name) => format!("`{}`", quote(name)),
                Piece::Index(index) => format!("element {index}"),
            };
            found = match access {
                Access::Present(of) => Found { of, presence: found.presence },
                Access::MaybeAbsent { of, declared } => {
                    let fields = found.of.fields();
                    let near = match segment {
                        Piece::Name(name) if !declared && !fields.iter().any(|field| **field == **name) => {
                            self.did_you_mean(name, &fields)
                        }
                        _ => None,
                    };
                    let message = if found.of.is_nullable() && found.of.clone().without_null().has(segment) {
                        format!("{} may be null, and then has no {part}", what())
                    } else {
                        format!("{} may lack {part}", what())
                    };
                    let lack = Lack { message, help: near };
                    Found { of, presence: sooner(found.presence, There::Sometimes(lack)) }
                }
                Access::Impossible => {
                    let fields = found.of.fields();
                    let help = match segment {
                        Piece::Name(_) if fields.is_empty() => Some(format!("it is {}", with_article(&found.of))),
                        Piece::Name(name) => self.did_you_mean(name, &fields).or_else(|| Some(has(&fields))),
                        Piece::Index(_) => Some(format!("it is {}", with_article(&found.of))),
                    };
                    let lack = Lack { message: format!("{} has no {part}", what()), help };
                    return Found { of: Type::ANY, presence: There::Never(lack) };
                }
                Access::Unknown(why) => {
                    let why = format!("whether {} has {part}: {why}", what());
                    return Found { of: Type::ANY, presence: sooner(found.presence, There::Unseen(why)) };
                }
            };
        }
        found
    }
}

/// Which of two reasons counts: that it may be missing before that it cannot be seen.
fn sooner(first: There, second: There) -> There {
    match (first, second) {
        (There::Always, second) => second,
        (There::Unseen(_), There::Sometimes(lack)) => There::Sometimes(lack),
        // What looks like a slip of the pen is mended first.
        (There::Sometimes(Lack { help: None, .. }), There::Sometimes(lack)) if lack.help.is_some() => {
            There::Sometimes(lack)
        }
        (first, _) => first,
    }
}

/// One or the other is what is read.
fn either(left: Found, right: Found) -> Found {
    let of = left.of.or(right.of);
    let presence = match (left.presence, right.presence) {
        (There::Always, There::Always) => There::Always,
        (There::Never(lack), There::Never(_)) | (There::Sometimes(lack), _) | (_, There::Sometimes(lack)) => {
            There::Sometimes(lack)
        }
        (There::Never(lack), _) | (_, There::Never(lack)) => There::Sometimes(lack),
        (There::Unseen(why), _) | (_, There::Unseen(why)) => There::Unseen(why),
    };
    Found { of, presence }
}

impl Type {
    fn has(&self, segment: &Piece<'_>) -> bool {
        let access = match segment {
            Piece::Name(name) => self.property(name),
            Piece::Index(index) => self.index(*index),
        };
        matches!(access, Access::Present(_))
    }
}

/// Writes a path as expressions do.
pub(super) fn show(segments: &[Piece<'_>]) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Piece::Name(name) if text.is_empty() => text.push_str(name),
            Piece::Name(name) => {
                text.push('.');
                text.push_str(name);
            }
            Piece::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    quote(&text).to_owned()
}

/// Says which names there are.
pub(super) fn has(fields: &[String]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> = fields.iter().take(SHOWN).map(|name| format!("`{}`", quote(name))).collect();
    let more = if fields.len() > SHOWN { ", …" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

fn with_article(of: &Type) -> String {
    let text = of.to_string();
    match text.chars().next() {
        Some('a' | 'i' | 'o') if text != "anything" => format!("an {text}"),
        Some('b' | 's') => format!("a {text}"),
        _ if text == "number" => "a number".to_owned(),
        _ => text,
    }
}
