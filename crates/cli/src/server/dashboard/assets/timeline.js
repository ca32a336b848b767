// What ran when: a row per step path, a bar per attempt.

import { execution, get, query } from './api.js';
import { criticalPath } from './critical_path.js';
import { h, setText } from './dom.js';
import { duration, number } from './format.js';
import { recall } from './fold.js';
import { atMostEvery } from './frame.js';
import { isTerminal, sign } from './status.js';
import { StepOrder } from './step_order.js';
import { depthOf } from './step_path.js';
import { VirtualRows } from './virtual_rows.js';

const TIMES = 'step.scheduled,attempt.started,attempt.finished,attempt.rejected';
// Of longer journals a row shows one bar from a step's start to its end, and the step panel its attempts.
const LONGEST_JOURNAL = 20000;
const TICKS = 5;

export function mount(root, context) {
    let shown = [];
    let state = null;
    let from = 0;
    let until = 1;
    let drawnFrom = '';
    let edges = [];
    let critical = new Set();
    let isClosed = false;
    const order = new StepOrder();

    const ruler = h('div', { class: 'ruler', 'aria-hidden': 'true' });
    const count = h('span', { class: 'dim' });
    const legend = h('ul', { class: 'legend' }, [['queue', 'ready, waits for a slot'], ['attempt', 'attempt'], ['failed', 'failed attempt'],
        ['backoff', 'backoff or waiting'], ['critical', 'critical path']].map(([kind, text]) => h('li', {}, h('i', { class: `swatch ${kind}` }), text)));
    const table = h('table', { class: 'list timeline' }, h('caption', { class: 'hidden' }, 'When each step ran'),
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Step'), h('th', { scope: 'col', class: 'number medium' }, 'Duration'), h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'Time'), ruler))),
        h('tbody'));
    const scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': 'Timeline', tabindex: 0 }, table);
    root.append(h('div', { class: 'bar' }, legend, count), scroller);
    const rows = new VirtualRows({ scroller, table, height: 26, render: (index) => row(shown[index]) });

    function draw(next) {
        state = next;
        const { execution: one } = state;
        const key = `${state.stepsVersion} ${state.sequence} ${context.route.step}`;
        const isRunning = !isTerminal(one.status);
        if (key === drawnFrom && !isRunning) return;
        if (key !== drawnFrom) {
            shown = order.of(state).filter((step) => step.startedAt || step.readyAt).sort(byStart);
            findCritical();
        }
        drawnFrom = key;
        // Of a reopened or forked execution, steps may lie before its start.
        from = Math.min(Date.parse(one.startedAt ?? new Date()), ...shown.slice(0, 1).map(startOf));
        until = Math.max(from + 1, isRunning ? Date.now() : Math.max(Date.parse(one.completedAt ?? 0), latest()));
        drawRuler();
        setText(count, shown.length < state.execution.progress.total ? `${number(shown.length)} of ${number(state.execution.progress.total)} have started` : '');
        rows.set(shown.length);
    }

    function latest() {
        let last = '';
        for (const { completedAt } of shown) {
            if (completedAt > last) last = completedAt;
        }
        return last ? Date.parse(last) : 0;
    }

    const findCritical = atMostEvery(500, () => {
        if (!state || isClosed) return;
        critical = criticalPath(state.steps, edges);
        rows.set(shown.length);
    });

    function drawRuler() {
        ruler.replaceChildren(...Array.from({ length: TICKS }, (_, index) => {
            const tick = h('span', {}, index === 0 ? '0' : duration(((until - from) * index) / TICKS));
            tick.style.left = `${(100 * index) / TICKS}%`;
            return tick;
        }));
    }

    function row(step) {
        const track = h('div', { class: 'track' });
        const add = (kind, start, end, title) => {
            if (!(end >= start)) return;
            const bar = h('i', { class: `piece ${kind}`, title });
            bar.style.left = `${percent(start)}%`;
            bar.style.width = `max(2px, ${percent(end) - percent(start)}%)`;
            track.append(bar);
        };
        for (const [kind, start, end, title] of pieces(step)) add(kind, start, end, title);
        const isCritical = critical.has(step.stepPath);
        const isSelected = context.route.step === step.stepPath;
        const link = h('a', { href: context.hrefOf(step.stepPath), class: 'mono', 'aria-current': isSelected ? 'true' : null },
            sign(step.status), h('span', { class: 'hidden' }, step.status), h('bdi', {}, step.stepPath));
        link.style.paddingInlineStart = `${Math.min(depthOf(step.stepPath), 6) * 12}px`;
        return h('tr', { class: [isSelected && 'selected', isCritical && 'critical'].filter(Boolean).join(' ') || null },
            h('th', { scope: 'row', class: 'name clip' }, link, isCritical && h('span', { class: 'hidden' }, 'on the critical path')),
            h('td', { class: 'number medium' }, duration(step.duration ?? (step.startedAt && !step.completedAt ? Date.now() - startOf(step) : null))),
            h('td', { class: 'time' }, track));
    }

    const percent = (at) => Math.max(0, Math.min(100, (100 * (at - from)) / (until - from)));

    /** The pieces of a row: `[kind, start, end, title]`. */
    function pieces(step) {
        const found = [];
        const start = startOf(step);
        const end = step.completedAt ? Date.parse(step.completedAt) : isTerminal(state.execution.status) ? until : Date.now();
        const ready = step.readyAt ? Date.parse(step.readyAt) : null;
        if (ready !== null && start > ready) found.push(['queue', ready, start, `ready for ${duration(start - ready)}`]);
        const attempts = step.history.filter(({ startedAt }) => startedAt).sort((a, b) => a.attempt - b.attempt);
        if (attempts.length === 0) {
            const kind = step.kind === 'wait' || step.kind === 'approval' || (step.status === 'waiting' && step.attempts === 0) ? 'backoff' : isComposite(step) ? 'composite' : 'attempt';
            if (step.startedAt) found.push([`${kind} ${step.status}`, start, end, `${step.status}, ${duration(end - start)}`]);
            return found;
        }
        attempts.forEach((attempt, index) => {
            const begin = Date.parse(attempt.startedAt);
            const finish = attempt.completedAt ? Date.parse(attempt.completedAt) : end;
            const status = attempt.failed ? 'failed' : attempt.completedAt ? 'completed' : step.status === 'running' ? 'running' : step.status;
            found.push([`attempt ${status}`, begin, finish, `attempt ${attempt.attempt}, ${duration(finish - begin)}`]);
            const next = attempts[index + 1];
            const waits = next ? Date.parse(next.startedAt) : step.status === 'waiting' ? end : null;
            if (waits !== null) found.push(['backoff', finish, waits, `backoff, ${duration(waits - finish)}`]);
        });
        return found;
    }

    async function readTimes() {
        const graph = await get(execution(context.id, 'graph')).catch(() => ({ edges: [] }));
        if (isClosed) return;
        ({ edges } = graph);
        findCritical();
        const { state: now } = context.watch;
        if (!now || now.sequence > LONGEST_JOURNAL) return;
        let since = 1;
        for (let more = true; more && !isClosed; ) {
            const page = await get(execution(context.id, 'journal') + query({ types: TIMES, since, limit: 1000 })).catch(() => null);
            if (!page || isClosed) return;
            recall(context.watch.state, page.entries);
            more = page.pagination.hasMore;
            since = (page.entries.at(-1)?.sequence ?? 0) + 1;
            drawnFrom = '';
            draw(context.watch.state);
        }
    }

    const begin = () => {
        begun = true;
        readTimes();
    };
    let begun = false;
    const clock = setInterval(() => {
        if (state && !document.hidden && !isTerminal(state.execution.status)) draw(state);
    }, 1000);

    return {
        update: () => context.watch.state && draw(context.watch.state),
        draw(next) {
            if (!begun) begin();
            draw(next);
        },
        key: (name) => (name === 'next' || name === 'previous') && rows.move(name === 'next' ? 1 : -1),
        dispose() {
            isClosed = true;
            clearInterval(clock);
            findCritical.stop();
            rows.dispose();
        },
    };
}

const startOf = (step) => Date.parse(step.startedAt ?? step.readyAt);

const isComposite = ({ kind }) => ['parallel', 'branch', 'map', 'loop', 'workflow'].includes(kind);

/** Times of one form are compared as they are; what began at once stays in the order of paths. */
function byStart(a, b) {
    const [left, right] = [a.startedAt ?? a.readyAt, b.startedAt ?? b.readyAt];
    return left === right ? 0 : left < right ? -1 : 1;
}
