// One step in full: what went in, what came out, how often it was tried, and why it is as it is.

import { forkFrom } from './actions.js';
import { execution, get } from './api.js';
import { copyButton } from './clipboard.js';
import { h, replace, setText } from './dom.js';
import { bytes, duration, money, number, plural, time } from './format.js';
import { atMostEvery } from './frame.js';
import { jsonView } from './json_view.js';
import { badge } from './status.js';

const LEAST_BETWEEN_READS = 1000;

export function stepPanel(root, path, context) {
    let isClosed = false;
    let shown = null;
    const body = h('div', { class: 'panel-body' }, h('p', { class: 'dim' }, 'Reading…'));
    const bar = h('progress', { max: 1, 'aria-label': 'Progress of the attempt' });
    const message = h('p', {});
    const written = h('pre', { class: 'written', tabindex: 0, 'aria-label': 'What the model has written' });
    const now = h('div', { class: 'live', hidden: true }, bar, message, written);
    const close = h('button', { class: 'quiet', 'aria-label': 'Close the step', onclick: () => context.select(path) }, '✕');
    replace(root, h('div', { class: 'row panel-head' }, h('h2', { class: 'mono' }, h('bdi', {}, path)), close), now, body);

    async function read() {
        try {
            const [detail, why] = await Promise.all([get(execution(context.id, 'steps', path)), get(execution(context.id, 'steps', path, 'why')).catch(() => null)]);
            if (isClosed) return;
            const text = JSON.stringify([detail, why]);
            // What is unfolded stays so, unless there is news.
            if (text === shown) return;
            shown = text;
            const { scrollTop } = root;
            replace(body, content(detail, why, context));
            root.scrollTop = scrollTop;
        } catch (error) {
            if (isClosed) return;
            replace(body, h('p', { class: 'note' }, error.status === 404 ? 'This step has not been reached, or there is no such step.' : error.message));
        }
    }

    const refresh = atMostEvery(LEAST_BETWEEN_READS, read);
    read();
    return {
        path,
        refresh,
        /** Shows how far the attempt has come, and what its model writes; nothing if nobody tells. */
        live(told) {
            now.hidden = !told;
            if (!told) return;
            bar.hidden = told.fraction === undefined;
            bar.value = told.fraction ?? 0;
            setText(message, told.message ?? '');
            written.hidden = !told.text;
            const isAtEnd = written.scrollTop + written.clientHeight >= written.scrollHeight - 4;
            setText(written, told.text);
            if (isAtEnd) written.scrollTop = written.scrollHeight;
        },
        dispose() {
            isClosed = true;
            refresh.stop();
            replace(root);
        },
    };
}

