// What the server counts, which it tells anew every few seconds.

import { get } from './api.js';
import { h, replace } from './dom.js';
import { bytes, duration, money, number, time } from './format.js';
import { frame } from './frame.js';
import { complain } from './notice.js';
import { build } from './route.js';
import { EXECUTION_STATUSES, badge } from './status.js';
import { Stream } from './stream.js';

// Besides the figures, what changes the number of approvals that wait.
const TYPES = 'metrics.update,approval.requested,approval.answered,execution.completed,execution.failed,execution.cancelled';

export function mount(root, page) {
    let isClosed = false;
    let latest = null;
    const body = h('div', { class: 'metrics' });
    root.append(h('h1', {}, 'Metrics'), body);

    async function read() {
        try {
            const stats = await get('v1/stats');
            if (isClosed) return;
            latest = stats;
            show();
        } catch (error) {
            if (isClosed || error.status === 401) return;
            if (error.status === 404) replace(body, h('p', { class: 'empty' }, 'This server gives no figures here. /metrics has them for Prometheus.'));
            else if (!error.isUnreachable) complain(error);
        }
    }

    const show = frame(() => replace(body, content(latest)));
    const stream = new Stream(`v1/events?types=${TYPES}`, null, { onEvent: ({ event, data }) => {
        if (event === 'metrics.update') {
            latest = JSON.parse(data);
            show();
        } else page.refreshApprovals();
    }, onState: page.connection, onPoll: read });
    read();
    return {
        update() {},
        key: () => false,
        dispose() {
            isClosed = true;
            stream.close();
            show.stop();
        },
    };
}

function content({ executions, agents = [], circuits = [], errors = {}, events = {}, usage = {}, system = {} }) {
    return [
        h('section', { class: 'figures', 'aria-label': 'Executions' },
            figure('Active', number(executions.active ?? 0)),
            figure('Queued', number(executions.queued ?? 0)),
            figure('Waiting', number(executions.waiting ?? 0)),
            figure('Total', number(executions.total ?? 0)),
            figure('Success', executions.successRate === null || executions.successRate === undefined ? '–' : `${number(100 * executions.successRate)} %`),
            percentiles('Duration', executions.durationMs)),
        h('section', {}, h('h2', {}, 'By status'), h('ul', { class: 'plain row' }, EXECUTION_STATUSES.filter((status) => executions.byStatus?.[status] > 0).map((status) =>
            h('li', {}, h('a', { href: build({ view: 'executions', status }) }, badge(status), ' ', number(executions.byStatus[status])))))),
        table('Agents', ['Agent', 'Calls', 'Failures', 'p50', 'p95', 'p99'], agents, ({ id, calls, failures, durationMs }) =>
            [h('span', { class: 'mono' }, id), number(calls), failures > 0 ? h('span', { class: 'bad' }, number(failures)) : '0', ...['p50', 'p95', 'p99'].map((key) => duration(durationMs?.[key]))], 'numbers percentiles'),
        table('Circuits', ['Circuit', 'State', 'Failures', 'Tries again'], circuits, ({ key, state, failures, reopensAt }) =>
            [h('span', { class: 'mono' }, key), h('span', { class: state === 'closed' ? null : 'warn' }, state), number(failures ?? 0), reopensAt ? time(reopensAt) : ''], 'numbers'),
        table('Errors by code', ['Code', 'Count'], Object.entries(errors.byCode ?? {}).sort((a, b) => b[1] - a[1]), ([code, count]) => [h('code', {}, code), number(count)], 'numbers'),
        table('Recent errors', ['Time', 'Code', 'Step', 'Message'], errors.recent ?? [], (error) => [time(error.timestamp), h('code', { class: 'bad' }, error.code),
            error.executionId ? h('a', { class: 'mono', href: build({ view: 'execution', execution: error.executionId, step: error.stepPath }) }, error.stepPath ?? error.executionId.slice(-8)) : error.stepPath ?? '',
            h('bdi', {}, error.message)]),
        h('section', { class: 'figures', 'aria-label': 'Usage, events and system' },
            figure('Tokens in', number(usage.inputTokens ?? 0)), figure('Tokens out', number(usage.outputTokens ?? 0)), figure('Cost', money(usage.costUsd ?? 0)),
            figure('Events queued', number(events.queued ?? 0)), figure('Most queued', number(events.highWater ?? 0)),
            figure('Events dropped', number(events.dropped ?? 0)),
            figure('Memory', system.memoryBytes === undefined ? '–' : bytes(system.memoryBytes)), figure('Up for', duration(system.uptime)),
            figure('Version', system.version ?? '–'), figure('Platform', [system.platform, system.cpuCount && `${system.cpuCount} cores`].filter(Boolean).join(', ') || '–')),
    ];
}

const figure = (name, value) => h('div', { class: 'figure' }, h('span', { class: 'dim' }, name), h('strong', {}, value));

function percentiles(name, values) {
    return ['p50', 'p95', 'p99'].map((key) => figure(`${name} ${key}`, values?.[key] === undefined || values?.[key] === null ? '–' : duration(values[key])));
}

function table(title, names, rows, cells, kind = '') {
    if (rows.length === 0) return null;
    return h('section', {}, h('h2', {}, title), h('table', { class: `small ${kind}`.trim() }, h('thead', {}, h('tr', {}, names.map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, rows.map((row) => h('tr', {}, cells(row).map((cell, index) => (index === 0 ? h('th', { scope: 'row' }, cell) : h('td', {}, cell))))))));
}
