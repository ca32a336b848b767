// The page: what stands around the views, and which of them is shown.

import { get, whenUnauthorized } from './api.js';
import * as approvals from './approvals.js';
import { ask, tell } from './dialog.js';
import { announce, h, replace, setText } from './dom.js';
import * as execution from './execution.js';
import * as executions from './executions.js';
import { atMostEvery } from './frame.js';
import { HELP, listen } from './keys.js';
import * as metrics from './metrics.js';
import { build, parse, placeOf } from './route.js';
import { clearToken, setToken, takeTokenFromAddress } from './session.js';
import * as theme from './theme.js';

const VIEWS = { executions, execution, approvals, metrics };
const TITLES = { executions: 'Executions', approvals: 'Approvals', metrics: 'Metrics' };
const CONNECTION = {
    connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', polling: 'Every 10 s', ended: 'Ended',
};
const LEAST_BETWEEN_COUNTS = 2000;

takeTokenFromAddress();
theme.apply();

const main = document.getElementById('main');
const badge = h('span', { class: 'count', hidden: true });
const links = Object.entries(TITLES).map(([view, title]) => {
    const link = h('a', { href: build({ view }), 'data-view': view }, title);
    if (view === 'approvals') link.append(' ', badge);
    return link;
});
const connection = h('span', { class: 'connection', 'data-state': 'connecting' }, h('i', { 'aria-hidden': 'true' }), h('span', {}, ''));
const themeButton = h('button', { class: 'quiet', onclick: () => nameTheme(theme.next()) }, h('span', { 'aria-hidden': 'true' }, '◐'), h('span', { class: 'medium' }));
replace(document.getElementById('top'),
    h('a', { class: 'brand', href: './' }, logo(), 'orchestr8'),
    h('nav', { 'aria-label': 'Views' }, links),
    h('div', { class: 'row end' }, connection, themeButton, h('button', { class: 'quiet keys-button', onclick: () => help(), 'aria-label': 'Keys' }, '?')));

let route = parse(location.search);
let shown = null;
let view = null;
let waiting = 0;

const page = {
    get route() {
        return route;
    },
    go,
    title(text) {
        document.title = text ? `${text} · orchestr8` : 'orchestr8';
    },
    connection(state) {
        connection.dataset.state = state;
        setText(connection.lastChild, CONNECTION[state]);
        connection.title = state === 'polling' ? 'No stream of events: the page asks every 10 s' : '';
    },
    refreshApprovals: atMostEvery(LEAST_BETWEEN_COUNTS, countApprovals),
};

/** Goes to another address; small changes, such as of a filter, leave no place to go back to. */
function go(next, { isSmall = false } = {}) {
    history[isSmall ? 'replaceState' : 'pushState'](null, '', build(next));
    show();
}

function show() {
    route = parse(location.search);
    const place = placeOf(route);
    for (const link of links) {
        const isHere = link.dataset.view === route.view;
        if (isHere) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
    if (place === shown) {
        view.update(route);
        return;
    }
    // A dialog is about what is left behind.
    document.querySelector('dialog[open]')?.close();
    view?.dispose();
    shown = place;
    main.className = route.view;
    replace(main);
    page.title(TITLES[route.view]);
    view = VIEWS[route.view].mount(main, page);
}

async function countApprovals() {
    const { approvals: open, hasMore } = await get('v1/approvals?limit=100').catch(() => ({ approvals: null }));
    if (!open) return;
    badge.hidden = open.length === 0;
    setText(badge, `${open.length}${hasMore ? '+' : ''}`);
    badge.setAttribute('aria-label', `${open.length} waiting`);
    if (open.length > waiting) announce(`${open.length} approvals wait`);
    waiting = open.length;
}

let isAsking = false;

/** Asks for the token, once at a time, and starts over with it. */
async function askForToken() {
    if (isAsking) return;
    isAsking = true;
    clearToken();
    const token = await ask('This server asks for a token', (close) => {
        const input = h('input', { type: 'password', autocomplete: 'off', required: true, autofocus: true });
        return h('form', { class: 'stack', onsubmit: (event) => {
            event.preventDefault();
            close(input.value.trim());
        } }, h('p', {}, 'It is the value of ORCHESTR8_TOKEN. This tab keeps it until it is closed.'),
        h('label', { class: 'field' }, h('span', {}, 'Token'), input),
        h('div', { class: 'row end' }, h('button', { class: 'primary' }, 'Use it')));
    });
    isAsking = false;
    if (token) setToken(token);
    shown = null;
    show();
    page.refreshApprovals();
}

function nameTheme(name) {
    setText(themeButton.firstChild, { auto: '◐', light: '○', dark: '●' }[name]);
    setText(themeButton.lastChild, ` ${{ auto: 'Auto', light: 'Light', dark: 'Dark' }[name]}`);
    themeButton.setAttribute('aria-label', `Theme: ${name}`);
}

function help() {
    return tell('Keys', h('table', { class: 'keys' }, h('tbody', {}, HELP.map(([keys, text]) =>
        h('tr', {}, h('th', { scope: 'row' }, h('kbd', {}, keys)), h('td', {}, text))))));
}

function logo() {
    return h('img', { src: new URL('icon.svg', import.meta.url).pathname, alt: '', width: 18, height: 18 });
}

listen((name) => {
    const to = { 'go e': 'executions', 'go a': 'approvals', 'go m': 'metrics' }[name];
    if (to) go({ view: to });
    else if (name === 'help') help();
    else return view.key(name);
    return true;
});

document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[href]');
    if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || link.download) return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || address.pathname !== location.pathname || address.hash) return;
    event.preventDefault();
    if (address.search !== location.search) {
        history.pushState(null, '', address);
        show();
    }
});
addEventListener('popstate', show);
addEventListener('hashchange', () => {
    if (!location.hash.startsWith('#token=')) return;
    takeTokenFromAddress();
    shown = null;
    show();
});
whenUnauthorized(askForToken);
nameTheme(theme.current());
show();
page.refreshApprovals();
