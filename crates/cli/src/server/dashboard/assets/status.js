// A status is a word, a sign and a colour; never a colour alone.

import { h, s } from './dom.js';

const SHAPES = {
    queued: () => [hollow(5)],
    pending: () => [hollow(5)],
    running: () => [hollow(5.5), s('path', { class: 'solid', d: 'M-2-3.2 3.4 0-2 3.2Z' })],
    waiting: () => [hollow(5.5), line('M0-3.2V0L2.4 1.6')],
    paused: () => [hollow(5.5), line('M-1.6-2.2V2.2M1.6-2.2V2.2')],
    cancelling: () => [hollow(5.5), line('M-2.5 0H2.5')],
    completed: () => [solid(), mark('M-3 .2-.8 2.4 3.2-2.2')],
    failed: () => [solid(), mark('M-2.5-2.5 2.5 2.5M2.5-2.5-2.5 2.5')],
    skipped: () => [hollow(5), line('M-3.5 3.5 3.5-3.5')],
    cancelled: () => [solid(), mark('M-3 0H3')],
};

/** The statuses of a step, the most urgent first. */
export const STEP_STATUSES = ['failed', 'running', 'waiting', 'pending', 'cancelled', 'completed', 'skipped'];

export const EXECUTION_STATUSES = ['queued', 'running', 'paused', 'cancelling', 'completed', 'failed', 'cancelled'];

export const isTerminal = (status) => status === 'completed' || status === 'failed' || status === 'cancelled';

/** The sign of a status, which says nothing to readers of the screen: the word stands beside it. */
export function sign(status) {
    if (!signs.has(status)) {
        const shapes = SHAPES[status] ?? SHAPES.pending;
        signs.set(status, s('svg', { class: 'sign', viewBox: '-8 -8 16 16', 'data-status': status, 'aria-hidden': 'true' }, shapes()));
    }
    return signs.get(status).cloneNode(true);
}

const signs = new Map();

/** Sign and word. */
export function badge(status, extra) {
    return h('span', { class: 'status', 'data-status': status }, sign(status), h('span', {}, status), extra && h('span', { class: 'extra' }, `· ${extra}`));
}

const hollow = (radius) => s('circle', { class: 'hollow', r: radius });
const solid = () => s('circle', { class: 'solid', r: 6.5 });
const line = (d) => s('path', { class: 'line', d });
const mark = (d) => s('path', { class: 'mark', d });
