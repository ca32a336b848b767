// Step paths: `reviews[3].score`, `reviews["a.md"].score`, `refine#2.critic`.

const SEGMENT = /([^.[#]+)(?:\[(\d+|"(?:[^"\\]|\\.)*")\]|#(\d+))?\.?/y;
const cache = new Map();
const MOST_KEPT = 50000;

/** Splits a path into its segments: the step's id, and the item or iteration behind it. */
export function segments(path) {
    const known = cache.get(path);
    if (known) return known;
    const found = [];
    SEGMENT.lastIndex = 0;
    for (let match; SEGMENT.lastIndex < path.length && (match = SEGMENT.exec(path)); ) {
        const visit = match[2] ?? match[3];
        found.push({ id: match[1], visit: visit === undefined ? null : visit[0] === '"' ? visit : Number(visit) });
    }
    if (cache.size >= MOST_KEPT) cache.clear();
    cache.set(path, found);
    return found;
}

/** The place in the workflow: the path without items and iterations. */
export const placeOf = (path) => segments(path).map(({ id }) => id).join('.');

/** The step that a path lies within, if any, and its scope: the path up to the last dot. */
export function scopeOf(path) {
    let depth = 0;
    let quoted = false;
    let last = -1;
    for (let index = 0; index < path.length; index += 1) {
        const sign = path[index];
        if (quoted && sign === '\\') index += 1;
        else if (sign === '"') quoted = !quoted;
        else if (!quoted && sign === '[') depth += 1;
        else if (!quoted && sign === ']') depth -= 1;
        else if (!quoted && depth === 0 && sign === '.') last = index;
    }
    return last < 0 ? '' : path.slice(0, last);
}

/** How deep a step lies. */
export const depthOf = (path) => segments(path).length - 1;

/** A text that sorts as people count: item 9 before item 10, and what is in a composite right behind it. No two paths have the same. */
export const sortKey = (path) => `${path.replace(/[.[#]|\d+/g, (sign) => INNER[sign] ?? sign.padStart(10, '0'))}\u0000${path}`;

const INNER = { '.': '\u0001', '[': '\u0002', '#': '\u0002' };
