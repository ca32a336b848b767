// What can be done to an execution. What ends something asks first; what the state does not allow reloads.

import { execution, get, post, query } from './api.js';
import { copyButton, save } from './clipboard.js';
import { confirm, tell } from './dialog.js';
import { h, replace } from './dom.js';
import { plural, shortId } from './format.js';
import { complain, notice } from './notice.js';
import { build } from './route.js';
import { isTerminal } from './status.js';

const LISTED = 20;

/** The buttons of an execution; `draw` shows those that its state allows. */
export function actions(context) {
    const element = h('span', { class: 'row actions' });
    let drawn = null;

    function draw({ status, compensation }) {
        const key = `${status} ${compensation}`;
        if (key === drawn) return;
        drawn = key;
        const button = (name, act, properties) => h('button', { onclick: act, ...properties }, name);
        const canResume = status === 'paused' || (status === 'failed' && compensation === 'none');
        const canPause = status === 'running' || status === 'queued';
        const canCancel = !isTerminal(status) && status !== 'cancelling';
        const menu = h('details', { class: 'menu' }, h('summary', {}, 'More'), h('div', {},
            button('Fork…', () => forkFrom(context, null)),
            !isTerminal(status) && button('Signal…', () => signal(context)),
            copyButton('Copy command', () => `orchestr8 status ${context.id}`, { class: null }),
            button('Download journal', () => download(context))));
        menu.addEventListener('click', ({ target }) => {
            if (target.closest('button')) menu.open = false;
        });
        menu.addEventListener('focusout', ({ relatedTarget }) => {
            if (relatedTarget && !menu.contains(relatedTarget)) menu.open = false;
        });
        replace(element,
            canPause && button('Pause', () => pause(context)),
            canResume && button(status === 'failed' ? 'Retry failed steps…' : 'Resume', () => resume(context, status)),
            canCancel && button('Cancel…', () => cancel(context)),
            menu);
    }

    return { element, draw };
}

async function attempt(context, act) {
    try {
        return await act();
    } catch (error) {
        complain(error);
        if (error.status === 409 || error.status === 412) await context.reload();
        return null;
    }
}

function pause(context) {
    return attempt(context, async () => {
        await post(execution(context.id, 'pause'));
        await context.reload();
    });
}

async function cancel(context) {
    const answer = await confirm('Cancel this execution?', {
        text: 'Running steps are told to stop, and what was done is compensated where the workflow says how.',
        fields: [{ name: 'reason', label: 'Reason (optional)' }], action: 'Cancel the execution', isDanger: true, back: 'Let it run',
    });
    if (!answer) return;
    await attempt(context, async () => {
        await post(execution(context.id, 'cancel'), answer.reason ? { reason: answer.reason } : {});
        await context.reload();
    });
}

async function resume(context, status) {
    if (status === 'failed') {
        const again = [...context.watch.state.steps.values()].filter(({ status: of }) => of !== 'completed').map(({ stepPath }) => stepPath);
        const names = again.slice(0, LISTED).join(', ') + (again.length > LISTED ? ` and ${again.length - LISTED} more` : '');
        const answer = await confirm('Retry failed steps?', { text: `What completed is kept. These run again, as far as they are reached: ${names}.`, action: 'Retry' });
        if (!answer) return;
    }
    await attempt(context, async () => {
        const { reused, rerun } = await post(execution(context.id, 'resume'));
        await context.reload();
        notice(`Goes on: ${plural(reused, 'result')} kept, ${plural(rerun.length, 'step')} to run${rerun.length > 0 ? `: ${rerun.slice(0, 5).map(({ stepPath }) => stepPath).join(', ')}` : ''}`);
    });
}

/** Forks from a step, or as a whole: from where the execution stands. */
export async function forkFrom(context, stepPath) {
    const answer = await confirm(stepPath ? `Fork from ${stepPath}?` : 'Fork this execution?', {
        text: stepPath ? 'A new execution begins just before this step. Results of steps that had completed are reused where their input is the same.'
            : 'A new execution begins where this one stands: results of completed steps are reused where their input is the same.',
        fields: [{ name: 'input', label: 'Another input, as JSON (optional)', isLong: true }], action: 'Fork',
    });
    if (!answer) return;
    await attempt(context, async () => {
        const input = answer.input.trim() ? parsed(answer.input) : undefined;
        const from = stepPath ? { fromStep: stepPath } : { sequence: context.watch.state.sequence };
        const fork = await post(execution(context.id, 'fork'), { ...from, input });
        const href = build({ view: 'execution', execution: fork.executionId });
        await tell('Forked', h('p', {}, 'The new execution is ', h('a', { class: 'mono', href }, shortId(fork.executionId)), `. ${plural(fork.retained, 'result')} reused where the input is the same.`),
            fork.dropped?.length > 0 && h('ul', {}, fork.dropped.slice(0, LISTED).map(({ stepPath: path, because }) => h('li', {}, h('code', {}, path), ` ${because}`))));
    });
}

async function signal(context) {
    const awaited = await awaitedSignal(context).catch(() => null);
    const answer = await confirm('Signal this execution', { fields: [
        { name: 'name', label: 'Name', value: awaited ?? '', isRequired: true }, { name: 'stepPath', label: 'Only to the step (optional)' },
        { name: 'payload', label: 'Payload, as JSON (optional)', isLong: true }], action: 'Send' });
    if (!answer) return;
    await attempt(context, async () => {
        const payload = answer.payload.trim() ? parsed(answer.payload) : null;
        const { delivered } = await post(execution(context.id, 'signals', answer.name), { payload, stepPath: answer.stepPath || undefined });
        notice(delivered ? 'Delivered' : 'Kept until a step waits for it');
    });
}

/** The name that a step waits for: the journal tells it. */
async function awaitedSignal({ id }) {
    const { waitingFor } = await get(execution(id));
    const waits = waitingFor?.find(({ kind }) => kind === 'signal');
    if (!waits) return null;
    const { entries } = await get(execution(id, 'journal') + query({ types: 'step.waiting', stepPath: waits.stepPath, limit: 1000 }));
    return entries.at(-1)?.data?.signal;
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch (error) {
        throw new Error(`This is no JSON: ${error.message}`);
    }
}

function download(context) {
    return attempt(context, async () => {
        const parts = [];
        let since = 1;
        for (let more = true; more; ) {
            const page = await get(execution(context.id, 'journal') + query({ since, limit: 1000 }));
            parts.push(page.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
            more = page.pagination.hasMore;
            since = (page.entries.at(-1)?.sequence ?? 0) + 1;
        }
        save(`${context.id}.ndjson`, 'application/x-ndjson', parts);
    });
}
