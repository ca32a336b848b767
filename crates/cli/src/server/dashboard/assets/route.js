// What the address says: which view, of which execution, filtered how, with what selected.

const TABS = ['graph', 'timeline', 'steps', 'journal'];

/** What each view keeps in the address besides itself. */
const KEPT = {
    executions: ['status', 'workflow', 'search'],
    approvals: [],
    metrics: [],
    graph: ['step', 'open'],
    timeline: ['step'],
    steps: ['step', 'status', 'search', 'sort'],
    journal: ['step', 'level', 'type', 'within'],
};

/** Reads the query of an address. What it does not know is left out, so that old links still open. */
export function parse(search) {
    const parameters = new URLSearchParams(search);
    const execution = parameters.get('execution');
    const view = parameters.get('view');
    const route = execution
        ? { view: 'execution', execution, tab: TABS.includes(view) ? view : TABS[0] }
        : { view: view === 'approvals' || view === 'metrics' ? view : 'executions' };
    for (const key of KEPT[route.tab ?? route.view]) {
        const value = parameters.get(key);
        if (value) route[key] = value;
    }
    return route;
}

/** Writes a route as a relative address. */
export function build(route) {
    const parameters = new URLSearchParams();
    if (route.view === 'execution') {
        parameters.set('execution', route.execution);
        if (route.tab && route.tab !== TABS[0]) parameters.set('view', route.tab);
    } else if (route.view !== 'executions') {
        parameters.set('view', route.view);
    }
    for (const key of KEPT[route.tab ?? route.view] ?? KEPT.graph) {
        if (route[key]) parameters.set(key, route[key]);
    }
    const text = parameters.toString();
    return text ? `?${text}` : './';
}

/** What two routes must share so that one page shows both. */
export function placeOf(route) {
    return `${route.view} ${route.execution ?? ''}`;
}

export { TABS };
