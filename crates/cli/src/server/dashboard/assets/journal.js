// The journal as it grows. All of it is one list by sequence of which a part is kept; with a filter, the entries that the server finds.

import { execution, get, query } from './api.js';
import { tell } from './dialog.js';
import { h, setText } from './dom.js';
import { number, time } from './format.js';
import { frame } from './frame.js';
import { jsonView } from './json_view.js';
import { complain } from './notice.js';
import { VirtualRows } from './virtual_rows.js';

const KEPT = 1000;
const AT_ONCE = 200;
const LEVELS = ['debug', 'info', 'warn', 'error'];
const TYPES = ['execution.started', 'execution.failed', 'step.scheduled', 'step.started', 'step.waiting', 'step.completed', 'step.failed', 'step.skipped',
    'step.cancelled', 'attempt.started', 'attempt.finished', 'retry.scheduled', 'timeout.exceeded', 'circuit.opened', 'approval.requested',
    'approval.answered', 'signal.received', 'hook.finished', 'budget.exceeded', 'compensation.started', 'compensation.finished', 'model.called', 'tool.called', 'log.entry'];

export function mount(root, context) {
    let source = null;
    let follows = true;
    let lastTop = 0;
    let isClosed = false;

    const level = h('select', { 'aria-label': 'Least level', onchange: () => go({ level: level.value }) },
        LEVELS.map((name) => h('option', { value: name === 'debug' ? '' : name }, name === 'debug' ? 'Every level' : `${name} and up`)));
    const type = h('input', { type: 'search', list: 'types', placeholder: 'Types', 'aria-label': 'Types, with commas between', autocomplete: 'off', spellcheck: 'false', onchange: () => go({ type: type.value.trim() }) });
    const within = h('input', { type: 'search', id: 'search', placeholder: 'Step path', 'aria-label': 'Step path', autocomplete: 'off', spellcheck: 'false', onchange: () => go({ within: within.value.trim() }) });
    const following = h('input', { type: 'checkbox', onchange: () => {
        follows = following.checked;
        draw();
    } });
    const count = h('span', { class: 'dim' });
    const table = h('table', { class: 'list journal' }, h('caption', { class: 'hidden' }, 'Journal'),
        h('thead', {}, h('tr', {}, [['#', 'number'], ['Time', 'medium'], ['Level', ''], ['Type', ''], ['Step', 'wide'], ['Message', '']].map(([name, style]) => h('th', { scope: 'col', class: style }, name)))),
        h('tbody'));
    const more = h('button', { hidden: true, onclick: () => source.later() }, 'Later entries');
    const scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': 'Journal', tabindex: 0, onscroll: () => {
        // Only a reader scrolls up; what is drawn at the end goes down.
        if (rows.isAtEnd) follows = !source?.hasMore;
        else if (scroller.scrollTop < lastTop) follows = false;
        lastTop = scroller.scrollTop;
        following.checked = follows;
    } }, table, h('div', { class: 'row center' }, more));
    root.append(h('div', { class: 'bar' }, level, type, h('datalist', { id: 'types' }, TYPES.map((name) => h('option', { value: name }))), within,
        h('label', { class: 'check' }, following, 'Follow'), count), scroller);
    const rows = new VirtualRows({ scroller, table, height: 28, render: (index) => row(source.at(index), index), onDrawn: () => need() });
    // Of a frame in which the list is drawn and then scrolled, only what is in sight at its end is read.
    const need = frame(() => source?.need(...rows.range));

    const go = (change) => context.go({ ...context.route, ...change }, { isSmall: true });

    const draw = frame(() => {
        if (!source) return;
        rows.set(source.count);
        if (follows) rows.scrollToEnd();
        following.checked = follows;
        more.hidden = !source.hasMore;
        setText(count, source.label);
    });

    /** Every entry, by sequence; those around what is in sight are kept. */
    function whole() {
        const entries = new Map();
        const missing = new Set();
        let isReading = false;
        const keep = (entry) => {
            entries.set(entry.sequence, entry);
            if (entries.size <= KEPT) return;
            const [first, last] = rows.range;
            const middle = (first + last) / 2;
            const [lowest, highest] = [Math.min(...entries.keys()), Math.max(...entries.keys())];
            entries.delete(middle - lowest > highest - middle ? lowest : highest);
        };
        context.watch.recent.forEach(keep);
        const self = {
            get count() {
                return context.watch.state?.sequence ?? 0;
            },
            get label() {
                return number(self.count);
            },
            hasMore: false,
            at: (index) => entries.get(index + 1),
            take: keep,
            async need(first, last) {
                const absent = [];
                for (let sequence = first + 1; sequence <= last; sequence += 1) {
                    if (!entries.has(sequence) && !missing.has(sequence)) absent.push(sequence);
                }
                if (isReading || absent.length === 0) return;
                isReading = true;
                try {
                    const page = await get(execution(context.id, 'journal') + query({ since: absent[0], limit: AT_ONCE }));
                    if (isClosed) return;
                    page.entries.forEach(keep);
                    const upTo = page.entries.at(-1)?.sequence ?? absent.at(-1);
                    absent.filter((sequence) => sequence <= upTo && !entries.has(sequence)).forEach((sequence) => missing.add(sequence));
                } catch (error) {
                    if (!error.isUnreachable) complain(error);
                    return;
                } finally {
                    isReading = false;
                }
                draw();
            },
        };
        return self;
    }

    /** The entries that a filter lets through, at most a thousand at a time. */
    function filtered({ level: least, type: types, within: stepPath }) {
        const wanted = types?.split(',').map((name) => name.trim());
        const isWanted = (entry) => LEVELS.indexOf(entry.level) >= LEVELS.indexOf(least ?? 'debug')
            && (!wanted || wanted.includes(entry.type)) && (!stepPath || entry.stepPath === stepPath);
        let entries = [];
        const self = {
            get count() {
                return entries.length;
            },
            get label() {
                return `${number(entries.length)}${self.hasMore ? '+' : ''} found`;
            },
            hasMore: false,
            at: (index) => entries[index],
            take(entry) {
                if (self.hasMore || !isWanted(entry) || entry.sequence <= (entries.at(-1)?.sequence ?? 0)) return;
                entries.push(entry);
                if (entries.length > KEPT) entries.shift();
            },
            need() {},
            async read(since) {
                try {
                    const page = await get(execution(context.id, 'journal') + query({ level: least, types, stepPath, since, limit: KEPT }));
                    if (isClosed || source !== self) return;
                    entries = page.entries;
                    self.hasMore = page.pagination.hasMore;
                    if (self.hasMore) follows = false;
                    draw();
                } catch (error) {
                    complain(error);
                }
            },
            later() {
                scroller.scrollTop = 0;
                self.read((entries.at(-1)?.sequence ?? 0) + 1);
            },
        };
        self.read(1);
        return self;
    }

    let filter = null;
    function update() {
        const { route } = context;
        level.value = route.level ?? '';
        if (document.activeElement !== type) type.value = route.type ?? '';
        if (document.activeElement !== within) within.value = route.within ?? '';
        const next = JSON.stringify([route.level, route.type, route.within]);
        if (next === filter) return;
        filter = next;
        source = route.level || route.type || route.within ? filtered(route) : whole();
        draw();
    }

    function row(entry, index) {
        if (!entry) return h('tr', {}, h('td', { class: 'number dim' }, source.hasMore ? '' : index + 1), h('td', { colspan: 5, class: 'dim' }, '…'));
        return h('tr', { 'data-level': entry.level },
            h('td', { class: 'number dim' }, entry.sequence),
            h('td', { class: 'medium mono', title: entry.timestamp }, time(entry.timestamp, { isExact: true })),
            h('td', { class: 'level' }, entry.level),
            h('th', { scope: 'row', class: 'name clip' }, h('button', { class: 'link mono', onclick: () => tell(`${entry.sequence} · ${entry.type}`, jsonView('Entry', entry)) }, entry.type)),
            h('td', { class: 'wide mono clip' }, entry.stepPath && h('a', { href: context.hrefOf(entry.stepPath) }, h('bdi', {}, entry.stepPath))),
            h('td', { class: 'message clip' }, h('bdi', {}, entry.message)));
    }

    update();
    return {
        update,
        draw: () => draw(),
        entry: (entry) => source?.take(entry),
        key(name) {
            if (name === 'search') within.focus();
            else if (name === 'next' || name === 'previous') {
                follows = false;
                return rows.move(name === 'next' ? 1 : -1);
            } else return false;
            return true;
        },
        dispose() {
            isClosed = true;
            draw.stop();
            need.stop();
            rows.dispose();
        },
    };
}
