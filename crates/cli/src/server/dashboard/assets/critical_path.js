// Which steps the end of an execution waited for: from the last to end, always the dependency that ended last.

import { placeOf, scopeOf } from './step_path.js';

const LONGEST = 2000;

/** Gives the paths on the critical path. `edges` are those of the graph, by places: `{from, to}`. */
export function criticalPath(steps, edges) {
    const before = new Map();
    for (const { from, to } of edges) {
        if (!before.has(to)) before.set(to, []);
        before.get(to).push(from);
    }
    const inside = new Map();
    for (const step of steps.values()) {
        if (!hasRun(step)) continue;
        const scope = scopeOf(step.stepPath);
        for (const key of new Set([scope, ownerOf(scope)])) {
            const last = inside.get(key);
            if (!last || step.completedAt > last.completedAt) inside.set(key, step);
        }
    }
    const found = new Set();
    const open = [inside.get('')];
    while (open.length > 0 && found.size < LONGEST) {
        for (let step = open.pop(); step && !found.has(step.stepPath); step = previous(step, steps, before) ?? inside.get(iterationBefore(scopeOf(step.stepPath)))) {
            found.add(step.stepPath);
            if (inside.has(step.stepPath)) open.push(inside.get(step.stepPath));
        }
    }
    return found;
}

/** Nothing waits for what was skipped or given up. */
const hasRun = ({ status, startedAt, completedAt }) => Boolean(startedAt && completedAt) && (status === 'completed' || status === 'failed');

function previous(step, steps, before) {
    const scope = scopeOf(step.stepPath);
    let last = null;
    for (const place of before.get(placeOf(step.stepPath)) ?? []) {
        const id = place.split('.').at(-1);
        const other = steps.get(scope ? `${scope}.${id}` : id);
        if (other && hasRun(other) && (!last || other.completedAt > last.completedAt)) last = other;
    }
    return last;
}

/** An iteration begins when the one before it ends. */
function iterationBefore(scope) {
    const [, loop, index] = /^(.*)#(\d+)$/.exec(scope) ?? [];
    return loop !== undefined && Number(index) > 0 ? `${loop}#${index - 1}` : null;
}

/** The composite that a scope belongs to: `reviews[3]` is one of `reviews`. */
function ownerOf(scope) {
    return scope.replace(/(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\]|#\d+)$/, '');
}
