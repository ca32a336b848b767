// All steps as a table. It tells readers of the screen what the graph shows.

import { h, replace, setText } from './dom.js';
import { duration, number, time } from './format.js';
import { STEP_STATUSES, badge } from './status.js';
import { StepOrder } from './step_order.js';
import { depthOf } from './step_path.js';
import { VirtualRows } from './virtual_rows.js';

const URGENCY = new Map(STEP_STATUSES.map((status, index) => [status, index]));

/** Orders of steps by the name that stands in the address; what is alike in one stays in the order of paths. */
const ORDERS = {
    status: (a, b) => URGENCY.get(a.status) - URGENCY.get(b.status),
    started: (a, b) => beginning(a) - beginning(b),
    duration: (a, b) => (b.duration ?? -1) - (a.duration ?? -1),
    attempts: (a, b) => b.attempts - a.attempts,
};

const beginning = ({ startedAt }) => (startedAt ? Date.parse(startedAt) : Infinity);

const COLUMNS = [
    ['Status', 'status', ''], ['Step', 'path', ''], ['Kind', null, 'medium'], ['Attempts', 'attempts', 'wide number'],
    ['Started', 'started', 'medium'], ['Duration', 'duration', 'number'],
];

export function mount(root, context) {
    let shown = [];
    let drawnFrom = null;
    const order = new StepOrder();
    const search = h('input', { type: 'search', id: 'search', placeholder: 'Step path or agent', 'aria-label': 'Filter steps', autocomplete: 'off', spellcheck: 'false',
        oninput: () => go({ search: search.value.trim() }) });
    const status = h('select', { 'aria-label': 'Status', onchange: () => go({ status: status.value }) },
        h('option', { value: '' }, 'Every status'), STEP_STATUSES.map((name) => h('option', { value: name }, name)));
    const count = h('span', { class: 'dim', role: 'status' });
    const head = h('tr', {});
    const table = h('table', { class: 'list steps' }, h('caption', { class: 'hidden' }, 'Steps'), h('thead', {}, head), h('tbody'));
    const scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': 'Steps', tabindex: 0 }, table);
    root.append(h('div', { class: 'bar' }, search, status, count), scroller);
    const rows = new VirtualRows({ scroller, table, height: 32, render: (index) => row(shown[index], context) });

    const go = (change) => context.go({ ...context.route, ...change }, { isSmall: true });

    function draw(state) {
        const { route } = context;
        const key = `${state.stepsVersion} ${state.sequence} ${route.search} ${route.status} ${route.sort} ${route.step}`;
        if (key === drawnFrom) return;
        drawnFrom = key;
        const wanted = route.search?.toLowerCase();
        const isWanted = (step) => (!route.status || step.status === route.status)
            && (!wanted || `${step.stepPath} ${step.name} ${step.agentId ?? step.tool ?? ''}`.toLowerCase().includes(wanted));
        shown = order.of(state).filter(isWanted);
        if (ORDERS[route.sort]) shown.sort(ORDERS[route.sort]);
        const { total } = state.execution.progress;
        const isPart = shown.length !== total;
        setText(count, isPart ? `${number(shown.length)} of ${number(total)}` : number(total));
        rows.set(shown.length);
    }

    function update() {
        const { route } = context;
        if (document.activeElement !== search) search.value = route.search ?? '';
        status.value = route.status ?? '';
        const sorted = ORDERS[route.sort] ? route.sort : 'path';
        replace(head, COLUMNS.map(([name, by, style]) => {
            const button = by && h('button', { class: 'sort', onclick: () => go({ sort: by === 'path' ? undefined : by }) }, name);
            return h('th', { scope: 'col', class: style, 'aria-sort': by === sorted ? 'ascending' : null }, button ?? name);
        }));
        if (context.watch.state) draw(context.watch.state);
    }

    update();
    return {
        update,
        draw,
        key(name) {
            if (name === 'search') search.focus();
            else if (name === 'next' || name === 'previous') return rows.move(name === 'next' ? 1 : -1);
            else return false;
            return true;
        },
        dispose: () => rows.dispose(),
    };
}

function row(step, context) {
    const isSelected = step.stepPath === context.route.step;
    const link = h('a', { class: 'mono', href: context.hrefOf(step.stepPath), 'aria-current': isSelected ? 'true' : null, title: step.name }, h('bdi', {}, step.stepPath));
    link.style.paddingInlineStart = `${Math.min(depthOf(step.stepPath), 8) * 14}px`;
    return h('tr', { class: isSelected ? 'selected' : null },
        h('td', {}, badge(step.status, step.waitingFor ?? (step.reused ? 'reused' : step.recoveredBy && 'recovered'))),
        h('th', { scope: 'row', class: 'name clip' }, link),
        h('td', { class: 'medium dim clip' }, h('bdi', {}, step.agentId ?? step.tool ?? step.kind ?? '')),
        h('td', { class: 'wide number' }, step.attempts > 1 ? h('span', { class: 'warn' }, step.attempts) : step.attempts || '–'),
        h('td', { class: 'medium', title: step.startedAt }, time(step.startedAt)),
        h('td', { class: 'number' }, duration(step.duration)));
}
