// One execution: its state in a few lines, then its graph, timeline, steps or journal, and beside them the step that is selected.

import { actions } from './actions.js';
import { copyButton } from './clipboard.js';
import { announce, h, replace, setText } from './dom.js';
import { progressBar } from './executions.js';
import { duration, money, number, plural, relative, shortId, time } from './format.js';
import { frame } from './frame.js';
import * as graph from './graph.js';
import * as journal from './journal.js';
import { jsonView } from './json_view.js';
import { complain } from './notice.js';
import { TABS, build } from './route.js';
import { badge, isTerminal } from './status.js';
import { stepPanel } from './step_panel.js';
import * as steps from './steps.js';
import * as timeline from './timeline.js';
import { Watch } from './watch.js';

const VIEWS = { graph, timeline, steps, journal };
const NAMES = { graph: 'Graph', timeline: 'Timeline', steps: 'Steps', journal: 'Journal' };
const ERRORS_SHOWN = 5;

export function mount(root, page) {
    let route = page.route;
    let tab = null;
    let tabView = null;
    let panel = null;
    let announced = null;

    const head = h('header', { class: 'head' });
    const errors = h('div', { class: 'errors' });
    const tabs = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Views of the execution' });
    const content = h('div', { class: 'content', role: 'tabpanel', id: 'tabpanel' });
    const aside = h('aside', { class: 'panel', 'aria-label': 'Step', hidden: true });
    root.append(head, errors, tabs, h('div', { class: 'split' }, content, aside));

    const watch = new Watch(route.execution, {
        onChange: () => draw(),
        onEntry: (entry) => {
            tabView?.entry?.(entry);
            if (entry.type.startsWith('approval.')) page.refreshApprovals();
            if (panel && entry.stepPath === route.step) panel.refresh();
        },
        onProgress: () => draw(),
        onState: page.connection,
        onError: complain,
    });
    const context = {
        get route() {
            return route;
        },
        watch,
        id: route.execution,
        go: page.go,
        select: (path) => page.go({ ...route, step: path === route.step ? undefined : path }, { isSmall: Boolean(route.step) }),
        hrefOf: (path) => build({ ...route, step: path }),
        reload: () => watch.reload(),
    };
    const parts = headParts(context);
    head.append(...parts.elements);
    for (const name of TABS) {
        tabs.append(h('a', { role: 'tab', id: `tab-${name}`, 'data-tab': name, 'aria-controls': 'tabpanel', href: '' }, NAMES[name]));
    }
    tabs.addEventListener('keydown', ({ key }) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (!by) return;
        const next = TABS[(TABS.indexOf(route.tab) + by + TABS.length) % TABS.length];
        page.go({ ...route, tab: next });
        tabs.querySelector(`[data-tab="${next}"]`).focus();
    });

    const draw = frame(() => {
        const { state } = watch;
        if (!state) return;
        const { execution } = state;
        page.title(execution.workflow.name);
        parts.draw(execution);
        drawErrors(errors, execution, context);
        if (execution.status !== announced) {
            if (announced) announce(`The execution is ${execution.status}`);
            announced = execution.status;
        }
        tabView?.draw(state);
        panel?.live(state.steps.get(panel.path)?.live);
    });

    function showTab() {
        for (const link of tabs.children) {
            const isHere = link.dataset.tab === route.tab;
            link.setAttribute('aria-selected', String(isHere));
            link.tabIndex = isHere ? 0 : -1;
            link.href = build({ view: 'execution', execution: route.execution, tab: link.dataset.tab, step: route.step });
        }
        content.setAttribute('aria-labelledby', `tab-${route.tab}`);
        if (tab === route.tab) {
            tabView.update?.(route);
        } else {
            tabView?.dispose();
            replace(content);
            tab = route.tab;
            tabView = VIEWS[tab].mount(content, context);
        }
        draw();
    }

    function showPanel() {
        aside.hidden = !route.step;
        if (panel?.path === route.step) return;
        panel?.dispose();
        panel = route.step ? stepPanel(aside, route.step, context) : null;
    }

    showTab();
    showPanel();
    watch.start().catch((error) => {
        if (error.status === 401) return;
        page.connection('ended');
        const text = error.status === 404 ? 'There is no such execution. It may have been removed after its time.' : error.message;
        replace(root, h('div', { class: 'empty' }, h('h1', {}, 'Not found'), h('p', {}, text), h('p', {}, h('a', { href: './' }, 'All executions'))));
    });

    return {
        update(next) {
            route = next;
            showTab();
            showPanel();
        },
        key(name) {
            if (name.startsWith('tab ')) page.go({ ...route, tab: TABS[Number(name.slice(4)) - 1] });
            else if (name === 'close' && route.step) page.go({ ...route, step: undefined }, { isSmall: true });
            else return tabView?.key?.(name) ?? false;
            return true;
        },
        dispose() {
            watch.close();
            draw.stop();
            tabView?.dispose();
            panel?.dispose();
        },
    };
}

