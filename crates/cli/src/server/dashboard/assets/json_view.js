// Values as trees that fold. Each level is made when it is opened, a hundred children at a time.

import { copyButton, save } from './clipboard.js';
import { h } from './dom.js';
import { bytes, plural } from './format.js';

const CHILDREN = 100;
const LONGEST_TEXT = 400;
const LARGEST = 64 * 1024;

/** A value with its name, its size where that matters, and a button to copy it. */
export function jsonView(name, value, file = `${name}.json`) {
    const text = JSON.stringify(value, null, 2) ?? 'null';
    const isLarge = text.length > LARGEST;
    return h('section', { class: 'value' },
        h('div', { class: 'value-head' },
            h('h3', {}, name),
            isLarge && h('span', { class: 'dim' }, bytes(text.length)),
            copyButton('Copy', () => text, { 'aria-label': `Copy ${name.toLowerCase()}` })),
        isLarge ? large(text, file) : h('div', { class: 'json' }, node(null, value, 0)));
}

/** The beginning of a value that is too long to be a tree, and the whole as a file. */
function large(text, file) {
    return [
        h('p', { class: 'note' }, `The first 64 KB of ${bytes(text.length)}. `,
            h('button', { class: 'link', onclick: () => save(file, 'application/json', [text]) }, 'Download all of it')),
        h('pre', { class: 'json large', tabindex: 0 }, text.slice(0, LARGEST)),
    ];
}

function node(key, value, depth) {
    const name = key === null ? null : h('span', { class: 'key' }, key);
    if (value === null || typeof value !== 'object') return h('div', { class: 'leaf' }, name, name && ': ', leaf(value));
    const isList = Array.isArray(value);
    const keys = isList ? null : Object.keys(value);
    const count = isList ? value.length : keys.length;
    const [open, close] = isList ? '[]' : '{}';
    if (count === 0) return h('div', { class: 'leaf' }, name, name && ': ', `${open}${close}`);
    const inside = h('div', { class: 'inside' });
    const details = h('details', { ontoggle: () => fill() },
        h('summary', {}, name, name && ': ', `${open} `, h('span', { class: 'dim' }, plural(count, isList ? 'item' : 'key')), ` ${close}`), inside);
    let shown = 0;
    const more = () => {
        const upTo = Math.min(count, shown + CHILDREN);
        for (; shown < upTo; shown += 1) {
            const at = isList ? shown : keys[shown];
            inside.append(node(String(at), value[at], depth + 1));
        }
        if (shown < count) {
            const next = h('button', { class: 'link', onclick: () => {
                next.remove();
                more();
            } }, `${plural(count - shown, 'more item')}`);
            inside.append(next);
        }
    };
    const fill = () => {
        if (details.open && shown === 0) more();
    };
    if (depth < 2 && count <= 20) details.open = true;
    fill();
    return details;
}

function leaf(value) {
    if (typeof value !== 'string') return h('span', { class: value === null ? 'null' : typeof value }, String(value));
    const quoted = JSON.stringify(value);
    if (quoted.length <= LONGEST_TEXT) return h('bdi', { class: 'string' }, quoted);
    const text = h('bdi', { class: 'string' }, `${quoted.slice(0, LONGEST_TEXT)}…`);
    const more = h('button', { class: 'link', onclick: () => {
        text.textContent = quoted;
        more.remove();
    } }, `all of ${bytes(quoted.length)}`);
    return [text, ' ', more];
}
