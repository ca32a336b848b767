// The graph as the server draws it. What is taken over from the drawing are shapes and texts of known kinds, and nothing else.

import { execution, open, query } from './api.js';
import { h, replace } from './dom.js';
import { number } from './format.js';
import { atMostEvery } from './frame.js';
import { STEP_STATUSES, sign } from './status.js';
import { StepOrder } from './step_order.js';
import { placeOf } from './step_path.js';

const ELEMENTS = new Set(['svg', 'g', 'path', 'rect', 'circle', 'text', 'title']);
const ATTRIBUTES = new Set(['class', 'viewBox', 'width', 'height', 'x', 'y', 'rx', 'r', 'd', 'transform', 'data-path', 'data-kind', 'data-status',
    'data-from', 'data-to', 'aria-label']);
const LEAST_BETWEEN_DRAWINGS = 800;
const VISITS = 100;

export function mount(root, context) {
    let drawnFrom = null;
    let isClosed = false;
    let isReading = false;
    let opened = context.route.open;
    let visitsPage = 0;
    let places = new Map();
    const order = new StepOrder();

    const figure = h('div', { class: 'graph scroller', role: 'region', 'aria-label': 'Graph', tabindex: 0 });
    const legend = h('ul', { class: 'legend' }, ['pending', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled'].map((name) => h('li', { 'data-status': name }, sign(name), name)));
    const all = h('button', { class: 'quiet', onclick: () => setOpen(undefined) }, 'Open all');
    const none = h('button', { class: 'quiet', onclick: () => setOpen('-') }, 'Close all');
    const visits = h('section', { class: 'visits', 'aria-label': 'Visits', hidden: true });
    root.append(h('div', { class: 'bar' }, legend, h('span', { class: 'row end' }, all, none)), figure, visits);

    function setOpen(path) {
        context.go({ ...context.route, open: path }, { isSmall: true });
    }

    async function read() {
        if (isReading || isClosed) return;
        isReading = true;
        const wanted = context.route.open;
        const parameters = { format: 'svg', style: 'page', collapse: wanted ? true : undefined, expand: wanted === '-' ? undefined : wanted };
        try {
            const response = await open(execution(context.id, 'graph') + query(parameters));
            const text = await response.text();
            if (isClosed) return;
            opened = wanted;
            show(text);
        } catch (error) {
            if (!isClosed) replace(figure, h('p', { class: 'note' }, error.status ? error.message : 'The graph is drawn once the server answers.'));
            drawnFrom = null;
        } finally {
            isReading = false;
        }
    }

    const refresh = atMostEvery(LEAST_BETWEEN_DRAWINGS, read);

    function show(text) {
        const parsed = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
        const [left, top] = [figure.scrollLeft, figure.scrollTop];
        const focused = document.activeElement?.closest?.('.graph [data-path]')?.dataset.path;
        const drawing = take(parsed);
        if (!drawing) return;
        places = new Map();
        for (const step of drawing.querySelectorAll('[data-path]')) {
            places.set(step.dataset.path, step);
            // The frame is the button: a step may hold others, and a button may not.
            const frame = frameOf(step);
            frame.setAttribute('role', 'button');
            frame.setAttribute('tabindex', places.size === 1 ? '0' : '-1');
            frame.setAttribute('aria-label', step.querySelector(':scope > title')?.textContent ?? step.dataset.path);
        }
        drawing.setAttribute('role', 'group');
        replace(figure, drawing);
        figure.scrollTo(left, top);
        if (focused) focusOn(focused);
        mark();
    }

    function focusOn(place) {
        const step = places.get(place);
        if (!step) return;
        for (const other of places.values()) frameOf(other).setAttribute('tabindex', '-1');
        frameOf(step).setAttribute('tabindex', '0');
        frameOf(step).focus({ preventScroll: true });
        step.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }

    /** Shows what is selected, and the visits of its place if there are several. */
    function mark() {
        const place = context.route.step && placeOf(context.route.step);
        for (const [path, step] of places) {
            step.classList.toggle('selected', path === place);
            frameOf(step).setAttribute('aria-pressed', String(path === place));
        }
        drawVisits(place);
    }

    function visitsOf(place) {
        const { state } = context.watch;
        return state ? order.of(state).filter(({ stepPath }) => placeOf(stepPath) === place) : [];
    }

    function drawVisits(place) {
        const found = place ? visitsOf(place) : [];
        visits.hidden = found.length < 2;
        if (visits.hidden) return;
        const pages = Math.ceil(found.length / VISITS);
        visitsPage = Math.min(visitsPage, pages - 1);
        const start = visitsPage * VISITS;
        const turn = (by, name) => h('button', { class: 'quiet', disabled: visitsPage + by < 0 || visitsPage + by >= pages, onclick: () => {
            visitsPage += by;
            drawVisits(place);
        } }, name);
        const worst = STEP_STATUSES.map((status) => [status, found.filter((step) => step.status === status)]).filter(([, some]) => some.length > 0);
        replace(visits,
            h('div', { class: 'row' }, h('h2', { class: 'mono' }, place),
                worst.map(([status, some]) => h('a', { class: 'status', 'data-status': status, href: context.hrefOf(some[0].stepPath), title: `The first of them` }, sign(status), `${number(some.length)} ${status}`)),
                pages > 1 && h('span', { class: 'row end' }, turn(-1, 'Previous'), h('span', { class: 'dim' }, `${number(start + 1)} – ${number(Math.min(start + VISITS, found.length))}`), turn(1, 'Next'))),
            h('div', { class: 'strip' }, found.slice(start, start + VISITS).map((step) => h('a', {
                href: context.hrefOf(step.stepPath), 'data-status': step.status, title: `${step.stepPath} · ${step.status}`,
                'aria-label': `${step.stepPath}, ${step.status}`, 'aria-current': step.stepPath === context.route.step ? 'true' : null,
            }))));
    }

    function choose(step) {
        const place = step.dataset.path;
        if (step.classList.contains('closed')) setOpen(place);
        const found = visitsOf(place);
        const first = found.find(({ status }) => status === 'failed') ?? found.find(({ status }) => status === 'running') ?? found[0];
        visitsPage = first ? Math.floor(found.indexOf(first) / VISITS) : 0;
        if (first) context.select(first.stepPath);
    }

    figure.addEventListener('click', ({ target }) => {
        const step = target.closest('[data-path]');
        if (step) choose(step);
    });
    figure.addEventListener('keydown', (event) => {
        const step = event.target.closest('[data-path]');
        if (!step || (event.key !== 'Enter' && event.key !== ' ')) return;
        event.preventDefault();
        choose(step);
    });

    function move(by) {
        const order = [...places.keys()];
        if (order.length === 0) return false;
        const at = order.indexOf(document.activeElement?.closest?.('[data-path]')?.dataset.path);
        focusOn(order[Math.max(0, Math.min(order.length - 1, at + by))]);
        return true;
    }

    refresh();
    return {
        update(route) {
            if (route.open !== opened) refresh();
            mark();
        },
        draw(state) {
            const key = `${state.sequence} ${state.stepsVersion}`;
            if (key === drawnFrom) return;
            const isFirst = drawnFrom === null;
            drawnFrom = key;
            if (isFirst) mark();
            else refresh();
        },
        key: (name) => (name === 'next' || name === 'previous') && move(name === 'next' ? 1 : -1),
        dispose() {
            isClosed = true;
            refresh.stop();
        },
    };
}

const frameOf = (step) => step.querySelector(':scope > .frame') ?? step;

/** Copies a drawing, leaving out every element and attribute that is not known to be harmless. */
function take(parsed) {
    if (parsed.localName !== 'svg') return null;
    const copy = (element) => {
        const made = document.createElementNS('http://www.w3.org/2000/svg', element.localName);
        for (const { name, value } of element.attributes) {
            if (ATTRIBUTES.has(name)) made.setAttribute(name, value);
        }
        for (const child of element.childNodes) {
            if (child.nodeType === Node.TEXT_NODE) made.append(child.data);
            else if (child.nodeType === Node.ELEMENT_NODE && ELEMENTS.has(child.localName)) made.append(copy(child));
        }
        return made;
    };
    return copy(parsed);
}