/** What stands above the tabs, and how it is kept true. */
function headParts(context) {
    const title = h('h1', {});
    const status = h('span', { class: 'row' });
    const bar = h('span', { class: 'row grow' });
    const buttons = actions(context);
    const facts = h('dl', { class: 'facts' });
    const outputs = h('div', {});
    let drawn = '';
    let outputsOf = null;
    const clock = setInterval(() => last && !document.hidden && drawFacts(last), 1000);
    let last = null;

    function drawFacts(execution) {
        if (!facts.isConnected) return clearInterval(clock);
        const text = factsOf(execution);
        const key = JSON.stringify(text.map(([name, value]) => [name, value instanceof Node ? value.textContent : value]));
        if (key === drawn) return undefined;
        drawn = key;
        replace(facts, text.map(([name, value, title]) => h('div', {}, h('dt', {}, name), h('dd', { title }, value))));
        return undefined;
    }

    function draw(execution) {
        last = execution;
        setText(title, execution.workflow.name || execution.workflow.id);
        const waits = execution.waitingFor?.[0];
        const extra = execution.compensation !== 'none' ? `compensation ${execution.compensation}`
            : !isTerminal(execution.status) && waits && execution.progress.running > 0 ? `waits for ${waits.kind}` : '';
        if (status.dataset.key !== execution.status + extra) {
            status.dataset.key = execution.status + extra;
            replace(status, badge(execution.status, extra));
        }
        replace(bar, progressBar(execution.progress));
        buttons.draw(execution);
        drawFacts(execution);
        if (execution.outputs !== outputsOf && execution.outputs !== undefined) {
            outputsOf = execution.outputs;
            replace(outputs, h('details', { class: 'outputs' }, h('summary', {}, 'Outputs'), jsonView('Outputs', execution.outputs)));
        }
    }

    const factsOf = (execution) => {
        const { progress, usage, budget, forkedFrom } = execution;
        const ended = progress.completed + progress.failed + progress.skipped + progress.cancelled;
        const until = execution.completedAt ? Date.parse(execution.completedAt) : Date.now();
        const took = execution.duration ?? (execution.startedAt ? until - Date.parse(execution.startedAt) : null);
        const tokens = usage && usage.inputTokens + usage.outputTokens;
        return [
            ['Id', h('span', { class: 'mono' }, shortId(execution.executionId)), execution.executionId],
            ['Started', time(execution.startedAt) || 'not yet', execution.startedAt],
            ['Duration', duration(took)],
            ['Steps', `${number(ended)} of ${number(progress.total)}`],
            progress.failed > 0 && ['Failed', h('span', { class: 'bad' }, number(progress.failed))],
            execution.workflow.version && ['Version', execution.workflow.version],
            tokens > 0 && ['Tokens', number(tokens)],
            usage?.costUsd > 0 && ['Cost', money(usage.costUsd)],
            usage?.modelCalls > 0 && ['Calls', `${plural(usage.modelCalls, 'model call')}, ${plural(usage.toolCalls ?? 0, 'tool call')}`],
            ...Object.entries(budget ?? {}).map(([name, { limit, spent, reserved }]) =>
                [`Budget ${name}`, `${number(spent)} of ${number(limit)}${reserved > 0 ? `, ${number(reserved)} reserved` : ''}`]),
            waitsUntil(execution),
            ['Correlation', h('span', { class: 'mono' }, h('bdi', {}, execution.correlationId)), execution.correlationId],
            forkedFrom && ['Forked from', h('a', { class: 'mono', href: build({ view: 'execution', execution: forkedFrom.executionId }) },
                `${shortId(forkedFrom.executionId)} at ${forkedFrom.sequence}`)],
        ].filter(Boolean);
    };

    const copyId = copyButton('Copy id', () => context.id);
    return { elements: [h('div', { class: 'row head-line' }, title, status, bar, copyId, buttons.element), facts, outputs], draw };
}

function waitsUntil({ waitingFor, status }) {
    const first = isTerminal(status) ? null : waitingFor?.find(({ until }) => until && Date.parse(until) > Date.now());
    return first && ['Goes on', relative(first.until), first.until];
}

function drawErrors(element, execution, context) {
    // A failure is told once, however many scopes it went through.
    const seen = new Set();
    const failures = (execution.errors ?? []).filter((failure) => {
        const key = `${failure.code} ${failure.stepPath} ${failure.message}`;
        return !seen.has(key) && seen.add(key);
    });
    const key = failures.map(({ code, stepPath, message }) => `${code}${stepPath}${message}`).join('\n');
    if (element.dataset.key === key) return;
    element.dataset.key = key;
    const shown = failures.slice(0, ERRORS_SHOWN).map((failure) => h('li', {},
        h('code', { class: 'bad' }, failure.code), ' ',
        failure.stepPath && [h('a', { class: 'mono', href: context.hrefOf(failure.stepPath) }, failure.stepPath), ' '],
        h('bdi', {}, failure.message)));
    const rest = failures.length - shown.length;
    replace(element, failures.length > 0 && h('section', { 'aria-label': 'Errors' }, h('ul', {}, shown), rest > 0 && h('p', { class: 'dim' }, `and ${rest} more`)));
}
