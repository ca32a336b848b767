// Dialogs: the browser's own, which keep the focus inside and give it back.

import { h } from './dom.js';

/** Opens a dialog and gives what it was closed with; null when it was left. `make(close)` makes its content. */
export function ask(title, make) {
    return new Promise((resolve) => {
        const before = document.activeElement;
        const heading = h('h2', { id: 'dialog-title' }, title);
        let result = null;
        const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => {
            dialog.remove();
            if (before?.isConnected) before.focus();
            resolve(result);
        } });
        const close = (value) => {
            result = value;
            dialog.close();
        };
        dialog.append(heading, h('div', {}, make(close)));
        document.body.append(dialog);
        dialog.showModal();
    });
}

/** Asks whether to do something, with fields to fill in; gives their values, or null. */
export function confirm(title, { text, fields = [], action, isDanger = false, back = 'Back' }) {
    return ask(title, (close) => {
        const inputs = fields.map((field) => [field, fieldOf(field)]);
        const submit = (event) => {
            event.preventDefault();
            close(Object.fromEntries(inputs.map(([field, { input }]) => [field.name, input.value])));
        };
        return h('form', { class: 'stack', onsubmit: submit },
            text && h('p', {}, text),
            inputs.map(([, { label }]) => label),
            h('div', { class: 'row end' },
                h('button', { type: 'button', onclick: () => close(null) }, back),
                h('button', { class: isDanger ? 'danger' : 'primary' }, action)));
    });
}

/** Says something that needs an answer of no kind. */
export function tell(title, ...content) {
    return ask(title, (close) => [...content, h('div', { class: 'row end' }, h('button', { onclick: () => close(true), autofocus: true }, 'Close'))]);
}

function fieldOf({ name, label, value = '', isLong = false, type = 'text', isRequired = false }) {
    const properties = { name, required: isRequired, autocomplete: 'off' };
    const input = isLong ? h('textarea', { ...properties, rows: 4, spellcheck: 'false' }) : h('input', { ...properties, type });
    input.value = value;
    return { input, label: h('label', { class: 'field' }, h('span', {}, label), input) };
}
