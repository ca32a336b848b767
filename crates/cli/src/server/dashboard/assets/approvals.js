// What waits for a person, oldest first.

import { execution, get, post } from './api.js';
import { confirm } from './dialog.js';
import { announce, h, replace, setText } from './dom.js';
import { relative, shortId, time } from './format.js';
import { formOf } from './form_fields.js';
import { atMostEvery } from './frame.js';
import { complain, notice } from './notice.js';
import { build } from './route.js';
import { Stream } from './stream.js';
import { quoted } from './step_panel.js';
import { copyButton } from './clipboard.js';

const LEAST_BETWEEN_READS = 500;
const NAME = 'orchestr8.name';
const TIME_OUT = { reject: 'is rejected', fail: 'fails', approve: 'is approved' };

export function mount(root, page) {
    const items = new Map();
    let isClosed = false;
    const list = h('div', { class: 'approvals' });
    const empty = h('div', { class: 'empty' });
    const rest = h('p', { class: 'dim center' });
    root.append(h('h1', {}, 'Approvals'), list, empty, rest);

    async function read() {
        try {
            const body = await get('v1/approvals?limit=100');
            if (isClosed) return;
            show(body);
        } catch (error) {
            if (!isClosed && !error.isUnreachable) complain(error);
        }
        page.refreshApprovals();
    }

    function show({ approvals, hasMore }) {
        const open = new Set(approvals.map(keyOf));
        for (const [key, item] of items) {
            if (open.has(key)) continue;
            const hadFocus = item.element.contains(document.activeElement);
            item.element.remove();
            items.delete(key);
            if (hadFocus) (list.querySelector('h2 a') ?? document.getElementById('main')).focus();
        }
        let arrived = 0;
        approvals.forEach((approval, index) => {
            const key = keyOf(approval);
            if (items.has(key)) return;
            const item = itemOf(approval, read);
            items.set(key, item);
            // Where the order says: what somebody is writing elsewhere stays as it is.
            list.insertBefore(item.element, list.children[index] ?? null);
            arrived += 1;
        });
        if (arrived > 0) announce(`${items.size} approvals wait`);
        replace(empty, items.size === 0 && [h('h2', {}, 'Nothing waits for you'), h('p', {}, 'Approvals of running executions appear here by themselves.')]);
        setText(rest, hasMore ? 'The 100 oldest are shown; more follow as these are answered.' : '');
    }

    const refresh = atMostEvery(LEAST_BETWEEN_READS, read);
    const stream = new Stream('v1/events', null, { onEvent: ({ event }) => {
        if (/^(approval|execution)\.|^step\.(completed|failed|cancelled)|^events\.dropped/.test(event)) refresh();
    }, onState: (state) => {
        page.connection(state);
        // What happened between the inbox and the first event is in neither.
        if (state === 'live') refresh();
    }, onPoll: refresh });
    const clock = setInterval(() => !document.hidden && items.forEach((item) => item.tick()), 5000);
    read();

    return {
        update() {},
        key(name) {
            if (name !== 'next' && name !== 'previous') return false;
            const links = [...list.querySelectorAll('h2 a')];
            const at = links.findIndex((link) => link.closest('article').contains(document.activeElement));
            links[Math.max(0, Math.min(links.length - 1, at + (name === 'next' ? 1 : -1)))]?.focus();
            return links.length > 0;
        },
        dispose() {
            isClosed = true;
            stream.close();
            refresh.stop();
            clearInterval(clock);
        },
    };
}

const keyOf = ({ executionId, stepPath }) => `${executionId} ${stepPath}`;

function itemOf(approval, reread) {
    const { executionId, stepPath, prompt, schema, requestedAt, expiresAt, onTimeout, workflow } = approval;
    const left = h('span', {});
    const answer = schema === undefined ? null : formOf(schema);
    const comment = h('textarea', { rows: 2, maxlength: 4000 });
    const by = h('input', { maxlength: 255, autocomplete: 'name' });
    by.value = localStorage.getItem(NAME) ?? '';
    const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
    const href = build({ view: 'execution', execution: executionId, step: stepPath });

    function tick() {
        const isOver = expiresAt && Date.parse(expiresAt) < Date.now();
        setText(left, expiresAt ? `${isOver ? 'expired' : 'expires'} ${relative(expiresAt)}${onTimeout ? `, then ${TIME_OUT[onTimeout] ?? onTimeout}` : ''}` : 'no time limit');
    }

    async function send(decision) {
        problem.hidden = true;
        try {
            const body = { decision, comment: comment.value.trim() || undefined, by: by.value.trim() || undefined };
            if (decision === 'approve' && answer) body.answer = answer.value();
            localStorage.setItem(NAME, by.value.trim());
            await post(execution(executionId, 'approvals', stepPath), body);
            notice(decision === 'approve' ? 'Approved' : 'Rejected');
        } catch (error) {
            if (error.status === 409 || error.status === 404) complain(error);
            else {
                problem.hidden = false;
                replace(problem, [error.message, ...(error.issues ?? []).map(({ path, message }) => [path, message].filter(Boolean).join(': '))].join(' · '));
                return;
            }
        }
        await reread();
    }

    async function reject() {
        if (await confirm('Reject?', { text: 'The step fails with DENIED. What comes behind it does not run unless the workflow says so.', action: 'Reject', isDanger: true })) await send('reject');
    }

    const element = h('article', { class: 'approval' },
        h('h2', {}, h('a', { href }, h('bdi', {}, workflow.name || workflow.id)), ' ', h('span', { class: 'mono dim' }, h('bdi', {}, stepPath))),
        h('p', { class: 'dim' }, `${shortId(executionId)} · asked ${time(requestedAt)} · `, left),
        h('p', { class: 'prompt' }, h('bdi', {}, prompt)),
        h('form', { class: 'stack', onsubmit: (event) => {
            event.preventDefault();
            send('approve');
        } },
        answer?.element,
        h('div', { class: 'pair' }, h('label', { class: 'field' }, h('span', {}, 'Comment ', h('span', { class: 'dim' }, 'optional')), comment),
            h('label', { class: 'field' }, h('span', {}, 'Your name ', h('span', { class: 'dim' }, 'optional')), by)),
        problem,
        h('div', { class: 'row' }, h('button', { class: 'primary' }, 'Approve'), h('button', { type: 'button', onclick: reject }, 'Reject…'),
            copyButton('Copy command', () => `orchestr8 approve ${executionId} ${quoted(stepPath)}`, { type: 'button' }))));
    tick();
    return { element, tick };
}
