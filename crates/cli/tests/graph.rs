//! The layout of graphs: what holds of every drawing, whatever is drawn.

use orchestr8_cli::graph::{
    Drawing, Edge, EdgeKind, Graph, Node, NodeDrawing, Scope, ScopeDrawing, Tally, dot,
    layout::{Arrangement, Link, Point, Rect, Size, arrange},
    mermaid, svg,
};
use orchestr8_schema::api::StepStatus;
use proptest::{collection::vec, prelude::*, sample::Index};

/// Boxes of any size, and edges that lead from earlier ones to later ones.
fn graphs() -> impl Strategy<Value = (Vec<Size>, Vec<Link>)> {
    let size = (1..200, 1..120).prop_map(|(width, height)| Size { width, height });
    let edge = (any::<Index>(), any::<Index>(), 0..3_u8);
    (vec(size, 1..40), vec(edge, 0..80)).prop_map(|(sizes, edges)| {
        let count = sizes.len();
        let links = edges.into_iter().filter_map(|(a, b, class)| {
            let (a, b) = (a.index(count), b.index(count));
            (a != b).then_some(Link { from: a.min(b), to: a.max(b), class })
        });
        (sizes, links.collect())
    })
}

/// A line between two corners of an edge, as the narrowest box around it.
fn crosses(from: Point, to: Point, area: &Rect) -> bool {
    let (left, right) = (from.x.min(to.x), from.x.max(to.x));
    let (top, bottom) = (from.y.min(to.y), from.y.max(to.y));
    left < area.right() && area.x < right.max(left + 1) && top < area.bottom() && area.y < bottom
}

