// Short news at the edge of the page, for eyes and readers alike.

import { h } from './dom.js';

const STAYS = 7000;

export function notice(text, { isError = false } = {}) {
    let shelf = document.getElementById('notices');
    if (!shelf) {
        shelf = h('div', { id: 'notices', role: 'region', 'aria-label': 'Notices', 'aria-live': 'polite' });
        document.body.append(shelf);
    }
    const item = h('p', { class: isError ? 'notice error' : 'notice' }, text);
    shelf.append(item);
    while (shelf.children.length > 4) shelf.firstChild.remove();
    setTimeout(() => item.remove(), STAYS);
}

/** Says what a problem says, its issues included. */
export function complain(error) {
    const issues = (error.issues ?? []).map(({ path, message }) => (path ? `${path}: ${message}` : message));
    notice([error.message, ...issues].join(' · '), { isError: true });
}
