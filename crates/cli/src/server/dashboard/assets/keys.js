// Keys. None acts while a field has the focus, and none answers or ends anything.

const PREFIX_LASTS = 1500;

export const HELP = [
    ['/', 'Search'],
    ['j, k', 'Next, previous'],
    ['Enter', 'Open'],
    ['Esc', 'Close'],
    ['g e', 'Executions'],
    ['g a', 'Approvals'],
    ['g m', 'Metrics'],
    ['1 – 4', 'Graph, timeline, steps, journal'],
    ['?', 'These keys'],
];

/** Has `act(name)` called with `search`, `next`, `previous`, `open`, `close`, `help`, `go e`, `tab 1` and so on; true means it did something. */
export function listen(act) {
    let prefix = null;
    document.addEventListener('keydown', (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
        const isField = event.target.closest?.('input, textarea, select, [contenteditable]');
        if (isField) {
            // Out of a field, but not out of what lies behind it.
            if (event.key === 'Escape' && !event.target.closest('dialog')) event.target.blur();
            return;
        }
        if (document.querySelector('dialog[open]')) return;
        const name = nameOf(event, prefix !== null && event.timeStamp - prefix < PREFIX_LASTS);
        prefix = event.key === 'g' ? event.timeStamp : null;
        if (name && act(name)) event.preventDefault();
    });
}

function nameOf({ key, target }, isAfterG) {
    if (isAfterG && 'eam'.includes(key)) return `go ${key}`;
    if ('1234'.includes(key)) return `tab ${key}`;
    const isControl = target.closest?.('a, button, summary');
    if (key === 'Enter') return isControl ? null : 'open';
    return { '/': 'search', j: 'next', k: 'previous', Escape: 'close', '?': 'help' }[key];
}
