// Forms made from a schema, and the JSON that is written where a form cannot ask.

import { h } from './dom.js';
import { answerOf, describe } from './form.js';

let made = 0;

/** Gives `{element, value()}`; `value` throws what is wrong with written JSON. */
export function formOf(schema) {
    const field = schema === undefined ? null : describe(schema);
    if (!field) return written(schema);
    const { element, filled } = control(field, true);
    return { element, value: () => answerOf(field, filled()) };
}

function written(schema) {
    const id = nextId();
    const input = h('textarea', { id, rows: 5, class: 'mono', spellcheck: 'false', autocomplete: 'off' });
    if (schema?.default !== undefined) input.value = JSON.stringify(schema.default, null, 2);
    const element = h('div', { class: 'field' }, h('label', { for: id }, 'Answer, as JSON'), input,
        schema && h('details', {}, h('summary', {}, 'Its schema'), h('pre', { class: 'json large', tabindex: 0 }, JSON.stringify(schema, null, 2).slice(0, 65536))));
    return { element, value: () => {
        if (input.value.trim() === '') return undefined;
        try {
            return JSON.parse(input.value);
        } catch (error) {
            throw new Error(`The answer is no JSON: ${error.message}`);
        }
    } };
}

function control(field, isRoot = false) {
    if (field.kind === 'group') {
        const parts = field.fields.map((inner) => [inner.key, control(inner)]);
        const legend = isRoot ? field.label : field.label || field.key;
        const element = h('fieldset', { class: isRoot ? 'root' : null }, legend && h('legend', {}, h('bdi', {}, legend)), field.help && h('p', { class: 'help' }, field.help), parts.map(([, part]) => part.element));
        return { element, filled: () => Object.fromEntries(parts.map(([key, part]) => [key, part.filled()])) };
    }
    const id = nextId();
    const help = field.help ? h('p', { class: 'help', id: `${id}-help` }, h('bdi', {}, field.help)) : null;
    const shared = { id, required: field.isRequired && field.kind !== 'check' && field.kind !== 'lines', 'aria-describedby': help && `${id}-help` };
    const name = [h('bdi', {}, field.label || 'Answer'), !field.isRequired && h('span', { class: 'dim' }, ' optional')];
    if (field.kind === 'choices') return checks(field, name, help);
    const input = inputOf(field, shared);
    if (field.kind === 'check') {
        return { element: h('div', { class: 'field' }, h('label', { class: 'check' }, input, name[0]), help), filled: () => input.checked };
    }
    return { element: h('div', { class: 'field' }, h('label', { for: id }, name), input, help), filled: () => input.value };
}

function inputOf(field, shared) {
    if (field.kind === 'choice') {
        const initial = field.choices.indexOf(field.initial);
        const select = h('select', shared, (initial < 0 || !field.isRequired) && h('option', { value: '' }, 'Choose'), field.choices.map((value, index) => h('option', { value: index }, String(value))));
        select.value = initial < 0 ? '' : String(initial);
        return select;
    }
    if (field.kind === 'check') {
        const check = h('input', { ...shared, type: 'checkbox' });
        check.checked = field.initial === true;
        return check;
    }
    if (field.kind === 'number') {
        const input = h('input', { ...shared, type: 'number', step: field.isWhole ? 1 : 'any', min: field.least, max: field.most, inputmode: 'decimal' });
        input.value = field.initial ?? '';
        return input;
    }
    const limits = { minlength: field.minLength, maxlength: field.maxLength };
    const isLong = field.kind === 'lines' || field.isLong;
    const input = isLong ? h('textarea', { ...shared, ...limits, rows: field.kind === 'lines' ? 4 : 2 }) : h('input', { ...shared, ...limits, type: field.format, pattern: field.pattern });
    input.value = Array.isArray(field.initial) ? field.initial.join('\n') : field.initial ?? '';
    return input;
}

function checks(field, name, help) {
    const initial = new Set(field.initial ?? []);
    const boxes = field.choices.map((value, index) => {
        const box = h('input', { type: 'checkbox', value: index });
        box.checked = initial.has(value);
        return [box, h('label', { class: 'check' }, box, String(value))];
    });
    const element = h('fieldset', {}, h('legend', {}, name), help, boxes.map(([, label]) => label));
    return { element, filled: () => boxes.filter(([box]) => box.checked).map(([box]) => box.value) };
}

function nextId() {
    made += 1;
    return `field-${made}`;
}
