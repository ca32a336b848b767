// The list of executions, newest first.

import { get, query } from './api.js';
import { h, replace, setText } from './dom.js';
import { duration, number, shortId, time } from './format.js';
import { atMostEvery, frame } from './frame.js';
import { complain } from './notice.js';
import { build } from './route.js';
import { EXECUTION_STATUSES, badge, isTerminal } from './status.js';
import { Stream } from './stream.js';
import { VirtualRows } from './virtual_rows.js';

const PAGE = 100;
const LEAST_BETWEEN_READS = 1000;
const WHOLE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function mount(root, page) {
    let route = page.route;
    let loaded = [];
    let shown = [];
    let cursor;
    let isClosed = false;
    let hasAnswer = false;
    let isReading = null;

    const search = h('input', { type: 'search', id: 'search', placeholder: 'Id', 'aria-label': 'Search by id', autocomplete: 'off', spellcheck: 'false',
        oninput: () => page.go({ ...route, search: search.value.trim() }, { isSmall: true }),
        onkeydown: (event) => event.key === 'Enter' && openSearched() });
    const status = h('select', { 'aria-label': 'Status', onchange: () => page.go({ ...route, status: status.value }, { isSmall: true }) },
        h('option', { value: '' }, 'Every status'), EXECUTION_STATUSES.map((name) => h('option', { value: name }, name)));
    const workflow = h('input', { type: 'search', list: 'workflows', placeholder: 'Workflow', 'aria-label': 'Workflow id', autocomplete: 'off',
        onchange: () => page.go({ ...route, workflow: workflow.value.trim() }, { isSmall: true }) });
    const workflows = h('datalist', { id: 'workflows' });
    const count = h('span', { class: 'dim', role: 'status' });
    const empty = h('div', { class: 'empty' });
    const table = h('table', { class: 'list executions' },
        h('caption', { class: 'hidden' }, 'Executions, newest first'),
        h('thead', {}, h('tr', {}, ['Status', 'Workflow', 'Id', 'Started', 'Duration', 'Steps', 'Failed', 'Progress'].map((name, index) =>
            h('th', { scope: 'col', class: ['', '', 'medium', 'narrow', 'medium number', 'medium number', 'wide number', ''][index] }, name)))),
        h('tbody'));
    const more = h('button', { hidden: true, onclick: () => readMore() }, 'Load more');
    const scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': 'Executions', tabindex: 0 }, table, empty, h('div', { class: 'row center' }, more));
    root.append(h('h1', { class: 'hidden' }, 'Executions'),
        h('div', { class: 'bar' }, search, status, workflow, workflows, count), scroller);
    const rows = new VirtualRows({ scroller, table, height: 38, render: (index) => row(shown[index]) });

    const draw = frame(() => {
        const wanted = route.search?.toLowerCase();
        shown = wanted ? loaded.filter(({ executionId }) => executionId.includes(wanted)) : loaded;
        table.hidden = shown.length === 0;
        more.hidden = !cursor;
        setText(count, hasAnswer && shown.length > 0 ? `${number(shown.length)}${cursor ? '+' : ''}` : '');
        replace(empty, shown.length === 0 && hasAnswer && nothing());
        replace(workflows, [...new Set(loaded.map((one) => one.workflow.id))].map((id) => h('option', { value: id })));
        rows.set(shown.length);
    });

    async function readFirst() {
        const asked = route;
        if (isReading === asked) return;
        isReading = asked;
        try {
            const body = await get(`v1/executions${query({ ...filter(), limit: PAGE })}`);
            if (isClosed || asked !== route) return;
            // Pages behind the first stay as they are; the first is as the server says.
            const oldest = body.executions.at(-1)?.executionId;
            const behind = body.hasMore ? loaded.filter(({ executionId }) => executionId < oldest) : [];
            if (behind.length === 0) cursor = body.nextCursor;
            loaded = [...body.executions, ...behind];
            hasAnswer = true;
            draw();
        } catch (error) {
            if (!isClosed && !error.isUnreachable) complain(error);
        }
        if (isReading === asked) isReading = null;
    }

    async function readMore() {
        more.disabled = true;
        try {
            const body = await get(`v1/executions${query({ ...filter(), limit: PAGE, cursor })}`);
            loaded = [...loaded, ...body.executions];
            cursor = body.nextCursor;
            draw();
        } catch (error) {
            complain(error);
        }
        more.disabled = false;
    }

    const filter = () => ({ status: route.status, workflowId: route.workflow });

    function openSearched() {
        const text = search.value.trim();
        if (shown.length === 1) page.go({ view: 'execution', execution: shown[0].executionId });
        else if (WHOLE_ID.test(text)) page.go({ view: 'execution', execution: text.toLowerCase() });
    }

    function nothing() {
        if (route.search || route.status || route.workflow) return [h('h2', {}, 'Nothing matches'), h('p', {}, 'No execution is as the filter says.')];
        return [h('h2', {}, 'No executions yet'), h('p', {}, 'Start one from a terminal:'),
            h('pre', { class: 'command' }, `curl -H 'Content-Type: application/yaml' --data-binary @workflow.yaml \\\n  ${new URL('v1/workflows/execute', location.href)}`)];
    }

    function setFields() {
        if (document.activeElement !== search) search.value = route.search ?? '';
        status.value = route.status ?? '';
        if (document.activeElement !== workflow) workflow.value = route.workflow ?? '';
    }

    const refresh = atMostEvery(LEAST_BETWEEN_READS, readFirst);
    const readAll = () => {
        refresh();
        page.refreshApprovals();
    };
    const stream = new Stream('v1/events', null, { onEvent: ({ event }) => {
        if (/^(execution|step|approval)\./.test(event)) refresh();
        if (/^(approval|execution)\./.test(event)) page.refreshApprovals();
        if (event === 'events.dropped') readAll();
    }, onState: (state) => {
        page.connection(state);
        // What happened between the list and the first event is in neither.
        if (state === 'live') readAll();
    }, onPoll: readAll });
    const clock = setInterval(() => loaded.some((one) => !isTerminal(one.status)) && draw(), 1000);
    setFields();
    readFirst();

    return {
        update(next) {
            const isFiltered = next.status !== route.status || next.workflow !== route.workflow;
            route = next;
            setFields();
            if (isFiltered) {
                [loaded, cursor, hasAnswer] = [[], undefined, false];
                scroller.scrollTop = 0;
                readFirst();
            }
            draw();
        },
        key(name) {
            if (name === 'search') search.focus();
            else if (name === 'next' || name === 'previous') return rows.move(name === 'next' ? 1 : -1);
            else return false;
            return true;
        },
        dispose() {
            isClosed = true;
            stream.close();
            clearInterval(clock);
            refresh.stop();
            draw.stop();
            rows.dispose();
        },
    };
}