function content(step, why, context) {
    const facts = [
        step.name && step.name !== step.stepId && ['Name', h('bdi', {}, step.name)],
        ['Kind', step.kind],
        step.agentId && ['Agent', h('span', { class: 'mono' }, step.agentId)],
        step.tool && ['Tool', h('span', { class: 'mono' }, step.tool)],
        step.startedAt && ['Started', time(step.startedAt)],
        step.duration !== undefined && ['Duration', duration(step.duration)],
        step.attempts > 0 && ['Attempts', number(step.attempts)],
        step.visit > 0 && ['Visit', number(step.visit)],
        step.case && ['Case', step.case],
        step.skipReason && ['Skipped', step.skipReason],
        step.recoveredBy && ['Recovered by', step.recoveredBy],
        step.aliasFor && ['Stands in for', step.aliasFor],
        step.reused && ['Result', 'taken over from the execution it was forked from'],
        step.compensation && ['Compensation', `${step.compensation.status}, ${plural(step.compensation.attempts, 'attempt')}`],
        step.usage && ['Tokens', `${number(step.usage.inputTokens)} in, ${number(step.usage.outputTokens)} out`],
        step.usage?.costUsd > 0 && ['Cost', money(step.usage.costUsd)],
    ].filter(Boolean);
    const asks = step.status === 'waiting' && step.waitingFor === 'approval';
    return [
        h('div', { class: 'stack tight' }, badge(step.status, step.waitingFor),
            h('span', { class: 'row flush' },
                copyButton('Copy path', () => step.stepPath),
                copyButton('Copy command', () => `orchestr8 why ${context.id} ${quoted(step.stepPath)}`),
                h('button', { class: 'quiet', onclick: () => forkFrom(context, step.stepPath) }, 'Fork from here…'))),
        asks && h('p', { class: 'note' }, 'It waits for an answer: ', h('a', { href: './?view=approvals' }, 'to the approvals')),
        h('dl', { class: 'facts' }, facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))),
        step.error && failure(step.error),
        why?.causes?.length > 0 && reasons(why, context),
        step.resilience?.length > 1 && attempts(step.resilience),
        calls('Model calls', step.modelCalls, ({ model, provider, turn, usage, costUsd, duration: ms, error }) =>
            [model ?? provider, turn, usage && number(usage.inputTokens), usage && number(usage.outputTokens), costUsd ? money(costUsd) : '', duration(ms), error?.code ?? ''],
        ['Model', 'Turn', 'In', 'Out', 'Cost', 'Duration', 'Failure']),
        calls('Tool calls', step.toolCalls, ({ tool, turn, duration: ms, error }) => [tool, turn, duration(ms), error?.code ?? ''], ['Tool', 'Turn', 'Duration', 'Failure']),
        step.truncated && h('p', { class: 'note' }, `Cut for display${step.originalSize ? ` from ${bytes(step.originalSize)}` : ''}; the engine keeps it whole.`),
        step.input !== undefined && jsonView('Input', step.input, `${step.stepPath}.input.json`),
        step.output !== undefined && jsonView('Output', step.output, `${step.stepPath}.output.json`),
    ];
}

function failure(error) {
    return h('section', { class: 'failure' }, h('h3', {}, 'Error'),
        h('p', {}, h('code', { class: 'bad' }, error.code), ' ', h('bdi', {}, error.message)),
        h('p', { class: 'dim' }, [error.isRetryable ? 'retryable' : 'not retryable', error.retryExhausted && 'no attempts left',
            error.retryAfterMs && `told to wait ${duration(error.retryAfterMs)}`].filter(Boolean).join(', ')),
        error.cause && jsonView('Cause', error.cause),
        error.context && jsonView('Context', error.context));
}

function reasons(why, context) {
    return h('section', {}, h('h3', {}, 'Why'), h('ul', { class: 'why' }, why.causes.map(({ depth, text, ref, sequence }) => {
        const item = h('li', {}, h('bdi', {}, text), ref && [' ', h('a', { class: 'mono', href: context.hrefOf(ref) }, ref)], sequence && h('span', { class: 'dim' }, ` #${sequence}`));
        item.style.marginInlineStart = `${Math.min(depth ?? 0, 6) * 14}px`;
        return item;
    })));
}

function attempts(records) {
    return h('section', {}, h('h3', {}, 'Attempts'), h('table', { class: 'small' },
        h('thead', {}, h('tr', {}, ['#', 'Started', 'Took', 'Then waited', 'Failure'].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, records.map(({ attempt, startedAt, completedAt, error, delayMs }) => h('tr', {},
            h('th', { scope: 'row' }, attempt), h('td', {}, time(startedAt)),
            h('td', {}, completedAt ? duration(Date.parse(completedAt) - Date.parse(startedAt)) : 'runs'),
            h('td', {}, duration(delayMs)),
            h('td', { title: error?.message }, error ? h('code', { class: 'bad' }, error.code) : ''))))));
}

function calls(title, records, cells, names) {
    if (!records?.length) return null;
    return h('section', {}, h('h3', {}, title), h('table', { class: 'small' },
        h('thead', {}, h('tr', {}, names.map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, records.map((record) => h('tr', {}, cells(record).map((cell) => h('td', {}, cell ?? '')))))));
}

/** A word as a shell takes it. */
export function quoted(text) {
    return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