fn check(layout: &Arrangement, sizes: &[Size], links: &[Link]) -> Result<(), TestCaseError> {
    let everything = Rect { x: 0, y: 0, width: layout.size.width, height: layout.size.height };
    for (index, area) in layout.boxes.iter().enumerate() {
        prop_assert!(area.width >= sizes[index].width && area.height == sizes[index].height);
        prop_assert!(everything.contains(area), "{area:?} is not in {everything:?}");
        for other in &layout.boxes[..index] {
            prop_assert!(!area.overlaps(other), "{area:?} lies on {other:?}");
        }
    }
    for (link, route) in links.iter().zip(&layout.routes) {
        let (from, to) = (&layout.boxes[link.from], &layout.boxes[link.to]);
        prop_assert_eq!(route.first().copied(), Some(Point { x: from.middle(), y: from.bottom() }));
        prop_assert_eq!(route.last().copied(), Some(Point { x: to.middle(), y: to.y }));
        for pair in route.windows(2) {
            prop_assert!(pair[0].y <= pair[1].y, "an edge leads upward: {route:?}");
            prop_assert!(pair.iter().all(|corner| (0..=everything.width).contains(&corner.x)));
            for (index, area) in layout.boxes.iter().enumerate() {
                let is_end = index == link.from || index == link.to;
                prop_assert!(is_end || !crosses(pair[0], pair[1], area), "an edge runs through {area:?}: {route:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn boxes_do_not_touch_and_edges_lead_downward_past_all_others((sizes, links) in graphs()) {
        let layout = arrange(&sizes, &links);
        check(&layout, &sizes, &links)?;
        prop_assert_eq!(layout, arrange(&sizes, &links), "the same graph is laid out in the same way");
    }

    #[test]
    fn cycles_and_loops_are_drawn_all_the_same(
        sizes in vec((1..200, 1..120).prop_map(|(width, height)| Size { width, height }), 1..20),
        edges in vec((any::<Index>(), any::<Index>()), 0..60),
    ) {
        let count = sizes.len();
        let links: Vec<_> = edges.into_iter().map(|(a, b)| Link::new(a.index(count), b.index(count))).collect();
        let layout = arrange(&sizes, &links);
        for (index, area) in layout.boxes.iter().enumerate() {
            prop_assert!(layout.boxes[..index].iter().all(|other| !area.overlaps(other)));
        }
        for (link, route) in links.iter().zip(&layout.routes) {
            prop_assert_eq!(route.is_empty(), link.from == link.to);
        }
    }

    #[test]
    fn composites_contain_what_is_inside(graph in nested()) {
        let drawing = Drawing::new(&graph);
        inside(&drawing.steps, &Rect { x: 0, y: 0, width: drawing.size.width, height: drawing.size.height })?;
        prop_assert_eq!(drawn(&drawing.steps), graph.drawn());
        prop_assert_eq!(svg::draw(&graph, svg::Style::Embedded), svg::draw(&graph, svg::Style::Embedded));
    }

    #[test]
    fn hostile_text_stays_text(text in any::<String>()) {
        let mut graph = three();
        graph.title.clone_from(&text);
        graph.steps.nodes[1].detail.clone_from(&text);
        graph.steps.nodes[1].kind = "tool";
        let svg = svg::draw(&graph, svg::Style::FromPage);
        let plain = svg::draw(&three(), svg::Style::FromPage);
        prop_assert_eq!(svg.matches('<').count(), plain.matches('<').count(), "no element was made of it");
        prop_assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
        prop_assert_eq!(dot::draw(&graph).lines().count(), dot::draw(&three()).lines().count());
        prop_assert_eq!(mermaid::draw(&graph).lines().count(), 4);
    }
}

fn inside(scope: &ScopeDrawing, outer: &Rect) -> Result<(), TestCaseError> {
    prop_assert!(outer.contains(&scope.area), "{:?} is not in {outer:?}", scope.area);
    for (index, node) in scope.nodes.iter().enumerate() {
        prop_assert!(scope.area.contains(&node.area), "{:?} is not in {:?}", node.area, scope.area);
        prop_assert!(scope.nodes[..index].iter().all(|other| !other.area.overlaps(&node.area)));
        for (place, inner) in node.scopes.iter().enumerate() {
            inside(inner, &node.area)?;
            prop_assert!(node.scopes[..place].iter().all(|other| !other.area.overlaps(&inner.area)));
        }
    }
    let corners = scope.routes.iter().flatten();
    for corner in corners {
        let area = Rect { x: corner.x, y: corner.y, width: 0, height: 0 };
        prop_assert!(scope.area.contains(&area), "an edge leaves {:?} at {corner:?}", scope.area);
    }
    Ok(())
}

fn drawn(scope: &ScopeDrawing) -> usize {
    let below = |node: &NodeDrawing| node.scopes.iter().map(drawn).sum::<usize>();
    scope.nodes.iter().map(|node| 1 + below(node)).sum()
}

fn step(id: impl Into<String>, kind: &'static str, scopes: Vec<Scope>) -> Node {
    let id = id.into();
    Node {
        path: id.clone(),
        id,
        kind,
        detail: String::new(),
        status: None,
        visits: Tally::default(),
        scopes,
        open: true,
    }
}

fn three() -> Graph {
    let mut graph = Graph { title: "Three".to_owned(), steps: Scope::default() };
    for (id, detail) in [("fetch", "@acme/fetch"), ("review", "@acme/review"), ("publish", "@acme/publish")] {
        let mut node = step(id, "agent", Vec::new());
        detail.clone_into(&mut node.detail);
        graph.steps.nodes.push(node);
    }
    graph.steps.edges =
        vec![Edge { from: 0, to: 1, kind: EdgeKind::Data }, Edge { from: 1, to: 2, kind: EdgeKind::Order }];
    graph
}

/// Composites in composites, with cases, empty lists and closed ones.
fn nested() -> impl Strategy<Value = Graph> {
    let leaf = ("[a-z-]{1,40}", any::<Option<bool>>()).prop_map(|(id, ran)| {
        let mut node = step(id, "agent", Vec::new());
        node.status = ran.map(|ran| if ran { StepStatus::Completed } else { StepStatus::Waiting });
        node
    });
    let node = leaf.prop_recursive(4, 40, 6, |inner| {
        let scope =
            (proptest::option::of("[a-z ]{1,60}"), vec(inner, 0..6), vec((any::<Index>(), any::<Index>()), 0..6));
        let scope = scope.prop_map(|(name, nodes, pairs)| scope_of(name, nodes, &pairs));
        ("[a-z-]{1,12}", vec(scope, 1..4), prop::bool::weighted(0.8)).prop_map(|(id, scopes, open)| {
            let mut node = step(id, "parallel", scopes);
            node.open = open;
            node
        })
    });
    (vec(node, 1..6), vec((any::<Index>(), any::<Index>()), 0..8))
        .prop_map(|(nodes, pairs)| Graph { title: "Nested".to_owned(), steps: scope_of(None, nodes, &pairs) })
}

fn scope_of(name: Option<String>, nodes: Vec<Node>, pairs: &[(Index, Index)]) -> Scope {
    let count = nodes.len().max(1);
    let edges = pairs.iter().filter_map(|(a, b)| {
        let (a, b) = (a.index(count), b.index(count));
        (a != b).then_some(Edge { from: a.min(b), to: a.max(b), kind: EdgeKind::Soft })
    });
    Scope { name, edges: edges.collect(), nodes }
}

/// Boxes of one size in a few shapes of ten thousand.
fn large(shape: &str, count: usize) -> Vec<Link> {
    let link = |step: usize| -> Vec<Link> {
        match shape {
            "chain" => vec![Link::new(step - 1, step)],
            "fan" => vec![Link::new(0, step)],
            "layers" => (1..=3).map(|by| Link::new((step * 7 + by * 13) % (step / 50 * 50).max(1), step)).collect(),
            // Every step waits for its neighbour and for one a hundred before: long columns side by side.
            "ladder" => vec![Link::new(step - 1, step), Link::new(step.saturating_sub(100), step)],
            // Every step waits for all of the ten before, and the first.
            _ => (1..=10).map(|by| Link::new(step.saturating_sub(by), step)).chain([Link::new(0, step)]).collect(),
        }
    };
    (1..count).flat_map(link).filter(|link| link.from < link.to).collect()
}

#[test]
fn thousands_of_steps_are_laid_out_without_growing_beyond_measure() {
    let count = 1_000;
    let sizes = vec![Size { width: 120, height: 46 }; count];
    for shape in ["chain", "fan", "layers", "ladder", "band"] {
        let links = large(shape, count);
        let layout = arrange(&sizes, &links);
        let corners: usize = layout.routes.iter().map(Vec::len).sum();
        assert!(corners <= 60 * links.len() + 80 * count, "{shape}: {corners} corners");
        assert!(layout.boxes.windows(2).all(|pair| !pair[0].overlaps(&pair[1])), "{shape}");
    }
}

#[test]
fn a_long_edge_runs_straight_beside_what_it_passes() {
    // a → b → c → d, and a → d.
    let sizes = [Size { width: 100, height: 40 }; 4];
    let links = [Link::new(0, 1), Link::new(1, 2), Link::new(2, 3), Link::new(0, 3)];
    let layout = arrange(&sizes, &links);
    assert_eq!(layout.routes[3].len(), 4, "out, down, and back: {:?}", layout.routes[3]);
}

#[test]
fn mermaid_names_are_distinct_and_read_as_names() {
    let mut graph = three();
    for (node, id) in graph.steps.nodes.iter_mut().zip(["end", "3_end", "a--b"]) {
        id.clone_into(&mut node.id);
        id.clone_into(&mut node.path);
    }
    let text = mermaid::draw(&graph);
    assert_eq!(
        text,
        "graph TD\n  3_end[\"end\"]\n  5_3_uend[\"3_end\"]\n  4_a_m_mb[\"a--b\"]\n  3_end --> 5_3_uend\n  5_3_uend --> 4_a_m_mb\n"
    );
}