function row(one) {
    const { progress } = one;
    const ended = progress.completed + progress.failed + progress.skipped + progress.cancelled;
    const href = build({ view: 'execution', execution: one.executionId });
    const took = one.duration ?? (isTerminal(one.status) || !one.startedAt ? null : Date.now() - Date.parse(one.startedAt));
    return h('tr', {},
        h('td', {}, badge(one.status, one.waitingCount > 0 && 'waits')),
        h('th', { scope: 'row', class: 'name clip' }, h('a', { href, title: one.workflow.id }, h('bdi', {}, one.workflow.name || one.workflow.id))),
        h('td', { class: 'medium mono', title: one.executionId }, shortId(one.executionId)),
        h('td', { class: 'narrow', title: one.startedAt }, time(one.startedAt)),
        h('td', { class: 'medium number' }, duration(took)),
        h('td', { class: 'medium number' }, `${number(ended)}/${number(progress.total)}`),
        h('td', { class: progress.failed > 0 ? 'wide number bad' : 'wide number dim' }, progress.failed > 0 ? number(progress.failed) : '–'),
        h('td', {}, progressBar(progress)));
}

/** How much has ended, and how much of it well. */
export function progressBar(progress) {
    const bar = h('span', { class: 'progress', role: 'img', 'aria-label': `${progress.percent} %` });
    let from = 0;
    // One box with stripes, since a list has many of them.
    const stripes = ['completed', 'failed', 'skipped', 'cancelled', 'running'].filter((name) => progress[name] > 0).map((name) => {
        // One of ten thousand is seen, too.
        const to = from + Math.max(1, (100 * progress[name]) / Math.max(progress.total, 1));
        const colour = name === 'running' ? 'color-mix(in srgb, var(--running) 55%, transparent)' : `var(--${name})`;
        const stripe = `${colour} ${from}% ${to}%`;
        from = to;
        return stripe;
    });
    bar.style.backgroundImage = `linear-gradient(to right, ${[...stripes, `transparent ${from}%`].join(', ')})`;
    return h('span', { class: 'progress-cell' }, bar, h('span', { class: 'number percent' }, `${progress.percent} %`));
}
